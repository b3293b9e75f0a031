from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.change.planted_curves import planted_groups
from weightatlas.change.clusters.pipeline import DEFAULT, PUBLISHED, Pipeline
from weightatlas.change.clusters.preparing import prepare, table_of

RAW = Pipeline(missing="biased-mean", outliers="keep", scaling="none")


def test_reads_arrays_frames_and_mappings_alike() -> None:
    values = np.arange(6.0).reshape(2, 3)
    frame = pd.DataFrame(values, index=["a", "b"], columns=[10, 20, 30])
    array, from_frame, mapping = table_of(values), table_of(frame), table_of({"a": [0, 1, 2], "b": [3, 4, 5]})
    assert array.names == ("layer 0", "layer 1")
    assert from_frame.names == mapping.names == ("a", "b")
    assert from_frame.records == ("10", "20", "30")
    for table in (array, from_frame, mapping):
        np.testing.assert_array_equal(table.curves, values)


@pytest.mark.parametrize("curves", [[], [1.0, 2.0], [[1.0], [1.0, 2.0]], [["a", "b"]], np.empty((3, 0))])
def test_refuses_what_is_no_table(curves: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="curves are a table"):
        table_of(curves)


def test_refuses_names_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="1 names for 2 layers"):
        table_of(np.ones((2, 3)), ["a"])


def test_an_infinite_value_becomes_the_biased_mean_as_published() -> None:
    curves = np.array([[math.inf, 1.0, 2.0, 3.0]])
    prepared = prepare(curves, RAW)
    assert prepared.curves[0, 0] == (1 + 2 + 3) / 4
    assert prepared.replaced.tolist() == [[True, False, False, False]]


def test_missing_values_are_read_off_the_line_between_neighbours() -> None:
    curves = np.array([[math.nan, 1.0, math.inf, 3.0, 4.0]])
    prepared = prepare(curves, replace(RAW, missing="interpolate"))
    np.testing.assert_array_equal(prepared.curves, [[1.0, 1.0, 2.0, 3.0, 4.0]])


def test_a_layer_with_little_known_is_left_out_with_the_reason() -> None:
    curves = np.array([[math.nan, math.nan, 1.0], [math.nan] * 3, [1.0, 2.0, 3.0]])
    assert set(prepare(curves, DEFAULT).left_out) == {0, 1}
    published = prepare(curves, RAW)
    assert published.left_out == {1: "only 0 of 3 values are finite numbers"}
    assert np.isnan(published.curves[1]).all()


def test_published_outliers_go_to_the_mean_in_one_pass() -> None:
    """Equation 2 by hand, with the standard deviation of a population."""
    generator = np.random.default_rng(0)
    curves = generator.lognormal(0, 1, (5, 25))
    expected = curves.copy()
    for row, layer in enumerate(curves):
        mean = sum(layer) / 25
        deviation = math.sqrt(sum((value - mean) ** 2 for value in layer) / 25)
        for column, value in enumerate(layer):
            if abs(value - mean) > 2 * deviation:
                expected[row, column] = mean
    prepared = prepare(curves, replace(PUBLISHED, drop_ends=False))
    np.testing.assert_allclose(prepared.curves, expected, rtol=1e-14)
    np.testing.assert_array_equal(prepared.spikes, curves != expected)


def test_published_ends_are_dropped() -> None:
    prepared = prepare(np.random.default_rng(0).random((5, 6)), PUBLISHED)
    assert set(prepared.left_out) == {0, 4}
    assert set(prepare(np.ones((1, 6)), PUBLISHED).left_out) == {0}


def test_planted_spikes_are_named_and_bridged() -> None:
    curves, _ = planted_groups(spikes=0)
    at = [[3, 8], [17, 2], [17, 20], [30, 12]]
    spiked = curves.copy()
    for layer, record in at:
        spiked[layer, record] *= 30
    prepared = prepare(spiked, DEFAULT)
    assert np.argwhere(prepared.spikes).tolist() == at
    np.testing.assert_allclose(prepared.curves, prepare(curves, DEFAULT).curves, atol=0.7)


def test_a_step_in_a_curve_is_no_spike() -> None:
    curves = np.random.default_rng(0).lognormal(0, 0.1, (10, 20))
    curves[:4, 9:] *= 1e-2
    assert not prepare(curves, DEFAULT).spikes.any()


@given(st.integers(0, 2**32 - 1))
def test_a_common_schedule_changes_no_logarithm(seed: int) -> None:
    generator = np.random.default_rng(seed)
    curves = generator.lognormal(0, 1, (7, 9))
    factors = generator.lognormal(0, 3, 9)
    for scaling in ("log", "relative", "log-robust"):
        pipeline = replace(RAW, scaling=scaling)
        plain, scheduled = prepare(curves, pipeline).curves, prepare(curves * factors, pipeline).curves
        np.testing.assert_allclose(plain, scheduled, rtol=1e-9, atol=1e-9)


def test_no_change_stands_at_the_floor() -> None:
    curves = np.array([[1.0, 4.0, 0.0], [1.0, 4.0, 0.0], [0.0, 1e-9, 0.0]])
    values = prepare(curves, Pipeline(outliers="keep", floor=1e-2)).curves
    np.testing.assert_allclose(values, [[0.0] * 3, [0.0] * 3, [math.log(1e-2), math.log(1e-2), 0.0]], atol=1e-12)


def test_robust_scaling_gives_every_record_the_same_spread() -> None:
    curves = np.random.default_rng(0).lognormal(0, 1, (20, 6)) * [1, 10, 100, 1000, 1e4, 1e5]
    values = prepare(curves, replace(RAW, scaling="robust")).curves
    low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
    np.testing.assert_allclose(middle, 0, atol=1e-12)
    np.testing.assert_allclose(high - low, 1)


def test_a_level_that_is_removed_has_no_say() -> None:
    curves = np.random.default_rng(0).lognormal(0, 1, (8, 6))
    pipeline = Pipeline(outliers="keep", level="remove", floor=1e-9)
    np.testing.assert_allclose(prepare(curves, pipeline).curves.mean(axis=1), 0, atol=1e-12)


def test_refuses_the_logarithm_of_a_negative_value() -> None:
    with pytest.raises(ValueError, match="take scaling='robust'"):
        prepare(np.array([[0.1, -0.1], [1.0, 1.0]]), DEFAULT)
