from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.conditioning.example_surveys import EVERY, exploded, healthy, over_a_run, small, unmeasured
from weightatlas.conditioning.tables import COLUMNS, ROWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.conditioning import Conditioning


@pytest.mark.parametrize("table", list(COLUMNS))
@pytest.mark.parametrize("example", EVERY)
def test_rows_are_plain_and_no_row_has_a_field_that_is_no_column(
    example: Callable[[], Conditioning], table: str
) -> None:
    rows = list(ROWS[table](example()))
    assert rows
    assert all(set(row) <= set(COLUMNS[table]) for row in rows)
    json.dumps(rows, allow_nan=False)


def test_a_layer_has_the_figures_of_its_point() -> None:
    row, point = small().rows()[0], small().last.points[0]
    assert (row["layer"], row["function"], row["norm"], row["channels"]) == ("norm1", "relu", "batch", 6)
    assert row["dead"] == row["near_dead"] == pytest.approx(3 / 6)
    assert row["least_positive"] == 0
    assert row["positive"] == pytest.approx(point.positive.mean())
    assert row["mean_low"] <= row["mean_distance"] <= row["mean_high"]
    assert row["mean_q_value"] >= row["mean_p_value"]


def test_a_layer_without_a_norm_has_no_distance() -> None:
    row = small().rows()[2]
    assert row["norm"] is None
    assert row["skipped"] is None
    assert all(row[f"{which}_{figure}"] is None for which in ("mean", "std") for figure in ("distance", "q_value"))


def test_channels_are_those_of_their_layers() -> None:
    rows = [row for row in small().rows("channels") if row["layer"] == "norm1"]
    assert [row["channel"] for row in rows] == list(range(6))
    assert [row["positive"] == 0 for row in rows] == [True] * 3 + [False] * 3
    np.testing.assert_allclose([row["mean"] for row in rows], small().last.points[0].mean)
    assert rows[0]["positive_gaussian"] == pytest.approx(0, abs=1e-9)


def test_a_convolution_has_its_shares_and_lengths() -> None:
    row = small().rows("weights")[1]
    assert (row["layer"], row["kind"], row["shape"], row["standardized"]) == ("conv2", "Conv2d", [6, 6, 3, 3], False)
    assert row["null"] == pytest.approx(1 / 54)
    assert row["removed"] == pytest.approx(1 - (row["gradient_after"] / row["gradient_before"]) ** 2)


def test_a_moment_sums_up_its_layers() -> None:
    (row,) = small().rows("steps")
    points = small().last.points
    assert row["dead"] == pytest.approx(np.mean([point.dead for point in points]))
    assert row["gradient_lipschitz_random_low"] <= row["gradient_lipschitz_random_high"]
    assert row["gradient_lipschitz_p_value"] == pytest.approx(1 / 3)  # steeper than both random directions
    assert row["top_eigenvalue"] > 0
    assert row["examples"] == 16


def test_walks_have_a_row_a_step() -> None:
    rows = small().rows("walks")
    assert {row["direction"] for row in rows} == {"gradient", "random 1", "random 2"}
    steps = [row for row in rows if row["direction"] == "gradient"]
    assert steps[-1]["relative_length"] == pytest.approx(0.01, rel=1e-3)
    assert steps[0]["loss_change"] < 0


def test_moments_of_which_nothing_is_known_say_why() -> None:
    reasons = [row["skipped"] for row in over_a_run().rows("steps")]
    assert reasons == [None, "lost", None]
    for table in COLUMNS:
        assert {row["skipped"] for row in over_a_run().rows(table) if row["step"] == 100} == {"lost"}
    assert {row["skipped"] for table in ("layers", "channels") for row in unmeasured().rows(table)} == {"it failed"}
    assert {row["skipped"] for table in ("weights", "walks") for row in unmeasured().rows(table)} == {"it failed too"}


def test_what_is_infinite_is_null() -> None:
    (row,) = exploded().rows("steps")
    assert row["gradient_lipschitz"] is None
    assert row["gradient_lipschitz_random_high"] is None
    assert row["gradient_lipschitz_random"] is not None  # the middle of three, of which one is infinite
    assert row["loss"] == healthy().rows("steps")[0]["loss"]


def test_a_table_that_is_none_is_named_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="layers, channels, weights, steps, walks"):
        small().rows("nothing")


def _of(rows: list[dict[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows]


@pytest.mark.parametrize("table", ["layers", "weights", "steps"])
def test_rows_follow_the_run(table: str) -> None:
    steps = _of(over_a_run().rows(table), "step")
    assert steps == sorted(steps)
