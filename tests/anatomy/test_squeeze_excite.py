"""Squeeze-and-excitation is a pair that narrows and widens the channels of its block, and nothing else is."""

from __future__ import annotations

import pytest

from weightatlas.anatomy.squeeze_excite import squeeze_excite_roles
from weightatlas.anatomy.vocabulary import Part

BODY = Part("block.conv", "weight", (16, 8, 3, 3), "convolution")


def pair(first: str, second: str, *, matrices: bool = False, gated: bool = False) -> list[Part]:
    end, kind = ((), "linear") if matrices else ((1, 1), "convolution")
    return [
        Part(first, "weight", (4, 16, *end), kind, gated=gated),  # type: ignore[arg-type]
        Part(second, "weight", (16, 4, *end), kind, gated=gated),  # type: ignore[arg-type]
    ]


def found(*parts: Part) -> list[str]:
    return [role.removeprefix("squeeze-excite-") for role in squeeze_excite_roles(parts, {}).values()]


@pytest.mark.parametrize("names", [("block.1.fc1", "block.1.fc2"), ("block.se.conv_reduce", "block.se.conv_expand")])
def test_convolutions_are_taken_at_their_shape(names: tuple[str, str]) -> None:
    assert found(BODY, *pair(*names)) == ["reduce", "expand"]


def test_the_order_in_the_file_does_not_matter() -> None:
    assert found(*reversed(pair("block.se.a", "block.se.b")), BODY) == ["expand", "reduce"]


def test_matrices_need_a_name_or_a_gate() -> None:
    assert found(BODY, *pair("block.side.0", "block.side.2", matrices=True)) == []
    assert found(BODY, *pair("block.se.0", "block.se.2", matrices=True)) == ["reduce", "expand"]
    assert found(BODY, *pair("block.side.0", "block.side.2", matrices=True, gated=True)) == ["reduce", "expand"]


def test_adapters_are_not_gates() -> None:
    assert found(BODY, *pair("block.q.lora_A", "block.q.lora_B")) == []


def test_a_pair_with_company_is_something_else() -> None:
    norm = Part("block.neck.norm", "weight", (4,), "norm")
    narrow, wide = pair("block.neck.a", "block.neck.b")
    assert found(BODY, narrow, norm, wide) == []


def test_a_pair_for_channels_that_its_block_does_not_make_is_something_else() -> None:
    other = Part("block.conv", "weight", (12, 8, 3, 3), "convolution")
    assert found(other, *pair("block.x.a", "block.x.b")) == []
