"""Two weights are a pair where the second reads the units of the first, and of no other layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from weightatlas.anatomy.flow import channel_flow
from weightatlas.branching.surveying.pairs import Pair, pairs_of_flow, pairs_of_shapes
from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping


def _by_graph(model: nn.Module, side: int = 8) -> dict[str, Pair]:
    model.eval()
    return {pair.second: pair for pair in pairs_of_flow(channel_flow(model, torch.zeros(2, 3, side, side)))}


def _by_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Pair]:
    checkpoint = open_checkpoint({name: torch.randn(shape) for name, shape in shapes.items()})
    return {pair.second: pair for pair in pairs_of_shapes(checkpoint.layers)}


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 10, 3, padding=1)
        self.outer = nn.Conv2d(10, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stream = torch.relu(self.stem(images))
        stream = stream + self.outer(torch.relu(self.inner(stream)))
        answer: torch.Tensor = self.head(stream)
        return answer


class _Reordered(nn.Module):
    """The second layer reads the halves of the first in the other order."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.second = nn.Conv2d(6, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one, two = self.first(images).chunk(2, dim=1)
        answer: torch.Tensor = self.second(torch.cat([two, one], dim=1))
        return answer


def test_a_chain_is_pairs() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3))
    found = _by_graph(model)
    assert found["0"].skipped == "it reads the input"
    assert (found["4"].first, found["4"].skipped) == ("0", None)
    assert found["4"].order is not None
    np.testing.assert_array_equal(found["4"].order, np.arange(6))


def test_what_reads_a_sum_has_no_one_partner() -> None:
    found = _by_graph(_Residual())
    assert found["outer"].first == "inner"
    assert found["head"].skipped is not None
    assert "sum" in found["head"].skipped


def test_channels_in_another_order_are_told() -> None:
    order = _by_graph(_Reordered())["second"].order
    assert order is not None
    np.testing.assert_array_equal(order, [3, 4, 5, 0, 1, 2])


def test_a_flattened_map_repeats_its_units() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 7))
    order = _by_graph(model)["3"].order
    assert order is not None
    np.testing.assert_array_equal(order, np.repeat(np.arange(5), 36))


def test_depthwise_convolutions_are_skipped() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1))
    found = _by_graph(model)
    assert "depthwise" in (found["1"].skipped or "")
    assert (found["2"].first, found["2"].skipped) == ("1", None)


def test_by_shapes_channels_must_fit() -> None:
    found = _by_shapes(
        {"a.weight": (8, 3, 3, 3), "b.weight": (16, 8, 3, 3), "c.weight": (4, 9, 1, 1), "fc.weight": (10, 4 * 25)}
    )
    assert found["a"].skipped == "it reads the input"
    assert (found["b"].first, found["b"].skipped) == ("a", None)
    assert "9 channels" in (found["c"].skipped or "")
    order = found["fc"].order
    assert order is not None
    np.testing.assert_array_equal(order, np.repeat(np.arange(4), 25))


def test_grouped_convolutions_are_skipped() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3, groups=2), nn.Conv2d(8, 4, 1))
    found = _by_graph(model)
    assert "grouped" in (found["1"].skipped or "")
    assert (found["2"].first, found["2"].skipped) == ("1", None)
