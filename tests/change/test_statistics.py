from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.reference.weight_change import change_statistics, exact, length
from weightatlas.change.statistics import PARTS, statistics
from weightatlas.change.summing.measuring import measure

# ruff: noqa: ANN401 - weights are tensors or arrays, right ones and wrong ones

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.change.summing.sums import ChangeStatistics, Zero

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
FIGURES = ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start", "angle_from_start", "median")
NEAR = 1e-6
SIZES = (1, 511, 512, 513, 4095, 4096, 4097, 2**18 + 1)


def four(elements: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[torch.Tensor]:
    """Weights at four moments of a training: before, after, at the start, before `before`."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(elements, generator=generator)
    walk = [start]
    for _ in range(3):
        walk.append(walk[-1] + 0.1 * torch.randn(elements, generator=generator))
    return [walk[index].to(dtype) for index in (2, 3, 0, 1)]


def assert_exact(found: ChangeStatistics, expected: dict[str, float], near: float = NEAR) -> None:
    for figure, value in expected.items():
        if figure == "angle_from_start":
            assert math.cos(found.angle_from_start) == pytest.approx(math.cos(value), abs=near, nan_ok=True), figure
        elif figure != "median":
            tolerance = {"abs": near} if figure == "cosine" else {"rel": near, "abs": 0}
            assert getattr(found, figure) == pytest.approx(value, nan_ok=True, **tolerance), figure


def check(before: Any, after: Any, start: Any = None, previous: Any = None, **options: Any) -> ChangeStatistics:
    """Compare all figures with float64's."""
    expected = change_statistics(before, after, start=start, previous=previous, zero=options.get("zero", "skip"))
    found = statistics(before, after, start=start, previous=previous, **options)
    assert_exact(found, expected)
    return found


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_figure_is_that_of_float64_whatever_the_type(dtype: torch.dtype) -> None:
    found = check(*four(20_000, dtype))
    assert (found.skipped, found.elements, found.not_finite) == (None, 20_000, (0, 0))
    assert math.isnan(found.median)


@pytest.mark.parametrize("elements", SIZES)
def test_every_figure_is_that_of_float64_at_sizes_around_the_blocks(elements: int) -> None:
    check(*four(elements))


def test_the_types_of_a_pair_may_differ() -> None:
    before, after, start, previous = four(6000)
    check(before.bfloat16(), after.double(), start.to(torch.float8_e5m2), previous.half())


def test_the_parts_that_threads_share_are_put_together() -> None:
    before, after, _, _ = four(1 << 20)
    often = 2 * PARTS // len(before) + 1
    large = [weight.expand(often, -1).reshape(-1) for weight in (before, after)]
    alone, shared = (statistics(*large, jobs=jobs) for jobs in (1, 2))
    assert repr(alone) == repr(shared)
    assert_exact(shared, change_statistics(before, after))


@pytest.mark.parametrize("figure", ["elementwise", "ratio_l1", "ratio_l2", "cosine", "from_start"])
def test_weights_that_are_all_equal_lose_no_digits(figure: str) -> None:
    # the rounding of equal terms does not average out: the worst case of sums in float32
    for seed in range(200):
        values = np.random.default_rng(seed).uniform(0.1, 1, 4).astype(np.float32)
        before, after, start, previous = (torch.full((4096,), float(value)) for value in values)
        expected = change_statistics(before, after, start=start, previous=previous)[figure]
        found = getattr(statistics(before, after, start=start, previous=previous), figure)
        # eight lanes at least, so at most 64 additions of half a unit in the last place, in both sums
        assert found == pytest.approx(expected, rel=3e-6), values


@pytest.mark.parametrize("scale", [1e38, 1e30, 1e-19, 1e-30, 1e-38, 1e-42], ids=str)
def test_neither_overflow_nor_underflow(scale: float) -> None:
    weights = [(weight / 4).clamp(-3, 3) * scale for weight in four(10_000)]
    check(*weights)


def test_neither_overflow_nor_underflow_where_one_of_the_updates_is_tiny() -> None:
    before, after, start, previous = four(5000)
    check(1e-34 * before, 1e-34 * after, None, 1e-1 * previous)
    check(1e-38 * before, 1e-38 * after, None, 1e-6 * previous)
    check(1e-34 * before, 0.1 * after, 0.1 * start, 1e-34 * previous)
    check(torch.full((3,), 1e38), torch.tensor([1.0, 1e38, 1e38]), None, torch.full((3,), 1.1e38))


def test_the_largest_weights_of_opposite_sign() -> None:
    before = torch.tensor([3e38, -3e38, 3.4e38])
    found = check(before, -before, before, before / 2, median=True)
    assert found.ratio_l1 == pytest.approx(2, rel=NEAR)
    assert found.angle_from_start == pytest.approx(math.pi, abs=1e-3)
    assert found.median == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("zero", ["skip", "inf", "eps"])
@pytest.mark.parametrize("pruned", [1, 700, 4999])
def test_zeros_are_counted_and_taken_as_asked(zero: Zero, pruned: int) -> None:
    before, after, _, _ = four(5000)
    before[torch.randperm(5000, generator=torch.Generator().manual_seed(1))[:pruned]] = 0
    assert check(before, after, zero=zero).zeros == pruned


def test_a_weight_that_is_zero_and_stays_is_not_a_number_as_in_the_papers_code() -> None:
    before, after = torch.tensor([0.0, 0.0, 2.0]), torch.tensor([0.0, 0.0, 3.0])
    assert math.isnan(check(before, after, zero="inf").elementwise)
    assert check(before, after, zero="eps").elementwise == pytest.approx(0.5 / 3)
    assert check(before, after).elementwise == 0.5
    assert check(before[1:], torch.tensor([1.0, 3.0]), zero="inf").elementwise == math.inf


def test_weights_that_are_all_zero() -> None:
    nothing, something = torch.zeros(600), torch.ones(600)
    moved, stayed = check(nothing, something), check(nothing, nothing, median=True)
    assert (moved.ratio_l1, moved.ratio_l2, moved.zeros) == (math.inf, math.inf, 600)
    assert all(math.isnan(value) for value in (stayed.ratio_l1, stayed.ratio_l2, stayed.elementwise, stayed.median))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_frozen_tensor_has_not_moved(dtype: torch.dtype) -> None:
    weight = four(9000, dtype)[0]
    found = statistics(weight, weight.clone(), start=weight, previous=weight, median=True)
    assert (found.ratio_l1, found.ratio_l2, found.elementwise, found.from_start, found.median) == (0, 0, 0, 0, 0)
    assert found.angle_from_start == 0
    assert math.isnan(found.cosine)


def test_what_is_not_finite_is_counted_and_has_no_figures() -> None:
    before, after, start, previous = four(9000)
    before[[3, 5000]] = torch.tensor([math.nan, math.inf])
    after[7] = -math.inf
    for only_norms in (False, True):
        found = statistics(before, after, start=start, previous=previous, median=True, only_norms=only_norms)
        assert found.not_finite == (2, 1)
        assert found.skipped == "NaN or infinite weights among 9,000: 2 before and 1 after"
        assert all(math.isnan(getattr(found, figure)) for figure in FIGURES)


@pytest.mark.parametrize("which", ["start", "previous"])
def test_earlier_weights_that_are_not_finite_cost_their_own_figures_alone(which: str) -> None:
    before, after, start, previous = four(3000)
    {"start": start, "previous": previous}[which][17] = math.nan
    found = statistics(before, after, start=start, previous=previous)
    assert found.ratio_l1 == pytest.approx(change_statistics(before, after)["ratio_l1"])
    lost = {"start": (found.from_start, found.angle_from_start), "previous": (found.cosine,)}
    assert all(math.isnan(figure) for figure in lost.pop(which))
    assert all(math.isfinite(figure) for figures in lost.values() for figure in figures)


def test_weights_in_any_layout_are_compared_element_by_element() -> None:
    plain = [weight.view(8, 6, 5, 5) for weight in four(1200)]
    expected = change_statistics(plain[0], plain[1], start=plain[2], previous=plain[3])
    last = [weight.to(memory_format=torch.channels_last) for weight in plain]
    mixed = [last[0], plain[1], last[2], plain[3]]
    spread = [torch.stack([weight, weight + 1], -1)[..., 0] for weight in plain]
    for layouts in (last, mixed, spread, [weight.transpose(0, 3) for weight in last]):
        found = statistics(layouts[0], layouts[1], start=layouts[2], previous=layouts[3])
        assert_exact(found, expected)


@pytest.mark.parametrize("layout", ["channels last", "transposed"])
def test_nothing_is_copied_where_layouts_agree(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [weight.view(8, 6, 5, 5) for weight in four(1200)[:2]]
    if layout == "transposed":
        weights = [weight.transpose(1, 3) for weight in weights]
    else:
        weights = [weight.to(memory_format=torch.channels_last) for weight in weights]
    seen: list[int] = []

    def spy(into: Any, before: Any, after: Any, **options: Any) -> None:
        seen.extend([before.ctypes.data, after.ctypes.data])
        measure(into, before, after, **options)

    monkeypatch.setattr(import_module("weightatlas.change.statistics"), "measure", spy)  # the function has its name
    statistics(*weights)
    assert seen == [weight.data_ptr() for weight in weights]


def test_arrays_parameters_and_read_only_maps_are_taken_as_they_are(tmp_path: Path) -> None:
    before, after, _, _ = four(5000)
    expected = statistics(before, after)
    np.save(tmp_path / "before.npy", before.numpy())
    mapped = np.load(tmp_path / "before.npy", mmap_mode="r")
    assert repr(statistics(mapped, after.numpy())) == repr(expected)
    assert repr(statistics(torch.nn.Parameter(before), after)) == repr(expected)
    assert np.array_equal(mapped, before.numpy())


def test_weights_that_are_not_aligned_to_their_size() -> None:
    before, after, start, previous = four(700)
    shifted = [torch.zeros(4 * 700 + 4, dtype=torch.uint8).numpy()[1:-3].view(np.float32) for _ in range(4)]
    for place, weight in zip(shifted, (before, after, start, previous), strict=True):
        place[:] = weight.numpy()
    check(*shifted, median=True)


def test_only_norms_gives_equation_1_and_nothing_else() -> None:
    before, after, start, previous = four(5000)
    found = statistics(before, after, start=start, previous=previous, only_norms=True)
    assert found.ratio_l1 == pytest.approx(change_statistics(before, after)["ratio_l1"], rel=NEAR)
    assert found.zeros is None
    assert all(math.isnan(value) for value in (found.elementwise, found.ratio_l2, found.cosine, found.from_start))


def test_scalars_and_tensors_without_elements() -> None:
    assert statistics(torch.tensor(2.0), torch.tensor(3.0)).ratio_l1 == 0.5
    empty = statistics(torch.empty(0, 3), torch.empty(0, 3), median=True)
    assert empty.elements == 0
    assert math.isnan(empty.ratio_l1)
    assert math.isnan(empty.elementwise)


@pytest.mark.parametrize("turn", [1e-2, 1e-3, 1e-5])
def test_the_angle_of_nearly_equal_weights_keeps_its_digits(turn: float) -> None:
    start = torch.randn(4096, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    aside = torch.randn(4096, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    aside -= start * (aside @ start) / (start @ start)
    aside *= start.norm() / aside.norm()
    after = math.cos(turn) * start + math.sin(turn) * aside
    assert statistics(start, after, start=start).angle_from_start == pytest.approx(turn, rel=1e-6)
    single = start.float(), after.float()
    expected = change_statistics(*single, start=single[0])["angle_from_start"]
    assert expected == pytest.approx(turn, rel=1e-2)  # rounding to float32 turns them, too
    assert statistics(*single, start=single[0]).angle_from_start == pytest.approx(expected, rel=1e-5)


def test_the_angle_of_weights_that_only_shrank_is_nearly_zero() -> None:
    start = four(10_000)[2]
    for shrunk, near in ((0.99, 1e-4), (0.5, 1e-3)):
        assert statistics(start, shrunk * start, start=start).angle_from_start < near


def test_the_cosine_tells_turning_back_from_going_on() -> None:
    before, step = four(5000)[:2]
    for way, cosine in ((1.0, 1.0), (-1.0, -1.0)):
        found = statistics(before, before + way * step, previous=before - step)
        assert found.cosine == pytest.approx(cosine, abs=1e-6)
    across = torch.cat([step[:2500], -step[2500:]])
    expected = change_statistics(before, before + across, previous=before - step)["cosine"]
    assert statistics(before, before + across, previous=before - step).cosine == pytest.approx(expected, abs=1e-6)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
weights = st.floats(-10, 10, width=32).filter(lambda value: value == 0 or abs(value) > 1e-3)
pairs = st.integers(1, 40).flatmap(lambda size: st.tuples(*[arrays(np.float32, size, elements=weights)] * 4))


@settings(deadline=None)
@given(weights=pairs, power=st.integers(-90, 90))
def test_scale_does_not_matter(weights: tuple[np.ndarray, ...], power: int) -> None:
    plain, scaled = (
        statistics(before, after, start=start, previous=previous)
        for before, after, start, previous in (weights, [np.ldexp(weight, power) for weight in weights])
    )
    for figure in ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start"):
        assert getattr(scaled, figure) == pytest.approx(getattr(plain, figure), rel=2e-6, abs=2e-6, nan_ok=True), figure
    assert scaled.zeros == plain.zeros


@settings(deadline=None)
@given(weights=pairs, seed=st.integers(0, 9))
def test_the_order_of_the_weights_does_not_matter(weights: tuple[np.ndarray, ...], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(weights[0]))
    plain, permuted = (
        statistics(before, after, start=start, previous=previous, median=True)
        for before, after, start, previous in (weights, [weight[order] for weight in weights])
    )
    for figure in ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start"):
        assert getattr(permuted, figure) == pytest.approx(getattr(plain, figure), rel=2e-6, abs=2e-6, nan_ok=True)
    assert permuted.median == pytest.approx(plain.median, nan_ok=True)


@settings(deadline=None)
@given(
    weights=st.integers(1, 12).flatmap(
        lambda size: st.tuples(
            *[arrays(np.float32, size, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))] * 4
        )
    )
)
def test_any_finite_weights_give_the_figures_of_float64(weights: tuple[np.ndarray, ...]) -> None:
    before, after, start, previous = weights
    expected = change_statistics(before, after, start=start, previous=previous)
    if not 0.1 < length(exact(after)) / (length(exact(start)) or 1) < 10:
        del expected["angle_from_start"]
    assert_exact(statistics(before, after, start=start, previous=previous), expected, near=3e-6)


def test_the_angle_of_weights_that_shrank_to_a_tenth() -> None:
    before, after, start, _ = four(10_000)
    expected = change_statistics(before, 0.1 * after, start=start)["angle_from_start"]
    found = statistics(before, 0.1 * after, start=start).angle_from_start
    assert math.cos(found) == pytest.approx(math.cos(expected), abs=1e-5)


def test_the_elementwise_mean_grows_with_the_number_of_weights_and_the_ratio_of_sums_does_not() -> None:
    # its law is Cauchy's: 1 / |w| has no mean where the density of w at 0 is not 0
    found: dict[int, list[ChangeStatistics]] = {elements: [] for elements in (10**3, 10**5, 3 * 10**6)}
    for elements, of_size in found.items():
        for seed in range(9):
            random = np.random.default_rng(seed)
            before = random.standard_normal(elements, dtype=np.float32)
            after = before + np.float32(0.01) * random.standard_normal(elements, dtype=np.float32)
            of_size.append(statistics(before, after, median=True))
    elementwise = [np.median([each.elementwise for each in of_size]) for of_size in found.values()]
    assert elementwise[0] * 1.3 < elementwise[1]
    assert elementwise[1] * 1.1 < elementwise[2]
    for figure in ("ratio_l1", "median"):
        every = [getattr(each, figure) for of_size in found.values() for each in of_size]
        assert min(every) > 0.0085
        assert max(every) < 0.0115


def test_a_large_layer_is_measured_where_torchs_own_norm_in_float32_is_wrong() -> None:
    # nothing in these sums is rounded before they are added up: the ratio is 2 to the last digit
    elements = 1 << 26
    after = torch.rand(elements, generator=torch.Generator().manual_seed(0))
    before = -after
    assert statistics(before, after, only_norms=True, jobs=2).ratio_l1 == 2.0
    expected = after.sum(dtype=torch.float64).item() / elements
    assert statistics(torch.ones(elements), after.add_(1), only_norms=True, jobs=2).ratio_l1 == pytest.approx(
        expected, rel=NEAR
    )


def test_torchs_own_norm_in_float32_is_wrong_on_a_large_layer() -> None:
    weights = torch.rand(1 << 26, generator=torch.Generator().manual_seed(0))
    error = torch.linalg.vector_norm(weights, 1).item() / weights.sum(dtype=torch.float64).item() - 1
    if abs(error) < 1e-4:
        pytest.skip(f"torch {torch.__version__} is off by {abs(error):.1e} only: it has been mended")
    assert abs(error) > 1e-3


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (torch.ones(3), torch.ones(4), "one shape"),
        (torch.ones(3), torch.ones(1, 3), "one shape"),
        (torch.ones(3), torch.eye(3).to_sparse(), "sparse"),
        (torch.ones(3, dtype=torch.complex64), torch.ones(3), "complex"),
        (torch.ones(3, device="meta"), torch.ones(3), "no values"),
        (np.array(["a"]), torch.ones(1), "no real numbers"),
        (np.array([object()]), torch.ones(1), "no real numbers"),
        (np.ones(3, ">f4"), torch.ones(3), "byte order"),
    ],
)
def test_what_cannot_be_compared_is_refused(before: Any, after: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        statistics(before, after)


def test_an_option_that_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="skip, inf, eps"):
        statistics(torch.ones(2), torch.ones(2), zero="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="previous is"):
        statistics(torch.ones(2), torch.ones(2), previous=torch.ones(3))
