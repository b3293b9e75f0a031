from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from tests.change.summing.test_device_sums import Dispatched
from tests.reference.weight_change import change_statistics
from weightatlas.change.recording.device_kept import DeviceKept, Fetched
from weightatlas.change.recording.host_kept import HostKept, staged
from weightatlas.change.recording.kept import Amounts, Kept
from weightatlas.change.recording.local_parts import LocalPart, Whole
from weightatlas.change.summing.device_sums import ROW
from weightatlas.change.summing.sums import figures

CPU = torch.device("cpu")
FIGURES = ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start", "zeros")
SHAPES = ((3, 4, 5, 5), (17, 31), (2 * ROW + 1,), (1, 1))


def on_host(parts: list[LocalPart], dtype: torch.dtype = torch.float32, **options: bool) -> Kept:
    return HostKept(parts, dtype=dtype, **options)


def on_device(parts: list[LocalPart], dtype: torch.dtype = torch.float32, **options: bool) -> Kept:
    return DeviceKept(parts, dtype=dtype, device=CPU, **options)


def in_small_chunks(parts: list[LocalPart], dtype: torch.dtype = torch.float32, **options: bool) -> Kept:
    return DeviceKept(parts, dtype=dtype, device=CPU, chunk=2 * ROW, **options)


KINDS = (on_host, on_device, in_small_chunks)
Make = Callable[..., Kept]


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    made = [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    made[1].data[0] = 0
    return made


def parts_of(weights: list[nn.Parameter]) -> list[LocalPart]:
    holder = nn.ParameterList(weights)
    return [Whole(weight, holder, str(index)) for index, weight in enumerate(weights)]


def moved(weights: list[nn.Parameter], records: int) -> Iterator[int]:
    generator = torch.Generator().manual_seed(1)
    for record in range(records):
        for weight in weights:
            weight.data += 0.01 * torch.randn(weight.shape, generator=generator)
        yield record


def assert_measured(
    amounts: Amounts, history: list[list[torch.Tensor]], *, with_start: bool = False, with_previous: bool = False
) -> None:
    """All figures of the last record of a history are those of the slow reference."""
    for index in range(len(history[0])):
        sums, elements = amounts.sums[index], amounts.elements[index]
        found = figures(sums, elements, with_start=with_start, with_previous=with_previous)
        before, after = history[-2][index], history[-1][index]
        start = history[0][index] if with_start else None
        previous = history[-3][index] if with_previous else None
        expected = change_statistics(before, after, start=start, previous=previous)
        for figure in FIGURES:
            near = {"abs": 1e-6} if figure == "cosine" else {"rel": 2e-6}
            want = expected.get(figure, np.nan)
            assert getattr(found, figure) == pytest.approx(want, nan_ok=True, **near), (index, figure)


def copies(weights: list[nn.Parameter]) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in weights]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_every_record_is_that_of_the_slow_reference(make: Make, dtype: torch.dtype) -> None:
    weights = parameters(dtype)
    kept = make(parts_of(weights), dtype, with_start=True, with_previous=True)
    history = [copies(weights)]
    for record in moved(weights, 4):
        history.append(copies(weights))
        amounts = kept.record()()
        assert amounts.knows_previous == (record > 0)
        assert_measured(amounts, history, with_start=True, with_previous=record > 0)


@pytest.mark.parametrize("make", KINDS)
def test_weights_that_lie_in_memory_in_another_order_are_the_same(make: Make) -> None:
    weights = parameters()
    kept = make(parts_of(weights), with_start=True, with_previous=True)
    history = [copies(weights)]
    for record in moved(weights, 4):
        if record in {1, 3}:
            layout = torch.channels_last if record == 1 else torch.contiguous_format
            weights[0].data = weights[0].data.contiguous(memory_format=layout)
            weights[1].data = weights[1].data.t().contiguous().t()
        history.append(copies(weights))
        assert_measured(kept.record()(), history, with_start=True, with_previous=record > 0)


@pytest.mark.parametrize("make", KINDS)
def test_a_tensor_of_another_shape_is_left_out_and_the_rest_is_measured(make: Make) -> None:
    weights = parameters()
    parts = parts_of(weights)
    kept = make(parts)
    history = [copies(weights)]
    for _ in moved(weights, 1):
        parts[1].parameter = nn.Parameter(torch.zeros(4, 4))  # type: ignore[attr-defined]
        parts[1].holder = nn.Module()  # type: ignore[attr-defined]
        history.append(copies(weights))
    amounts = kept.record()()
    assert amounts.problems == {1: "its shape here was (17, 31) and is (4, 4)"}
    rest = [0, 2, 3]
    kept_rest = Amounts(amounts.sums[rest], [amounts.elements[index] for index in rest])
    assert_measured(kept_rest, [[moment[index] for index in rest] for moment in history])


@pytest.mark.parametrize("make", KINDS)
def test_keeping_anew_forgets_what_was_before(make: Make) -> None:
    weights = parameters()
    kept = make(parts_of(weights), with_start=True, with_previous=True)
    history = []
    for record in moved(weights, 3):
        if record == 1:
            kept.keep()
            history = [copies(weights)]
        if record == 2:
            history.append(copies(weights))
            amounts = kept.record()()
            assert not amounts.knows_previous
            assert_measured(amounts, history, with_start=True)


@pytest.mark.parametrize("make", KINDS)
def test_rounded_weights_that_stand_still_show_no_change(make: Make) -> None:
    weights = parameters()
    amounts = make(parts_of(weights), torch.bfloat16).record()()
    assert [figures(sums, 1).ratio_l1 for sums in amounts.sums] == [0] * len(weights)


@pytest.mark.parametrize("make", KINDS)
def test_rounding_leaves_the_relative_change_right_on_average(make: Make) -> None:
    weight = nn.Parameter(torch.randn(1000, 500, generator=torch.Generator().manual_seed(0)))
    kept = make(parts_of([weight]), torch.bfloat16, with_start=True)
    before = weight.detach().clone()
    weight.data += 1e-4 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))  # grid: about 4e-3
    exact = change_statistics(before, weight.detach(), start=before)
    found = figures(kept.record()().sums[0], weight.numel(), with_start=True)
    assert found.ratio_l1 == pytest.approx(exact["ratio_l1"], rel=0.02)
    assert found.from_start == pytest.approx(exact["from_start"], rel=0.02)
    assert found.ratio_l2 > 3 * exact["ratio_l2"]  # why the recorder leaves it out


def test_several_threads_add_up_to_one() -> None:
    big = nn.Parameter(torch.randn(5 << 20, generator=torch.Generator().manual_seed(0)))
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            kept = HostKept(parts_of([big]), dtype=torch.float32, median=True)
            big.data *= 2
            found.append(kept.record()())
            big.data /= 2
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(found[0].sums, found[1].sums)
    assert found[0].medians == pytest.approx([1], rel=0.01)
    assert found[0].medians == found[1].medians


def test_parameters_of_another_device_come_over_in_one_buffer() -> None:
    flats = [torch.arange(3.0), torch.empty(0), torch.arange(2.0)]
    staging = torch.zeros(6)
    places = staged(flats, staging, [0, 3, 4, 6])
    assert [place.tolist() for place in places] == [[0, 1, 2], [], [0, 1]]
    assert staging.tolist() == [0, 1, 2, 0, 0, 1]


def test_a_record_on_a_device_is_as_many_launches_whatever_the_number_of_tensors() -> None:
    launched = []
    for count in (2, 40):
        weights = [nn.Parameter(torch.randn(30, 30)) for _ in range(count)]
        kept = on_device(parts_of(weights), with_start=True, with_previous=True)
        kept.record()
        with Dispatched() as dispatched:
            kept.record()
        launched.append(dispatched.launched)
    assert launched[0] == launched[1]


def test_what_is_on_the_host_already_is_there_at_once() -> None:
    values = torch.arange(4, dtype=torch.float64)
    np.testing.assert_array_equal(Fetched(values).wait(), values)


def test_nothing_to_keep_is_no_error() -> None:
    for make in KINDS:
        assert make([]).record()().sums.shape == (0, 16)


def test_the_types_that_no_loop_knows_are_kept_too() -> None:
    weight = nn.Parameter(torch.linspace(-2, 2, 600).view(20, 30))
    kept = on_host(parts_of([weight]), torch.float8_e4m3fn, with_previous=True)
    before = weight.detach().to(torch.float8_e4m3fn).float()
    weight.data *= 1.5
    expected = change_statistics(before, weight.detach().to(torch.float8_e4m3fn).float())
    assert figures(kept.record()().sums[0], 600).ratio_l1 == pytest.approx(expected["ratio_l1"], rel=1e-6)
