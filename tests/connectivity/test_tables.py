"""Rows carry the figures of what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from weightatlas.connectivity import Connection


def test_a_row_a_point_of_every_line(planted: Connection) -> None:
    rows = [row for row in planted.rows("path") if row["pair"] == planted.pairs[0].name]
    assert len(rows) == sum(len(line.barrier.alphas) for line in planted.pairs[0].lines)
    ends = [row for row in rows if row["alpha"] in (0, 1)]
    assert all(row["loss_above"] == pytest.approx(0, abs=1e-12) for row in ends)
    best = [row for row in rows if row["aligned"] and row["recalibrated"]]
    barrier = planted.pairs[0].lines[-1].barrier
    assert max(row["loss_above"] for row in best) == pytest.approx(barrier.loss_barrier.height)


def test_a_row_a_layer_with_what_was_predicted(planted: Connection) -> None:
    rows = [row for row in planted.rows("layers") if row["pair"] == planted.pairs[1].name]
    assert [row["layer"] for row in rows] == ["conv1", "norm1", "conv2", "norm2", "head"]
    assert all(row["predicted"] is not None for row in rows)
    assert all(row["barrier"] == pytest.approx((row["in_first"] + row["in_second"]) / 2) for row in rows)
    assert all(row["low"] <= row["barrier"] <= row["high"] for row in rows)


def test_groups_say_how_much_moved(planted: Connection) -> None:
    rows = planted.rows("groups")
    matching = planted.pairs[0].matching
    assert matching is not None
    for row in rows:
        if row["pinned"] is None:
            order = matching.permutations[row["group"]]
            assert row["moved"] == pytest.approx(np.mean(order != np.arange(len(order))))
        else:
            assert row["group"] is None
            assert row["moved"] is None


def test_a_row_a_line_and_curvature_with_the_last(planted: Connection) -> None:
    rows = planted.rows("barriers")
    assert len(rows) == 12
    assert [row["curvature_seen"] is None for row in rows[:4]] == [True, True, True, False]
    assert rows[0]["similarity"] < rows[2]["similarity"]
    assert rows[0]["distance"] > rows[2]["distance"]
    assert all(row["error_barrier_low"] <= row["error_barrier"] <= row["error_barrier_high"] for row in rows)
