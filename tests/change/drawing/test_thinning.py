from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.change.drawing.thinning import FEWEST, median, pieces, thinned


@settings(max_examples=30)
@given(st.integers(1, 120), st.integers(1, 60), st.integers(1, 900))
def test_all_is_kept_in_order_and_within_the_bound(layers: int, steps: int, cells: int) -> None:
    thin = thinned(np.ones((layers, steps)), cells=cells)
    assert [place for row in thin.rows for place in row] == list(range(layers))
    assert [place for column in thin.columns for place in column] == list(range(steps))
    assert thin.values.shape == (len(thin.rows), len(thin.columns))
    assert thin.values.size <= max(cells, FEWEST)
    assert np.all(thin.values == 1)


def test_layers_stay_apart_where_they_must() -> None:
    thin = thinned(np.ones((900, 100)), cells=600, join_layers=False)
    assert thin.values.shape[0] == 900
    assert thin.steps_together > 1


def test_what_is_small_enough_is_left_as_it_is() -> None:
    curves = np.random.default_rng(0).normal(size=(20, 30))
    np.testing.assert_array_equal(thinned(curves).values, curves)


def test_the_median_leaves_out_what_is_not_finite() -> None:
    values = np.array([[1.0, np.nan, np.inf], [3.0, np.nan, 5.0]])
    np.testing.assert_array_equal(median(values, 0), [2.0, np.nan, 5.0])
    np.testing.assert_array_equal(median(values, 1), [1.0, 4.0])


@pytest.mark.parametrize(("length", "most"), [(0, 3), (1, 1), (7, 7), (7, 20)])
def test_pieces_of_few_things(length: int, most: int) -> None:
    assert sum(map(len, pieces(length, most))) == length
