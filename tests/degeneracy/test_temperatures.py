from __future__ import annotations

import math

import pytest

from tests.reference.learning_coefficient import normal_crossing
from weightatlas.degeneracy.temperatures import asymptotic_coefficient


@pytest.mark.parametrize("temperatures", [(20.0, 200.0), (1e3, 1e4), (1e3, 10.0, 100.0)])
def test_the_coefficient_of_a_crossing_of_two_lines_is_found(temperatures: tuple[float, ...]) -> None:
    """w1^2 w2^2 has 1/2 with multiplicity 2; at 10,000 it is still 18 % lower."""
    estimates = [normal_crossing(1, temperature) for temperature in temperatures]
    assert asymptotic_coefficient(temperatures, estimates) == pytest.approx(0.5, rel=0.03)
    assert normal_crossing(1, 1e4) < 0.42


@pytest.mark.parametrize("multiplicity", [2, 3, 4])
def test_it_is_exact_where_its_form_is(multiplicity: int) -> None:
    temperatures = [30.0, 3.0, 3000.0, 300.0]
    estimates = [1.7 - (multiplicity - 1) / (math.log(one) + 1.3) for one in temperatures]
    assert asymptotic_coefficient(temperatures, estimates, multiplicity=multiplicity) == pytest.approx(1.7)
    two = asymptotic_coefficient(temperatures[:2], estimates[:2], multiplicity=multiplicity)
    assert two == pytest.approx(1.7)


def test_copies_count_as_one_of_higher_multiplicity() -> None:
    """A sum over independent copies has the sum of coefficients, and each copy its own term."""
    estimates = [5 * (0.5 - 1 / (math.log(one) + 2)) for one in (10.0, 100.0)]
    assert asymptotic_coefficient([10.0, 100.0], estimates, multiplicity=6) == pytest.approx(2.5)


@pytest.mark.parametrize("estimates", [(0.5, 0.4), (0.5, 0.5), (math.nan, 0.5)])
def test_estimates_that_do_not_rise_have_no_limit(estimates: tuple[float, float]) -> None:
    assert math.isnan(asymptotic_coefficient([10.0, 100.0], estimates))


@pytest.mark.parametrize(
    ("temperatures", "estimates", "multiplicity"),
    [([10.0], [0.4], 2), ([10.0, 10.0], [0.4, 0.5], 2), ([0.5, 10.0], [0.1, 0.2], 2), ([10.0, 20.0], [0.4, 0.5], 1)],
)
def test_what_says_nothing_is_refused(temperatures: list[float], estimates: list[float], multiplicity: int) -> None:
    with pytest.raises(ValueError, match="two or more different temperatures"):
        asymptotic_coefficient(temperatures, estimates, multiplicity=multiplicity)
