from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from weightatlas.change.summing import device_sums
from weightatlas.change.summing.device_sums import ROW, ratios_on_device, row_sums, sums_on_device
from weightatlas.change.summing.measuring import Asked, Measured, measure, nothing_measured
from weightatlas.change.summing.stored import viewed
from weightatlas.change.summing.sums import (
    AFTER_NOT_FINITE,
    BEFORE_NOT_FINITE,
    DISTANCE_2,
    DOT,
    PREVIOUS_2,
    SUMS,
    ZEROS,
)

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "bincount", "equal", "item")
"""Operators that make the host wait for a GPU: what they give depends on values."""


class Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what waits for a device, and counts what would be launched: what makes views launches nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launched = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        name = func.name().removeprefix("aten::").partition(".")[0]
        assert name not in WAITING, f"{name} waits for the device"
        if name == "_to_copy":
            assert (kwargs or {}).get("device") is None, "a copy to another device waits for it"
        self.launched += not func.is_view
        return func(*args, **(kwargs or {}))


def walk(elements: int, dtype: torch.dtype, scale: float = 1, *, zeros: bool = True) -> list[torch.Tensor]:
    """Weights before, after, at the start, and before `before`."""
    generator = torch.Generator().manual_seed(elements)
    weights = [torch.randn(elements, generator=generator, dtype=torch.float64)]
    for _ in range(3):
        weights.append(weights[-1] + 0.01 * torch.randn(elements, generator=generator, dtype=torch.float64))
    if zeros:
        weights[2][::7] = 0
    return [(scale * weights[index]).to(dtype) for index in (2, 3, 0, 1)]


def on_cpu(before: torch.Tensor, after: torch.Tensor, *others: torch.Tensor) -> Measured:
    asked = Asked(median=True)
    into = nothing_measured(asked)
    start, previous = map(viewed, others) if others else (None, None)
    measure(into, viewed(before), viewed(after), start=start, previous=previous, asked=asked)
    return into


def assert_the_same(got: torch.Tensor, expected: npt.NDArray[np.float64]) -> None:
    """Within 1e-6; of the product of two updates, which cancels, in relation to their sizes."""
    sizes = np.abs(expected)
    sizes[DOT] = np.sqrt(expected[DISTANCE_2]) * np.sqrt(expected[PREVIOUS_2])
    np.testing.assert_array_less(np.abs(got.numpy() - expected), 1e-6 * sizes + 1e-300)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("elements", [1, ROW - 1, ROW, 5 * ROW + 3, 200_001])
def test_the_sums_are_those_of_the_compiled_loops(dtype: torch.dtype, elements: int) -> None:
    before, after, start, previous = walk(elements, dtype)
    got = sums_on_device(before, after, start=start, previous=previous)
    assert_the_same(got, on_cpu(before, after, start, previous).sums)
    assert_the_same(sums_on_device(before, after), on_cpu(before, after).sums)


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1e25, 1e36])
def test_nothing_overflows_or_is_lost(scale: float) -> None:
    weights = walk(5000, torch.float32, scale)
    got = sums_on_device(weights[0], weights[1], start=weights[2], previous=weights[3])
    assert_the_same(got, on_cpu(*[weight.double() for weight in weights]).sums)


def test_chunks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after, start, previous = walk(10 * ROW + 5, torch.float32)
    whole = sums_on_device(before, after, start=start, previous=previous)
    monkeypatch.setattr(device_sums, "CHUNK", 2 * ROW)
    np.testing.assert_allclose(sums_on_device(before, after, start=start, previous=previous), whole, rtol=1e-12)


def test_values_that_are_not_finite_are_counted() -> None:
    before, after, *_ = walk(1000, torch.float32)
    before[3], after[5], after[700] = np.inf, np.nan, -np.inf
    sums = sums_on_device(before, after)
    assert sums[[BEFORE_NOT_FINITE, AFTER_NOT_FINITE]].tolist() == [1, 2]


def test_zeros_are_those_of_the_weights_alone() -> None:
    assert sums_on_device(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))[ZEROS] == 1


def test_nothing_gives_nothing() -> None:
    assert torch.equal(sums_on_device(torch.empty(0), torch.empty(0)), torch.zeros(SUMS, dtype=torch.float64))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_ratios_fall_into_the_bins_of_the_compiled_loop(dtype: torch.dtype) -> None:
    before, after, start, previous = walk(30_000, dtype)
    before[5], after[6] = np.inf, np.nan
    np.testing.assert_array_equal(ratios_on_device(before, after), on_cpu(before, after, start, previous).bins)


@pytest.mark.parametrize(
    "routine",
    [
        lambda weights: sums_on_device(weights[0], weights[1], start=weights[2], previous=weights[3]),
        lambda weights: ratios_on_device(weights[0], weights[1]),
    ],
)
def test_nothing_waits_for_the_device(routine: Callable[[list[torch.Tensor]], torch.Tensor]) -> None:
    with Dispatched():
        routine(walk(3 * ROW + 1, torch.bfloat16))
    meta = [weight.to("meta") for weight in walk(3 * ROW + 1, torch.bfloat16)]
    assert routine(meta).is_meta  # on this device nothing has a value, so nothing can have depended on one


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_compiled_the_rows_give_the_same() -> None:
    rows = [weight.view(-1, ROW) for weight in walk(4 * ROW, torch.float32)]
    before, after, start, previous = rows
    expected = row_sums(before, after, start, previous).sum(0).numpy()
    assert_the_same(torch.compile(row_sums)(before, after, start, previous).sum(0), expected)
