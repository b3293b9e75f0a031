from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.dtypes import ITEM_SIZES, torch_dtype
from weightatlas.evaluation.narrowing import CHUNK, beyond

WHOLE = ("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def said(tensor: torch.Tensor, target: torch.dtype) -> str | None:
    return beyond(open_checkpoint({"weight": tensor}), "weight", target)


def bounds(dtype: torch.dtype) -> tuple[int, int]:
    return (0, 1) if dtype is torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)


@pytest.mark.parametrize(("source", "target"), list(product(WHOLE, WHOLE[1:])))
def test_whole_numbers_are_held_exactly_where_both_types_reach(source: str, target: str) -> None:
    first, last = bounds(torch_dtype(source))
    least, most = bounds(torch_dtype(target))
    for value in {first, last, least, most, least - 1, most + 1, 0, -1}:
        if not first <= value <= last:
            continue
        reason = said(torch.tensor([0, value], dtype=torch_dtype(source)), torch_dtype(target))
        assert (reason is None) == (least <= value <= most)
        assert reason is None or f"holds {value}, and {target} " in reason


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("float16", 65504.0), ("bfloat16", 3.3895313892515355e38), ("float32", 3.4028234663852886e38),
        ("float8_e4m3fn", 448.0), ("float8_e5m2", 57344.0), ("float8_e4m3fnuz", 240.0),
    ],
)  # fmt: skip
def test_finite_numbers_are_held_to_the_targets_largest(target: str, last: float) -> None:
    for value in (last, -last, 1e-300, math.inf, -math.inf, math.nan):
        assert said(torch.tensor([1.0, value], dtype=torch.float64), torch_dtype(target)) is None
    for value in (1.5 * last, -1.5 * last, 1e300):
        for others in ([], [math.nan], [math.inf, -math.inf]):
            reason = said(torch.tensor([1.0, value, *others], dtype=torch.float64), torch_dtype(target))
            assert reason is not None
            assert f"it holds {value:.9g}, and {target} {'ends' if value > 0 else 'begins'} at" in reason


def test_a_type_without_a_sign_takes_no_negative_number() -> None:
    assert said(torch.tensor([0.0, 4.0]), torch.float8_e8m0fnu) is None
    assert said(torch.tensor([-2.0]), torch.float8_e8m0fnu) == "it holds -2, and float8_e8m0fnu begins at 0"


def test_small_floats_are_compared_although_torch_compares_none() -> None:
    wide = torch.tensor([300.0]).to(torch.float8_e5m2)
    assert said(wide, torch.float8_e4m3fnuz) == "it holds 320, and float8_e4m3fnuz ends at 240"
    assert said(wide, torch.float8_e4m3fn) is None


def test_both_parts_of_a_complex_number_are_compared() -> None:
    state = torch.tensor([1 + 1e300j], dtype=torch.complex128)
    assert said(state, torch.complex64) == "it holds 1e+300, and complex64 ends at 3.40282347e+38"
    assert said(state.conj(), torch.complex64) == "it holds -1e+300, and complex64 begins at -3.40282347e+38"
    assert said(torch.tensor([1 + 1j], dtype=torch.complex128), torch.complex64) is None


def test_whole_numbers_beyond_a_float_are_told() -> None:
    assert said(torch.tensor([70000]), torch.float16) == "it holds 70000, and float16 ends at 65504"
    assert said(torch.tensor([70000]), torch.bfloat16) is None


def test_a_value_in_the_last_chunk_is_seen_and_an_empty_tensor_holds_nothing() -> None:
    long = torch.zeros(CHUNK + 3)
    long[-1] = -1e6
    assert said(long, torch.float16) == "it holds -1000000, and float16 begins at -65504"
    assert said(torch.empty(0, 3), torch.float16) is None


@pytest.mark.parametrize("name", sorted(ITEM_SIZES))
def test_every_type_holds_its_own_values(name: str) -> None:
    assert said(torch.ones(2).to(torch_dtype(name)), torch_dtype(name)) is None
