from __future__ import annotations

import torch

from weightatlas.degeneracy.wiring.units import whole_units


def test_units_keep_their_axis_through_moves() -> None:
    units = whole_units((2, 3, 4, 5), 1)
    assert units.axis == 1
    assert units.moved(lambda one: one.permute(0, 2, 3, 1)).axis == 3
    assert units.moved(lambda one: one[:, :, 1:, 0]).axis == 1
    assert units.moved(lambda one: one.flip(1)).axis is None
    assert units.moved(lambda one: one.flatten(1)).axis is None
    assert units.moved(lambda one: one[:, :2]).axis == 1


def test_flattened_columns_know_unit_and_place() -> None:
    units = whole_units((2, 3, 4), 1).moved(lambda one: one.flatten(1))
    found = units.columns(1)
    assert found is not None
    assert found[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert found[1].tolist() == [0, 1, 2, 3] * 3


def test_columns_that_differ_among_rows_are_none() -> None:
    units = whole_units((2, 6), 1)
    assert units.moved(lambda one: one.reshape(4, 3)).columns(1) is None
    rolled = units.moved(lambda one: torch.stack([one[0], one[1].roll(1)]))
    assert rolled.columns(1) is None
