from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from weightatlas.connectivity.slopes.line_integrals import LineIntegrals

ALPHAS = np.array([0.0, 0.3, 0.45, 1.0])


@pytest.mark.parametrize("coefficients", [(1, -2, 0, 0), (0, 1, 3, 0), (0.5, 2, -1, 4)])
def test_all_three_agree_exactly_for_polynomials_of_the_third_degree(coefficients: tuple[float, ...]) -> None:
    """Simpson's rule is exact for them; Green's function adds one degree, and slopes take one off."""
    line = LineIntegrals(ALPHAS, nodes=40)
    at = np.array(line.positions())
    curve = np.polynomial.Polynomial(coefficients)
    barriers = line.barriers(curve(at))
    assert barriers == pytest.approx(curve(ALPHAS) - (1 - ALPHAS) * curve(0.0) - ALPHAS * curve(1.0), abs=1e-12)
    assert line.from_slopes(curve.deriv()(at)) == pytest.approx(barriers, abs=1e-12)
    assert line.from_curvatures(curve.deriv(2)(at)) == pytest.approx(barriers, abs=1e-12)


def test_curvature_is_weighted_by_greens_function() -> None:
    def green(alpha: float, s: float) -> float:
        return min(alpha, s) * (1 - max(alpha, s))

    line = LineIntegrals(ALPHAS, nodes=400)
    while line.halve():
        pass
    found = line.from_curvatures(np.exp(np.array(line.positions())))
    expected = [-quad(lambda s, a=alpha: green(a, s) * np.exp(s), 0, 1, points=[alpha])[0] for alpha in ALPHAS]
    assert found == pytest.approx(expected, abs=1e-9)


def test_every_other_position_is_the_rule_before_its_steps_were_halved() -> None:
    coarse, fine = LineIntegrals(ALPHAS, nodes=40), LineIntegrals(ALPHAS, nodes=40)
    assert fine.halve()
    assert set(coarse.positions()) < set(fine.positions())
    for name in ("from_slopes", "from_curvatures"):
        before = getattr(coarse, name)(np.sin(9 * np.array(coarse.positions())))
        after = getattr(fine, name)(np.sin(9 * np.array(fine.positions())), every=2)
        assert after == pytest.approx(before, abs=1e-15)


def test_steps_are_halved_while_there_are_nodes() -> None:
    line = LineIntegrals(np.array([0.5]), nodes=33)
    assert [line.halve(), line.halve(), line.halve()] == [True, True, False]
    assert len(line.positions()) == 33


@pytest.mark.parametrize("alphas", [[], [-0.1], [0.5, 1.1], [np.nan]])
def test_alphas_lie_on_the_line(alphas: list[float]) -> None:
    with pytest.raises(ValueError, match="alphas must be one or more numbers from 0 to 1"):
        LineIntegrals(np.array(alphas), nodes=100)


def test_there_are_nodes_enough_for_the_alphas() -> None:
    with pytest.raises(ValueError, match="nodes must be 13 at least"):
        LineIntegrals(ALPHAS, nodes=12)
