from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.errors import SourceError
from weightatlas.lab.calls import trace
from weightatlas.lab.last_map import LastMap, find_last_map
from weightatlas.nn import AllPositions, GlobalMean, L2Pool2d, MapHead

if TYPE_CHECKING:
    from collections.abc import Callable


def last_map(network: nn.Module, size: int = 8) -> LastMap:
    return find_last_map("network", trace(network, (2, 3, size, size), whole=(MapHead,)))


class MeanOfMiddleAxes(nn.Module):
    """Pools (batch, height, width, channels)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean((1, 2))


class Written(nn.Module):
    """A network whose forward method is given."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any], features: int = 8) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.pool = nn.MaxPool2d(2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.middle = MeanOfMiddleAxes()
        self.gate = nn.Linear(8, 8)
        self.classifier = nn.Linear(features, 4)
        self.second = nn.Linear(features, 4)
        self._written = forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._written(self, images)
        return logits


def features_of(self: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - it stands for a network
    """The pooled features of a network that is written as most are."""
    features: torch.Tensor = self.average(self.convolution(images)).flatten(1)
    return features


def classified_twice(self: Any, images: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    """The sum of two classifiers of the same features."""
    features = features_of(self, images)
    logits: torch.Tensor = self.classifier(features) + self.second(features)
    return logits


POOLINGS = {
    "mean": (nn.AdaptiveAvgPool2d(1), 8),
    "maximum": (nn.AdaptiveMaxPool2d(1), 8),
    "adaptive, to more than one": (nn.AdaptiveAvgPool2d((3, 2)), 48),
    "adaptive, to as many": (nn.AdaptiveAvgPool2d(6), 288),
    "mean of windows": (nn.AvgPool2d(6), 8),
    "maximum of windows": (nn.MaxPool2d(2), 72),
    "norm": (nn.LPPool2d(2, 3), 32),
    "L2": (L2Pool2d(3), 32),
    "a head": (GlobalMean(8, 6, 6), 8),
    "a head that keeps positions": (AllPositions(8, 6, 6), 288),
}


@pytest.mark.parametrize("kind", POOLINGS)
def test_every_kind_of_pooling_is_found(kind: str) -> None:
    pooling, features = POOLINGS[kind]
    found = last_map(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), pooling, nn.Flatten(), nn.Linear(features, 4)))
    assert (found.channels, found.height, found.width) == (8, 6, 6)
    assert found.pooling[0] == "2"
    assert found.classifier == "4"


def test_a_flattening_alone_is_the_pooling() -> None:
    found = last_map(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)))
    assert found == LastMap(8, 6, 6, ("2",), (), "3", covering=False, flat=True)


def test_all_poolings_after_the_last_convolution_are_found_and_what_stands_between() -> None:
    parts = (nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.Dropout2d(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), *parts, nn.Linear(8, 4))
    found = last_map(network, size=16)
    assert found == LastMap(8, 7, 7, ("3", "6"), (), "8", covering=False, flat=False)


def test_operations_of_forward_between_poolings_do_not_hide_the_first() -> None:
    found = last_map(
        Written(
            lambda self, images: self.classifier(self.average(self.pool(self.convolution(images)).relu()).flatten(1))
        )
    )
    assert (found.pooling, found.height) == (("pool", "average"), 6)


def test_a_pool_beside_the_way_is_no_pooling_of_the_last_map() -> None:
    def forward(self: Written, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        features = torch.cat(
            (features[:, :4], self.pool(features)[:, :4].repeat_interleave(2, 2).repeat(1, 1, 1, 2)), 1
        )
        logits: torch.Tensor = self.classifier(self.average(features).flatten(1))
        return logits

    assert last_map(Written(forward)).pooling == ("average",)


def test_squeeze_and_excitation_after_the_last_convolution_is_none_either() -> None:
    def forward(self: Written, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        scale = self.gate(functional.adaptive_avg_pool2d(features, 1).flatten(1)).sigmoid()
        logits: torch.Tensor = self.classifier(self.average(features * scale[:, :, None, None]).flatten(1))
        return logits

    found = last_map(Written(forward))
    assert (found.pooling, found.classifier) == (("average",), "classifier")


@pytest.mark.parametrize("act", [(), (nn.ReLU(),)])
def test_a_convolution_that_covers_the_map_is_a_fully_connected_layer(act: tuple[nn.Module, ...]) -> None:
    parts = (nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1), nn.Flatten())
    found = last_map(nn.Sequential(nn.Conv2d(3, 8, 3), *act, *parts))
    first = 1 + len(act)
    assert found == LastMap(8, 6, 6, (str(first),), (), str(first + 1), covering=True, flat=False)


def test_a_convolution_over_one_position_is_a_fully_connected_layer() -> None:
    parts = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4))
    found = last_map(nn.Sequential(nn.Conv2d(3, 8, 3), *parts))
    assert found == LastMap(8, 6, 6, ("1",), (), "2", covering=False, flat=False)


def test_normalisations_of_the_features_are_listed() -> None:
    parts = (nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.Flatten(), nn.LayerNorm(8), nn.Dropout(), nn.Linear(8, 4))
    assert last_map(nn.Sequential(nn.Conv2d(3, 8, 3), *parts)).norms == ("2", "4")


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "no convolution": (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), "it has no convolution that reads a map"),
    "pooled inside forward()": (
        Written(lambda self, images: self.classifier(self.convolution(images).relu().mean((2, 3)))),
        r"lost track after convolution \(Conv2d\), the last module to read a map: no module pools its output",
    ),
    "flattened inside forward()": (
        Written(lambda self, images: self.classifier(self.convolution(images).flatten(1)), 288),
        r"lost track after convolution \(Conv2d\)",
    ),
    "tokens": (
        Written(lambda self, images: self.classifier(self.convolution(images).flatten(2).mT).mean(1)),
        r"after convolution its features are tokens, \(batch, tokens, channels\), and no map",
    ),
    "one position": (
        nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
        r"0 shrinks its map to one position: nothing is pooled; give larger images: input_size, or",
    ),
    "no classifier": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "no fully connected layer stands after 1, the last module to read a map",
    ),
    "classes before the pooling": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "no fully connected layer stands after 2",
    ),
    "features that something was added to": (
        Written(lambda self, images: self.classifier(functional.pad(features_of(self, images), (0, 1))), 9),
        "lost track after average: it gives 8 features, and classifier takes 9",
    ),
    "a way around the classifier": (
        Written(lambda self, images: self.classifier(features_of(self, images)) + images.mean()),
        "lost track after average: its answer knows the map by other ways than classifier",
    ),
    "a pool that is used twice": (
        Written(lambda self, images: self.classifier(self.pool(self.pool(self.convolution(images))).flatten(1))),
        "pool, which would be replaced, is called 2 times",
    ),
    "two classifiers": (
        Written(classified_twice),
        "it has several classifiers: classifier and second read the same features",
    ),
    "channels last": (
        Written(lambda self, images: self.classifier(self.middle(self.convolution(images).permute(0, 2, 3, 1)))),
        r"middle \(MeanOfMiddleAxes\) reads 6 x 6 x 8 and gives 8: no pooling of a map whose channels come first",
    ),
    "parameters between": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.PReLU(8), nn.Linear(8, 4)),
        r"3 \(PReLU\) stands between its pooling and 4, with parameters",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_not_understood_is_said(why: str) -> None:
    network, message = REFUSED[why]
    with pytest.raises(SourceError, match=f"^network: {message}"):
        last_map(network)
