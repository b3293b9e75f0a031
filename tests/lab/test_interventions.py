from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import pytest
import torch
from torch import nn

from weightatlas.checkpoints import zoo_model
from weightatlas.errors import SourceError
from weightatlas.lab.calls import trace
from weightatlas.lab.interventions import INTERVENTIONS, intervene
from weightatlas.nn import HEADS, SMALL, CoordConv2d, HeadName, MapHead, SimplifiedNetwork
from weightatlas.nn.alexnet import AlexNet

FEW: Final[tuple[HeadName, ...]] = ("gap", "no-pooling", "x-pooling")


@dataclass(frozen=True)
class Expected:
    """What is known of a network: its last map, who gives it, who pools it, who takes the pooled features."""

    channels: int
    side: int
    giver: str
    pooling: tuple[str, ...]
    classifier: str
    outputs: int = 1000
    heads: tuple[HeadName, ...] = FEW


ZOO: Final = {
    "torchvision:googlenet": Expected(1024, 7, "inception5b.branch4.1.bn", ("avgpool",), "fc"),
    "torchvision:resnet50": Expected(2048, 7, "layer4.2.relu", ("avgpool",), "fc"),
    "torchvision:vgg19": Expected(
        512, 14, "features.35", ("features.36", "avgpool"), "classifier.0", outputs=4096, heads=HEADS
    ),
    "torchvision:alexnet": Expected(
        256, 13, "features.11", ("features.12", "avgpool"), "classifier.1", outputs=4096, heads=HEADS
    ),
    "torchvision:efficientnet_b4": Expected(
        1792, 7, "features.8.2", ("avgpool",), "classifier.1", heads=("no-pooling",)
    ),
    "timm:resnet50": Expected(2048, 7, "layer4.2.act3", ("global_pool.pool",), "fc", heads=("x-pooling",)),
    "timm:vgg19": Expected(512, 14, "features.35", ("features.36",), "pre_logits.fc1", outputs=4096, heads=HEADS),
    "timm:efficientnet_b4": Expected(
        1792, 10, "bn2", ("global_pool.pool",), "classifier", heads=("x-pooling",)
    ),  # at 320
}


def features(head: HeadName, channels: int, side: int) -> int:
    """How many numbers a head gives the classifier."""
    known: dict[HeadName, int] = {
        "gap": channels,
        "no-pooling": channels * side * side,
        "x-pooling": channels * side,
        "y-pooling": channels * side,
        "xy-pooling": channels * 2 * side,
        "global-max": 4096,
        "masks-3": channels * 3,
        "masks-5": channels * 5,
        "masks-16": channels * 16,
        "full-mask": channels,
        "attention": channels,
        "channel-groups": 16 * 64,
        "spatial-film": channels,
    }
    return known[head]


@cache
def without_values(name: str) -> nn.Module:
    """A network of a zoo on the meta device: VGG19 without pooling has 411 million weights in one layer."""
    with torch.device("meta"):
        return zoo_model(f"{name}{'&' if '?' in name else '?'}pretrained=false")


def small() -> SimplifiedNetwork:
    return SimplifiedNetwork(SMALL, width=0.25, input_size=24, classes=4, seed=5)


CASES = [(name, head) for name, known in ZOO.items() for head in known.heads]


@pytest.mark.parametrize(("name", "head"), CASES, ids=[f"{name}-{head}" for name, head in CASES])
def test_zoo_s_networks_get_every_head(name: str, head: HeadName) -> None:
    known = ZOO[name]
    changed = intervene(without_values(name), head)
    size = 320 if known.side == 10 else 224
    found = trace(changed, (2, 3, size, size), whole=(MapHead,))
    assert found.answer.shape == (2, 1000)
    place = next(number for number, call in enumerate(found.calls) if isinstance(call.module, MapHead))
    before = [call for call in found.calls[:place] if not isinstance(call.module, nn.Identity)]
    assert before[-1].name == known.giver
    assert found.calls[place].inputs.shape == (2, known.channels, known.side, known.side)
    assert found.calls[place].name.startswith(known.classifier if name == "timm:vgg19" else known.pooling[0])
    assert isinstance(changed.get_submodule(known.pooling[-1]), nn.Identity | nn.Sequential)
    new = [call for call in found.calls if call.name.startswith(known.classifier)][-1].module
    weight = new.get_parameter("weight")
    assert weight.flatten(1).shape == (known.outputs, features(head, known.channels, known.side))


def test_the_numbers_of_parameters_are_those_of_the_article_s_networks() -> None:
    def parameters(network: nn.Module) -> int:
        return sum(one.numel() for one in network.parameters())

    vgg19 = without_values("torchvision:vgg19")
    assert parameters(vgg19) == 143_667_240
    assert parameters(intervene(vgg19, "no-pooling")) == 143_667_240 + (14 * 14 - 7 * 7) * 512 * 4096
    assert parameters(intervene(vgg19, "gap")) == 143_667_240 - (7 * 7 - 1) * 512 * 4096
    resnet = without_values("torchvision:resnet50")
    assert parameters(intervene(resnet, "no-pooling")) == parameters(resnet) + (7 * 7 - 1) * 2048 * 1000


def test_vgg_that_resizes_its_map_inside_forward_loses_its_last_pool_all_the_same() -> None:
    changed = intervene(without_values("timm:vgg19"), "x-pooling", input_size=192)
    assert isinstance(changed.get_submodule("features.36"), nn.Identity)
    assert changed.get_parameter("pre_logits.fc1.classifier.weight").shape == (4096, 512 * 12, 1, 1)


def test_auxiliary_classifiers_stay_and_the_mode_too() -> None:
    model = without_values("torchvision:googlenet").train()
    changed = intervene(model, "masks-3")
    assert all(module.training for module in changed.modules())
    answers = changed(torch.zeros(2, 3, 224, 224, device="meta"))
    assert [tuple(one.shape) for one in answers] == [(2, 1000)] * 3
    model.eval()


def test_the_size_is_the_argument_or_the_model_s_own() -> None:
    wide = intervene(without_values("torchvision:resnet50"), "no-pooling", input_size=(96, 160))
    assert wide.get_parameter("fc.weight").shape == (1000, 2048 * 3 * 5)
    model = small()
    model.input_size = 24
    assert intervene(model, "no-pooling").get_parameter("classifier.weight").shape == (4, 16 * 6 * 6)


REFUSED: Final = {
    "torchvision:densenet121": r"^DenseNet: lost track after features.norm5 \(BatchNorm2d\)",
    "torchvision:mobilenet_v2": r"^MobileNetV2: lost track after features.18.2 \(ReLU6\)",
    "torchvision:vit_b_16": "^VisionTransformer: after conv_proj its features are tokens",
    "torchvision:squeezenet1_0": "^SqueezeNet: no fully connected layer stands after classifier.3",
    "torchvision:lraspp_mobilenet_v3_large": "^LRASPP: its answer is not one row of logits an image",
    "timm:vit_tiny_patch16_224": "^VisionTransformer: after .* its features are tokens",
    "timm:swin_tiny_patch4_window7_224": "^SwinTransformer: head.global_pool.pool .* reads 7 x 7 x 768 and gives 768",
    "timm:mixer_s16_224?img_size=64": "^MlpMixer: after .* its features are tokens",
    "timm:resnet18?num_classes=0": "^ResNet: no fully connected layer stands after global_pool.pool",
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_it_cannot_it_names_the_place(name: str) -> None:
    size = 64 if "64" in name else None
    with pytest.raises(SourceError, match=REFUSED[name]):
        intervene(without_values(name), "no-pooling", input_size=size)


@pytest.mark.parametrize("head", HEADS)
def test_a_small_network_changes_in_one_place_only(head: HeadName) -> None:
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    changed = intervene(model, head, input_size=24, seed=1)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    after = changed.state_dict()
    kept = [name for name in before if not name.startswith(("head.", "classifier."))]
    assert len(kept) > 20
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert {name for name in after if name not in before} <= {name for name in after if name.startswith("head.")}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not {id(one) for one in model.parameters()} & {id(one) for one in changed.parameters()}
    again, other = (intervene(model, head, input_size=24, seed=seed).state_dict() for seed in (1, 2))
    assert all(torch.equal(after[name], again[name]) for name in after)
    assert not torch.equal(after["classifier.weight"], other["classifier.weight"])


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_gradient_reaches_every_parameter(name: str) -> None:
    changed = intervene(small(), name, input_size=24).train()
    images = torch.randn(8, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    changed(images).square().sum().backward()
    reached = {key: one.grad is not None and bool(one.grad.abs().sum() > 0) for key, one in changed.named_parameters()}
    assert reached == dict.fromkeys(reached, True)


def test_gap_with_the_old_classifier_is_the_old_network() -> None:
    model = small().eval()
    changed = intervene(model, "gap", input_size=24)
    changed.load_state_dict(model.state_dict())
    images = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(changed(images), model(images))


def test_a_second_head_takes_the_place_of_the_first() -> None:
    model = small()
    once = intervene(model, "gap", input_size=24, seed=3)
    twice = intervene(intervene(model, "no-pooling", input_size=24), "gap", input_size=24, seed=3)
    assert once.state_dict().keys() == twice.state_dict().keys()
    assert all(torch.equal(twice.state_dict()[name], tensor) for name, tensor in once.state_dict().items())
    assert repr(once) == repr(twice)


def test_a_second_head_goes_into_vgg_s_slots_too() -> None:
    for name in ("torchvision:vgg19", "timm:vgg19"):
        changed = intervene(intervene(without_values(name), "no-pooling"), "masks-3")
        heads = [module for module in changed.modules() if isinstance(module, MapHead)]
        assert [(head.channels, head.height, head.out_features) for head in heads] == [(512, 14, 1536)]


def test_type_and_frozen_weights() -> None:
    model = small().double().requires_grad_(requires_grad=False)
    changed = intervene(model, "masks-3", input_size=24)
    assert {one.dtype for one in changed.parameters()} == {torch.float64}
    trainable = {name for name, one in changed.named_parameters() if one.requires_grad}
    assert trainable == {"head.logits", "classifier.weight", "classifier.bias"}


def test_our_alexnet_loses_its_last_max_pool() -> None:
    changed = intervene(AlexNet(width=0.125, input_size=32, classes=10), "no-pooling", input_size=32)
    assert isinstance(changed.get_submodule("pool5"), MapHead)
    assert isinstance(changed.get_submodule("flatten"), nn.Identity)
    assert changed.get_parameter("fc6.weight").shape == (512, 32 * 13 * 13)


def test_a_first_convolution_of_rearranged_pixels_is_given_colours() -> None:
    parts = (nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    assert intervene(nn.Sequential(*parts), "x-pooling", input_size=32).get_parameter("4.weight").shape == (4, 8 * 6)


def test_wrappers_are_looked_through() -> None:
    changed = intervene(nn.DataParallel(small()), "x-pooling", input_size=24)
    assert isinstance(changed.get_submodule("module.head"), MapHead)


def test_coordconv_changes_the_last_two_convolutions_that_look_at_neighbours() -> None:
    changed = intervene(small(), "coordconv", input_size=24)
    names = [name for name, module in changed.named_modules() if isinstance(module, CoordConv2d)]
    assert names == ["conv5a", "conv5b"]
    changed = intervene(without_values("timm:vgg19"), "coordconv")  # not its fully connected layer of 7 x 7
    names = [name for name, module in changed.named_modules() if isinstance(module, CoordConv2d)]
    assert names == ["features.32", "features.34"]
    changed = intervene(small(), "coordconv", input_size=24, layers=["conv3a"])
    names = [name for name, module in changed.named_modules() if isinstance(module, CoordConv2d)]
    assert names == ["conv3a"]


class PooledInside(nn.Module):
    """A network whose forward method pools."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.classifier = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.convolution(images).mean((2, 3)))
        return logits


def test_coordconv_needs_no_pooling_that_is_a_module() -> None:
    changed = intervene(PooledInside(), "coordconv", input_size=8)
    assert isinstance(changed.get_submodule("convolution"), CoordConv2d)
    with pytest.raises(SourceError, match=r"^PooledInside: lost track after convolution"):
        intervene(PooledInside(), "gap", input_size=8)


def test_coordconv_and_a_head_go_together() -> None:
    changed = intervene(intervene(small(), "x-pooling", input_size=24), "coordconv", input_size=24)
    assert changed(torch.zeros(2, 3, 24, 24)).shape == (2, 4)


def test_what_changes_the_data_says_so() -> None:
    for name, option in (("rotated-90", "90"), ("random-rotation", "random")):
        message = rf"^{name}: it changes the data .*Augmentation\(rotate='{option}'\), or --rotate {option}$"
        with pytest.raises(SourceError, match=message):
            intervene(small(), name)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(SourceError, match=r"^nopooling: no such intervention; did you mean no-pooling"):
        intervene(small(), "nopooling")
    with pytest.raises(SourceError, match=r"^a fresh start: no such intervention; there is gap, no-pooling"):
        intervene(small(), "a fresh start")
    with pytest.raises(ValueError, match=r"layers are for coordconv only, not for 'gap'"):
        intervene(small(), "gap", layers=["conv5b"])
    with pytest.raises(SourceError, match=r"SimplifiedNetwork: cannot be run on images of 3 x 2 x 2 without values"):
        intervene(small(), "gap", input_size=2)
    with pytest.raises(SourceError, match=r"^Linear: no module of it is a convolution"):
        intervene(nn.Linear(3, 4), "gap")
    compiled = torch.compile(small(), backend="eager")
    assert isinstance(compiled, nn.Module)
    with pytest.raises(SourceError, match=r"it is compiled; intervene first"):
        intervene(compiled, "gap")


class FixedView(nn.Module):
    """A network whose forward method spells out the size of its map."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Linear(72, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.pool(self.convolution(images)).view(-1, 72))
        return logits


@pytest.mark.parametrize(
    ("head", "problem"), [("x-pooling", "does not run with x-pooling at pool"), ("no-pooling", "run")]
)
def test_a_size_that_is_written_down_in_forward_is_noticed(head: HeadName, problem: str) -> None:
    with pytest.raises(SourceError, match=f"^FixedView: .*{problem}.*write its pooling, flattening and classifier as"):
        intervene(FixedView(), head, input_size=8)
