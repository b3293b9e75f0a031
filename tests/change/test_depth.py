from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from weightatlas.change.depth import depth_trend


def layers(
    seed: int, *, on_depth: float, on_size: float, count: int = 37
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """Change, depth and size of layers whose size grows with depth."""
    generator = np.random.default_rng(seed)
    depth = np.arange(float(count))
    size = depth / count + generator.normal(0, 0.25, count)
    change = on_depth * depth / count + on_size * size + generator.normal(0, 0.2, count)
    return np.exp(change), depth, np.exp(4 * size)


@given(st.integers(0, 2**32 - 1), st.integers(5, 20), st.integers(2, 9))
def test_the_figures_are_those_of_the_textbook(seed: int, count: int, values: int) -> None:
    """Partial correlation from the three simple ones, ties among them."""
    generator = np.random.default_rng(seed)
    change, size = generator.integers(values, size=(2, count)).astype(float)
    depth = generator.permutation(count).astype(float)
    found = depth_trend(change, depth, size, permutations=1, resamples=1)
    if np.ptp(change) == 0 or np.ptp(size) == 0:
        return
    a, b, c = spearmanr(change, depth)[0], spearmanr(change, size)[0], spearmanr(size, depth)[0]
    assert [found.with_depth, found.with_size, found.size_with_depth] == pytest.approx([a, b, c])
    if max(abs(b), abs(c)) < 1 - 1e-9:
        assert found.partial == pytest.approx((a - b * c) / math.sqrt((1 - b * b) * (1 - c * c)))


def test_a_trend_that_size_explains_is_gone_given_size() -> None:
    found = [depth_trend(*layers(seed, on_depth=0, on_size=1), permutations=199, resamples=99) for seed in range(80)]
    assert np.median([one.with_depth for one in found]) > 0.5
    assert abs(np.median([one.partial for one in found])) < 0.1
    assert sum(one.p <= 0.05 for one in found) <= 10  # 5 % of 80 is 4; more than 10 come in 2 of 1,000 cases


def test_a_trend_with_depth_stays_given_size() -> None:
    found = depth_trend(*layers(0, on_depth=1, on_size=0))
    assert found.partial > 0.4
    assert found.p < 0.01
    assert 0 < found.interval[0] < found.partial < found.interval[1] <= 1
    down = depth_trend(-layers(0, on_depth=1, on_size=0)[0], *layers(0, on_depth=1, on_size=0)[1:])
    assert down.partial == pytest.approx(-found.partial)
    assert down.p == pytest.approx(found.p, abs=0.01)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    found = [
        depth_trend(*layers(seed, on_depth=0, on_size=1, count=60), permutations=1, resamples=399, confidence=0.9)
        for seed in range(60)
    ]
    inside = np.mean([one.interval[0] <= 0 <= one.interval[1] for one in found])
    assert 0.75 <= inside <= 1


def test_constant_sizes_leave_the_simple_correlation() -> None:
    change, depth, _ = layers(1, on_depth=1, on_size=0)
    found = depth_trend(change, depth, np.ones(37))
    assert found.partial == pytest.approx(found.with_depth)
    assert math.isnan(found.with_size)


def test_what_is_not_known_is_left_out_and_too_little_says_so() -> None:
    change, depth, size = layers(2, on_depth=1, on_size=0)
    spoiled = np.append(change, math.nan)
    found = depth_trend(spoiled, np.append(depth, 99), np.append(size, 1))
    assert found == depth_trend(change, depth, size)
    few = depth_trend(change[:4], depth[:4], size[:4])
    assert math.isnan(few.partial)
    assert few.reason == "only 4 layers are known; a trend takes 5"
    ranked = depth_trend(change, depth, rankdata(depth) * 10)
    assert math.isnan(ranked.partial)
    assert ranked.reason == "size alone settles the order of the layers in depth or change"
    assert depth_trend([], [], []).layers == 0


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="a value a layer"):
        depth_trend([1, 2, 3], [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="permutations and resamples"):
        depth_trend([1, 2], [1, 2], [1, 2], permutations=0)
