from __future__ import annotations

import copy
from functools import cache
from typing import Any, Final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from weightatlas.checkpoints import zoo_model
from weightatlas.errors import SourceError
from weightatlas.lab.interventions import intervene
from weightatlas.lab.last_map import find_last_map
from weightatlas.lab.sample_images import trace_images
from weightatlas.nn import L2Pool2d, SimplifiedNetwork

RESNET_STAGES: Final = tuple((f"layer{stage}.0.conv2", f"layer{stage}.0.downsample.0") for stage in (2, 3, 4))
LEVELS: Final = {
    "torchvision:googlenet": (("conv1.conv",), *((f"maxpool{number}",) for number in (1, 2, 3, 4))),
    "torchvision:resnet50": (("conv1",), ("maxpool",), *RESNET_STAGES),
    "torchvision:vgg19": (("features.4",), ("features.9",), ("features.18",), ("features.27",)),
    "torchvision:vgg19_bn": (("features.6",), ("features.13",), ("features.26",), ("features.39",)),
    "torchvision:efficientnet_b4": (("features.0.0",), *((f"features.{part}.0.block.1.0",) for part in (2, 3, 4, 6))),
    "timm:resnet50": (("conv1",), ("maxpool",), *RESNET_STAGES),
    "timm:vgg19": (("features.4",), ("features.9",), ("features.18",), ("features.27",)),
}
"""What halves a map before the last one, level by level, as the networks are printed."""

SLOW: Final = {("torchvision:efficientnet_b4", 64), ("timm:resnet50", 64)}
"""Many layers, and nothing that the smaller size does not ask."""

KEPT: Final = {32: 2, 64: 3}
"""How many halvings images of a size have room for above 6 x 6."""


@cache
def without_values(name: str) -> nn.Module:
    with torch.device("meta"):
        return zoo_model(f"{name}?pretrained=false")


def last_side(network: nn.Module, size: int | tuple[int, int]) -> tuple[int, int]:
    last = find_last_map("it", trace_images(network, "it", size))
    return last.height, last.width


def said(network: nn.Module) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...], int]:
    """What a changed network says of itself: what was dropped, what is kept, the side of its last map."""
    values: dict[str, Any] = vars(network)
    return values["dropped_pools"], values["pools"], values["map_size"]


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name in LEVELS for size in (32, 64) if (name, size) not in SLOW]
)
def test_the_zoo_s_networks_drop_their_first_halvings_and_nothing_else(name: str, size: int) -> None:
    model = without_values(name)
    changed = intervene(model, "small-images", input_size=size)
    first = LEVELS[name][: len(LEVELS[name]) - KEPT[size]]
    dropped, pools, side = said(changed)
    assert dropped == tuple(part for level in first for part in level)
    assert last_side(changed, size) == (side, side) == (8, 8)
    shapes = {key: (tensor.shape, tensor.dtype) for key, tensor in model.state_dict().items()}
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in changed.state_dict().items()} == shapes
    before, after = trace_images(model, "it", 224), trace_images(changed, "it", size)
    assert after.answer.shape == before.answer.shape == (2, 1000)
    assert after.used == before.used
    kept = {part for level in LEVELS[name][len(first) :] for part in level}
    assert {part: step for part, step in pools if part in kept} == dict.fromkeys(kept, 2)


@pytest.mark.parametrize(("size", "dropped", "first", "side"), [
    (32, ("features.0", "features.2"), ("features.5", 3), 8),
    (40, ("features.0",), ("features.2", 2), 7),
    (64, (), ("features.0", 2), 6),
    (96, (), ("features.0", 3), 6),
    (128, (), ("features.0", 4), 7),
])  # fmt: skip
def test_alexnet_s_stride_of_four_becomes_as_short_as_it_must(
    size: int, dropped: tuple[str, ...], first: tuple[str, int], side: int
) -> None:
    changed = intervene(without_values("torchvision:alexnet"), "small-images", input_size=size)
    assert said(changed)[0] == dropped
    assert said(changed)[1][0] == first
    assert last_side(changed, size) == (side, side)


def test_networks_on_the_images_they_are_made_for_stay_as_they_are() -> None:
    for name, side in (("torchvision:resnet50", 7), ("torchvision:vgg19", 14)):
        changed = intervene(without_values(name), "small-images")
        assert said(changed)[::2] == ((), side)
        assert last_side(changed, 224) == (side, side)
        assert repr(changed) == repr(without_values(name))


def test_the_simplified_network_drops_the_same_pools_by_itself() -> None:
    built = SimplifiedNetwork(width=0.05, input_size=32, classes=4)
    changed = intervene(SimplifiedNetwork(width=0.05, input_size=192, classes=4), "small-images", input_size=32)
    assert said(changed) == said(built) == (("pool0", "pool1", "pool2"), (("pool3", 2), ("pool4", 2)), 8)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    changed.load_state_dict(built.state_dict())
    torch.testing.assert_close(changed.eval()(images), built.eval()(images))


@given(st.integers(12, 100))
@settings(max_examples=12, deadline=None)
def test_every_size_from_twelve_on_leaves_six_to_eight(size: int) -> None:
    halvings = [(nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)) for _ in range(6)]
    head = (nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    network = nn.Sequential(*(part for pair in halvings for part in pair), *head)
    changed = intervene(network, "small-images", input_size=size)
    assert 6 <= last_side(changed, size)[0] <= 8
    assert changed(torch.zeros(1, 3, size, size)).shape == (1, 2)


def test_weights_stay_and_every_one_of_them_learns() -> None:
    model = zoo_model("torchvision:resnet18?pretrained=false&num_classes=5&width_per_group=64")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    changed = intervene(model, "small-images", input_size=32)
    assert all(torch.equal(tensor, before[key]) for key, tensor in changed.state_dict().items())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert model.get_submodule("conv1").stride == (2, 2)
    changed.train()(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(one.grad is not None and bool(one.grad.abs().sum() > 0) for one in changed.parameters())
    assert all(one.grad is None for one in model.parameters())


@pytest.mark.parametrize(("name", "weight", "shape"), [
    ("torchvision:googlenet", "fc.weight", (1000, 1024 * 64)),
    ("torchvision:resnet50", "fc.weight", (1000, 2048 * 64)),
    ("torchvision:vgg19_bn", "classifier.0.weight", (4096, 512 * 64)),
    ("timm:vgg19", "pre_logits.fc1.classifier.weight", (4096, 512 * 64, 1, 1)),
])  # fmt: skip
def test_a_head_follows_and_knows_the_size(name: str, weight: str, shape: tuple[int, ...]) -> None:
    changed = intervene(intervene(without_values(name), "small-images", input_size=32), "no-pooling")
    assert changed.get_parameter(weight).shape == shape
    assert trace_images(changed, "it", 32).answer.shape == (2, 1000)
    assert said(changed)[2] == 8


def test_of_a_map_that_is_not_square_the_shorter_side_counts() -> None:
    changed = intervene(without_values("torchvision:vgg19"), "small-images", input_size=(32, 64))
    assert last_side(changed, (32, 64)) == (8, 16)
    assert changed.input_size == (32, 64)


def test_the_mode_stays() -> None:
    model = copy.deepcopy(without_values("torchvision:vgg19")).train()
    changed = intervene(model, "small-images", input_size=32)
    assert all(module.training for module in changed.modules())


class OnePool(nn.Module):
    """A network that calls one pool everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            images = self.pool(layer(images))
        logits: torch.Tensor = self.head(images)
        return logits


class PooledBeside(nn.Module):
    """A network whose branches halve their map in a module and in the forward method."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.head = nn.Sequential(nn.Conv2d(7, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        beside = nn.functional.max_pool2d(images, 2)
        logits: torch.Tensor = self.head(torch.cat([self.branch(images), beside], 1))
        return logits


def test_where_it_cannot_it_says_why() -> None:
    with pytest.raises(SourceError, match=r"^OnePool: pool is called 4 times, so it cannot be dropped once; write"):
        intervene(OnePool(), "small-images", input_size=16)
    with pytest.raises(SourceError, match=r"^PooledBeside: without the reductions branch it does not end in a map on"):
        intervene(PooledBeside(), "small-images", input_size=8)
    with pytest.raises(SourceError, match=r"^DenseNet: lost track after features.norm5"):
        intervene(without_values("torchvision:densenet121"), "small-images", input_size=32)
    with pytest.raises(
        SourceError, match=r"images of 5 x 5 leave 5 x 5, not a last map of 6 x 6 to 8 x 8; give larger"
    ):
        intervene(without_values("torchvision:vgg19"), "small-images", input_size=5)
    with pytest.raises(
        SourceError, match=r"^Sequential: 1 \(LPPool2d\) would have to take steps of 3, which it cannot"
    ):
        intervene(
            nn.Sequential(
                nn.LPPool2d(2, 2),
                nn.LPPool2d(2, 2),
                nn.Conv2d(3, 4, 1),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(4, 2),
            ),
            "small-images",
            input_size=20,
        )


def test_images_between_two_levels_let_a_pool_grow_and_leave_no_pixel_out() -> None:
    parts = (nn.Conv2d(3, 4, 1), L2Pool2d(2), nn.Conv2d(4, 4, 1), nn.AvgPool2d((2, 2)), nn.Conv2d(4, 4, 1))
    network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    changed = intervene(network, "small-images", input_size=18)
    assert said(changed) == (("1",), (("3", 3),), 6)
    images = torch.zeros(1, 3, 18, 18, requires_grad=True)
    changed(images)[0, 0].backward()
    assert images.grad is not None
    assert bool((images.grad != 0).all())
