from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.sweep.step import LARGER, SIZES, step
from weightatlas.nn.ws_conv import WSConv2d


class Attentive(nn.Module):
    """Attention over the positions of a map that has one for every 32 pixels; `unused` is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = WSConv2d(3, 8, 32, stride=32)
        self.q, self.k, self.v = (WSConv2d(8, 4, 1) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        q, k, v = (part(maps).flatten(2) for part in (self.q, self.k, self.v))
        answer: Tensor = torch.softmax(1e-5 * q.mT @ k, dim=-1) @ v.mT
        return answer


class Picky(nn.Module):
    """Takes maps of `side` or more, and gives what is not finite where they are below `finite`."""

    def __init__(self, side: int = 0, finite: int = 0) -> None:
        super().__init__()
        self.conv, self.unused = WSConv2d(3, 4, 3), WSConv2d(4, 4, 3) if side else nn.Identity()
        self.side, self.finite = side, finite

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] < self.side:
            message = f"too small: {tuple(images.shape)}\nand a second line"
            raise ValueError(message)
        maps: Tensor = self.conv(images)
        return maps if images.shape[-1] >= self.finite else maps * torch.inf


def lists(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("input", "unreached", "zero", "not_finite")}


def test_attention_over_one_position_moves_no_weights_so_a_larger_input_is_tried() -> None:
    found = step(Attentive(), "timm, x")
    assert lists(found) == {"input": [2, 3, 64, 64], "unreached": [], "zero": [], "not_finite": []}
    (smaller,) = found["smaller"]
    assert (smaller["input"], smaller["zero"]) == ([2, 3, 32, 32], ["q", "k"])
    assert found["convolutions"] == 4


def test_the_smallest_input_that_is_taken_is_enough_where_all_is_well() -> None:
    found = step(Picky(), "timm, x")
    assert lists(found) == {"input": [2, 3, SIZES[0], SIZES[0]], "unreached": [], "zero": [], "not_finite": []}
    assert "smaller" not in found


def test_what_no_gradient_reaches_is_named_and_no_larger_input_tried() -> None:
    found = step(Picky(side=96), "timm, x")
    assert lists(found) == {"input": [2, 3, 96, 96], "unreached": ["unused"], "zero": [], "not_finite": []}
    assert "smaller" not in found


@pytest.mark.filterwarnings("ignore:.*invalid value")
def test_what_is_never_finite_is_told_of_the_smallest_input() -> None:
    whole, never = (step(Picky(finite=SIZES[place]), "timm, x") for place in (LARGER, LARGER + 1))
    assert (whole["input"][-1], whole["not_finite"], len(whole["smaller"])) == (SIZES[LARGER], [], LARGER)
    assert (never["input"][-1], never["not_finite"]) == (SIZES[0], ["conv"])


def test_a_network_that_takes_no_input_says_its_last_error_in_one_line() -> None:
    assert step(Picky(side=1000), "timm, x") == {
        "outcome": "failed",
        "reason": "ValueError: too small: (2, 3, 512, 512)",
    }
