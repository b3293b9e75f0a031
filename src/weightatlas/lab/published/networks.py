"""The networks of the recipes, with batch norms and random weights, out of torchvision's and timm's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import nn

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKBONES: Final[Mapping[str, Mapping[str, Any]]] = {
    "resnet50": {"layers": [3, 4, 6, 3]},
    "resnet101": {"layers": [3, 4, 23, 3]},
    "resnext50": {"layers": [3, 4, 6, 3], "groups": 32, "width_per_group": 4},
    "resnext101": {"layers": [3, 4, 23, 3], "groups": 32, "width_per_group": 4},
}
"""The papers' backbones, ResNeXt 32x4d: torchvision's own ResNeXt-101 has other widths."""

LONGEST: Final = 1333 / 800
"""A detector scales images to a shorter side of 800 pixels, unless the longer one would pass 1333."""

CHANNELS: Final = 256
FEATURES: Final = 2048


def classifier(name: str) -> nn.Module:
    """A classifier of a zoo, by the name that `open_model` takes, in training mode."""
    return open_model(name).train()


def resnet(name: str, **options: Any) -> nn.Module:  # noqa: ANN401 - those of torchvision's ResNet
    """A backbone of `BACKBONES`.

    Raises:
        MissingDependencyError: torchvision is not installed.
    """
    import_torchvision()
    from torchvision.models.resnet import Bottleneck, ResNet

    network: nn.Module = ResNet(Bottleneck, **BACKBONES[name], **options)
    return network


def rcnn(backbone: str, *, masks: bool, classes: int = 91, side: int | None = None) -> nn.Module:
    """A Faster or Mask R-CNN with a feature pyramid and batch norms in all its parts, each of them trained.

    A norm follows every convolution of the backbone, of the pyramid, of the box head (four convolutions and one linear
    layer) and of the mask head, so that converting the network puts its norms where the group norms of Detectron's GN
    models are. The region proposals and what predicts have none, there as here.

    Args:
        backbone: of `BACKBONES`.
        masks: whether it is a Mask R-CNN.
        classes: how many there are, background included.
        side: shorter side that images are scaled to; None is 800 pixels, 1333 at most on the longer side.

    Raises:
        MissingDependencyError: torchvision is not installed.

    **Source:** the parts are those of torchvision's `fasterrcnn_resnet50_fpn_v2` and `maskrcnn_resnet50_fpn_v2`, with
    one convolution before the region proposals where theirs have two.
    """
    import_torchvision()
    from torchvision.models.detection import FasterRCNN, MaskRCNN
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads

    pyramid = BackboneWithFPN(
        resnet(backbone),
        {f"layer{stage}": str(stage - 1) for stage in (1, 2, 3, 4)},
        [CHANNELS, 2 * CHANNELS, 4 * CHANNELS, FEATURES],
        CHANNELS,
        norm_layer=nn.BatchNorm2d,
    )
    head = FastRCNNConvFCHead((CHANNELS, 7, 7), [CHANNELS] * 4, [1024], norm_layer=nn.BatchNorm2d)
    shorter = 800 if side is None else side
    options: dict[str, Any] = {"min_size": shorter, "max_size": round(shorter * LONGEST), "box_head": head}
    if masks:
        options["mask_head"] = MaskRCNNHeads(CHANNELS, [CHANNELS] * 4, 1, norm_layer=nn.BatchNorm2d)
    network: nn.Module = (MaskRCNN if masks else FasterRCNN)(pyramid, classes, **options)
    return network


def deeplab(backbone: str = "resnet101", *, classes: int = 21) -> nn.Module:
    """A DeepLabv3 with output stride 16 and atrous rates 6, 12 and 18, without auxiliary head.

    torchvision's `deeplabv3_resnet101` has stride 8 and rates 12, 24 and 36. Its output is a mapping with "out".

    Args:
        backbone: of `BACKBONES`.
        classes: how many there are, background included.

    Raises:
        MissingDependencyError: torchvision is not installed.
    """
    import_torchvision()
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    body = resnet(backbone, replace_stride_with_dilation=[False, False, True])
    features = IntermediateLayerGetter(body, return_layers={"layer4": "out"})
    network: nn.Module = DeepLabV3(features, DeepLabHead(FEATURES, classes, (6, 12, 18)))
    return network
