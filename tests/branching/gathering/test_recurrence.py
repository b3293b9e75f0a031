from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas.branching.gathering.branch_matching import match
from weightatlas.branching.gathering.recurrence import MatchedRuns, Recurrence, strength_p_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

ALONE = np.array([[0.01, 0.5], [0.9, 0.04], [0.02, 0.6]])


def matched(observed: Sequence[Array], *, alone: Array = ALONE, scales: Sequence[float] = (0.5, 0.5)) -> MatchedRuns:
    """Runs whose null draws are what was observed, made smaller."""
    taken = [np.stack([each, *(scale * each for scale in scales)]) for each in observed]
    pairs = {(one, two): match(taken[one], taken[two]) for one, two in itertools.combinations(range(len(taken)), 2)}
    return MatchedRuns(("curve", "line"), taken, pairs, alone)


def three_runs() -> list[Array]:
    """Two that are alike but for the order of their branches; in the third one branch takes both families."""
    first = np.array([[0.4, -0.4], [-0.4, 0.4]])
    return [first, first[::-1], np.array([[0.5, 0.2], [-0.5, -0.2]])]


def test_a_known_answer() -> None:
    runs = matched(three_runs())
    curve, line = runs.recurrences(("left", "right"))
    assert [place.tolist() for place in runs.places] == [[0, 1], [1, 0], [0, 1]]
    assert (curve.family, curve.branch, line.family, line.branch) == ("curve", "left", "line", "right")
    assert (curve.runs_agreeing, line.runs_agreeing) == (3, 2)
    assert (curve.agreement, line.agreement) == pytest.approx((1.0, 1 / 3))
    assert curve.strength == pytest.approx((0.16 + 0.2 + 0.2) / 3)
    assert line.strength == pytest.approx((0.16 - 0.08 - 0.08) / 3)


def test_two_runs_must_take_a_family_alike() -> None:
    # Of three runs the second smallest p, times two; then Benjamini and Hochberg over two families.
    curve, line = matched(three_runs()).recurrences(("left", "right"))
    assert (curve.p_value, line.p_value) == pytest.approx((0.04, 1.0))
    assert (curve.q_value, line.q_value) == pytest.approx((0.08, 1.0))
    assert (curve.runs_significant, line.runs_significant) == (2, 1)


def test_the_null_is_of_the_draws_and_not_of_what_was_observed() -> None:
    for found in matched(three_runs(), scales=(0.5, -0.5)).recurrences(("left", "right")):
        assert found.null_mean == pytest.approx(found.strength / 4)
        assert found.null_std == pytest.approx(0.0, abs=1e-12)
    (curve, _) = matched(three_runs(), scales=(0.0, 1.0)).recurrences(("left", "right"))
    assert curve.null_mean == pytest.approx(curve.null_std) == pytest.approx(curve.strength / 2)


def figures(found: Recurrence) -> tuple[float, ...]:
    return (found.runs_agreeing, found.agreement, found.strength, found.null_mean, found.p_value, found.q_value)


def test_the_order_of_branches_and_of_families_does_not_matter() -> None:
    generator = np.random.default_rng(0)
    observed = [generator.normal(size=(4, 2)) for _ in range(3)]
    straight = matched(observed).recurrences(tuple("abcd"))
    turned = [each[generator.permutation(4)] for each in observed]
    for ours, theirs in zip(straight, matched(turned).recurrences(tuple("abcd")), strict=True):
        assert figures(ours) == pytest.approx(figures(theirs))
    swapped = matched([each[:, ::-1] for each in observed], alone=ALONE[:, ::-1]).recurrences(tuple("abcd"))
    for ours, theirs in zip(straight, swapped[::-1], strict=True):
        assert figures(ours) == pytest.approx(figures(theirs))
        assert ours.branch == theirs.branch


def test_runs_of_unlike_numbers_of_branches_match_where_they_can() -> None:
    two, three = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 0.2], [0.0, 1.0], [1.0, 0.0]])
    curve, line = matched([two, three], alone=ALONE[:2]).recurrences(("left", "right"))
    assert (curve.runs_agreeing, line.runs_agreeing) == (2, 2)
    assert curve.strength == line.strength == 0.5


def test_p_values_count_ties_and_never_reach_zero() -> None:
    strength = np.array([[3.0, 1.0, 0.0], [2.0, 1.0 - 1e-15, 0.0], [1.0, 2.0, 0.0], [2.0, 0.0, 0.0]])
    assert strength_p_values(strength).tolist() == [0.25, 0.75, 1.0]


def test_p_values_of_noise_are_uniform() -> None:
    p_values = strength_p_values(np.random.default_rng(0).normal(size=(20, 4000)))
    shares = [(p_values <= level).mean() for level in (0.05, 0.25, 0.5)]
    np.testing.assert_allclose(shares, [0.05, 0.25, 0.5], atol=3 * 0.5 / np.sqrt(4000))
