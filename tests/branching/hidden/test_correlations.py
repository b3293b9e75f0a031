from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from weightatlas.branching.hidden.correlations import correlate_axes, first_layer_figures
from weightatlas.branching.tuning import tuning


def test_rho_is_spearmans() -> None:
    generator = np.random.default_rng(0)
    axes, figure = generator.normal(size=(30, 2)), np.round(generator.normal(size=30), 1)
    for found, axis in zip(correlate_axes(axes, figure, shuffles=99, seed=0), axes.T, strict=True):
        assert found.rho == pytest.approx(spearmanr(axis, figure)[0])


def test_units_without_a_figure_or_a_place_are_left_out() -> None:
    axis, figure = np.arange(8.0), np.arange(8.0) ** 2
    axis[0], figure[1] = np.nan, np.nan
    (found,) = correlate_axes(axis[:, None], figure, shuffles=999, seed=0)
    assert found.units == 6
    assert found.rho == pytest.approx(1)
    assert found.p_value < 0.02


def test_a_constant_figure_has_no_correlation() -> None:
    (found,) = correlate_axes(np.arange(5.0)[:, None], np.ones(5), shuffles=9, seed=0)
    assert np.isnan(found.rho)
    assert found.p_value == 1


def test_unrelated_figures_reject_at_the_level() -> None:
    generator = np.random.default_rng(1)
    figures = generator.normal(size=(12, 400))
    found = correlate_axes(figures, generator.normal(size=12), shuffles=199, seed=0)
    rejected = np.mean([one.p_value <= 0.05 for one in found])
    assert 0.05 - 3.3 * np.sqrt(0.05 * 0.95 / 400) <= rejected <= 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / 400)


def test_a_layer_that_sees_colours_has_chroma_and_frequency() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 3, 5, 5))
    figures = first_layer_figures(weight)
    np.testing.assert_array_equal(figures["chroma"], tuning(weight).chroma)
    np.testing.assert_array_equal(figures["frequency"], tuning(weight).frequency)


@pytest.mark.parametrize("shape", [(6, 4, 5, 5), (6, 3), (6, 3, 1, 1), (6, 1, 3, 3)])
def test_other_layers_have_neither(shape: tuple[int, ...]) -> None:
    assert first_layer_figures(np.ones(shape)) == {}
