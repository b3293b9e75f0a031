from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from weightatlas.change.stopped import stopped
from weightatlas.change.watch import StoppedWatch, moving_median

CHANGES = st.sampled_from([0.0, 1e-9, 1e-4, 1e-3, 2e-3, math.nan, math.inf])


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 15)), elements=CHANGES), st.integers(1, 6))
def test_the_watch_knows_in_the_end_what_the_whole_run_tells(
    curves: np.ndarray[tuple[int, int], np.dtype[np.float64]], records: int
) -> None:
    names = [f"layer{index}" for index in range(len(curves))]
    steps = range(0, 10 * curves.shape[1], 10)
    watch = StoppedWatch(names, records=records)
    for step, column in zip(steps, curves.T, strict=True):
        watch.add(step, column)
    whole = stopped(curves, steps, names=names, records=records).stopped_at
    assert watch.stopped_at == {name: step for name, step in zip(names, whole, strict=True) if step is not None}


def test_a_layer_is_named_once_each_time_that_it_stops() -> None:
    watch = StoppedWatch(["a", "b"], records=2)
    curve = [1, 0, 0, 0, 1, 0, 0]
    named = [watch.add(step, [1e-3, 1e-3 * value]) for step, value in enumerate(curve)]
    assert named == [(), (), ("b",), (), (), (), ("b",)]
    assert watch.stopped_at == {"b": 5}


def test_the_moving_median_is_the_median_where_all_move() -> None:
    values = np.random.default_rng(0).uniform(1, 5, 31)
    assert moving_median(values) == np.median(values)


@pytest.mark.parametrize("drift", [0.0, 1e-9])
def test_the_moving_median_survives_a_frozen_majority(drift: float) -> None:
    values = np.concatenate([np.full(14, drift), np.full(6, 2e-3)])
    assert moving_median(values) == 2e-3


def test_the_moving_median_of_nothing_is_not_known() -> None:
    for values in ([], [0.0, 0.0], [math.nan, math.inf, 0.0]):
        assert math.isnan(moving_median(values))


def test_refuses_records_that_do_not_fit() -> None:
    watch = StoppedWatch(["a", "b"])
    with pytest.raises(ValueError, match="a record has 2 values"):
        watch.add(0, [1.0])
    with pytest.raises(ValueError, match="some are negative"):
        watch.add(0, [1.0, -1.0])
    with pytest.raises(ValueError, match="records must be 1 or more"):
        StoppedWatch(["a"], records=0)
