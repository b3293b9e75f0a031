"""A dozen networks of the zoos, one of each family; `make sweep` has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch

from tests.nn.conversion.networks import parts
from tests.sweep.step import step
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.checkpoints.zoo import zoo_model
from weightatlas.errors import SourceError
from weightatlas.nn.convert import convert

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.nn.conversion.report import Conversion


class Expected(NamedTuple):
    """How many convolutions are standardised, of how many, and norms replaced, of how many."""

    standardized: int
    convolutions: int
    replaced: int
    norms: int
    by_order: int = 0


NETWORKS = {
    "torchvision:resnet18": Expected(20, 20, 20, 20),
    "torchvision:densenet121": Expected(59, 120, 121, 121),  # the norms before the first of each pair stand on sums
    "torchvision:mobilenet_v3_small": Expected(23, 52, 34, 34),  # 11 are depthwise, 18 squeeze and excite
    "torchvision:efficientnet_b0": Expected(33, 81, 49, 49),
    "torchvision:convnext_tiny": Expected(1, 22, 0, 23),  # layer norms stay
    "torchvision:deeplabv3_resnet50": Expected(60, 61, 60, 60),
    "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn": Expected(31, 69, 46, 46),
    "torchvision:maskrcnn_resnet50_fpn_v2": Expected(69, 75, 69, 69, by_order=8),
    "torchvision:r3d_18": Expected(20, 20, 20, 20),
    "torchvision:googlenet": Expected(59, 59, 59, 59),  # two of them run in training only
    "timm:regnety_002": Expected(44, 70, 44, 44),
    "timm:resnetv2_50": Expected(32, 54, 49, 49),  # norms before the convolutions
    "timm:levit_128s": Expected(4, 4, 52, 52),  # batch norms behind linear layers too
}


def counts(conversion: Conversion) -> Expected:
    convolutions = [layer for layer in conversion.layers if layer.kind == "convolution"]
    norms = [layer for layer in conversion.layers if layer.kind == "norm"]
    return Expected(
        sum(layer.standardized is True for layer in convolutions),
        len(convolutions),
        sum(layer.after is not None for layer in norms),
        len(norms),
        sum(layer.evidence == "order" for layer in convolutions),
    )


def without_values(name: str) -> nn.Module:
    with torch.device("meta"):
        return zoo_model(f"{name}?pretrained=false")


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_without_values_are_converted(name: str) -> None:
    model = without_values(name)
    conversion = convert(model, "ws+gn")
    assert counts(conversion) == NETWORKS[name]
    assert all(parameter.device.type == "meta" for parameter in conversion.model.parameters())
    assert all(layer.skipped for layer in conversion.layers if layer.after is None)
    assert not any("BatchNorm" in type(module).__name__ for module in conversion.model.modules())


@pytest.mark.parametrize("name", ["torchvision:vit_b_16", "torchvision:vgg11", "timm:mixer_s32_224"])
def test_networks_without_batch_norm_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match="nothing in it becomes"):
        convert(without_values(name), "ws+gn")


@pytest.mark.parametrize("recipe", ["ws+gn", "ws+bcn", "ws+micro-bcn"])
@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("torchvision:resnet18", "classification"),
        ("timm:tf_mobilenetv3_small_minimal_100", "classification"),
        ("torchvision:lraspp_mobilenet_v3_large", "segmentation"),
        ("torchvision:r3d_18", "video"),
    ],
)
def test_a_step_reaches_every_standardised_convolution(name: str, family: str, recipe: str) -> None:
    torch.manual_seed(0)
    model = convert(zoo_model(f"{name}?pretrained=false"), recipe, in_place=True).model
    taken = step(model, family)
    assert taken.get("reason") is None
    assert taken["convolutions"] > 10
    assert (taken["unreached"], taken["zero"], taken["not_finite"]) == ([], [], [])


def test_a_detector_with_one_head_for_all_levels_takes_a_step() -> None:
    options = "pretrained=false&weights_backbone=none&min_size=64&max_size=64"
    conversion = convert(zoo_model(f"torchvision:fcos_resnet50_fpn?{options}"), "ws+gn", in_place=True)
    heads = [layer for layer in conversion.layers if layer.layer.startswith("head") and layer.kind == "convolution"]
    assert [layer.standardized for layer in heads].count(True) == 8  # in front of group norm, at each level
    taken = step(conversion.model, "detection")
    assert taken.get("reason") is None
    assert (taken["unreached"], taken["not_finite"]) == ([], [])


def test_networks_of_transformers_are_converted() -> None:
    import_torchvision()
    from transformers import ResNetConfig, ResNetForImageClassification

    settings = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    torch.manual_seed(0)
    model = ResNetForImageClassification(settings)
    conversion = convert(model, "ws+bcn")
    assert counts(conversion) == Expected(6, 6, 6, 6)
    embedder = parts(conversion.model).resnet.embedder.embedder
    assert type(embedder.convolution).__name__ == "WSConv2d"
    assert type(embedder.normalization).__name__ == "BatchChannelNorm2d"
    answer = conversion.model(pixel_values=torch.rand(1, 3, 64, 64))
    assert answer.logits.isfinite().all()
