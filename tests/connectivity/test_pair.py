"""A pair names its lines, and corrects what was tested of its layers together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from weightatlas.connectivity.pair import unjoined

if TYPE_CHECKING:
    from weightatlas.connectivity import Connection


def test_q_values_are_over_the_layers_of_the_pair(planted: Connection) -> None:
    pair = planted.pairs[0]
    values = (0.01, 0.04, math.nan, 0.5, 0.02)
    tested = replace(
        pair, layers=tuple(replace(one, p_value=value) for one, value in zip(pair.layers, values, strict=True))
    )
    found = tested.layer_q_values
    assert found[0] == pytest.approx(0.04)
    assert found[1] == pytest.approx(0.04 * 4 / 3)
    assert math.isnan(found[2])
    assert found[3] == pytest.approx(0.5)


def test_a_pair_without_its_second_network_has_a_reason_for_everything() -> None:
    pair = unjoined("a", "b", "b cannot be opened")
    assert pair.unjoined
    assert pair.best is None
    assert pair.plain is None
    assert set(pair.skipped.values()) == {"b cannot be opened"}
