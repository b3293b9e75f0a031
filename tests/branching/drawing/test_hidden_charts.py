from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.branching.example_surveys import planted, values_of
from weightatlas.branching.drawing.hidden_charts import CELLS, hidden_chart, hidden_rows, hides, pictured, strongest
from weightatlas.branching.implicit import HiddenBranches, implicit
from weightatlas.branching.surveying.tested_pairs import HiddenPair

if TYPE_CHECKING:
    from weightatlas.branching.survey import BranchingSurvey


def blocks(units: int, next_units: int) -> HiddenBranches:
    """Two hidden branches in shuffled order, on units of unequal size."""
    generator = np.random.default_rng(0)
    rows, columns = generator.permutation(units) % 2, generator.permutation(next_units) % 2
    sizes = np.exp(generator.normal(size=(next_units, 1))) * np.exp(generator.normal(size=units))
    weight = sizes * np.where(columns[:, None] == rows, 3.0, 1.0) * generator.uniform(0.9, 1.1, (next_units, units))
    return implicit(np.ones((units, 2)), weight, shuffles=19)


def surveyed(*pairs: HiddenPair) -> BranchingSurvey:
    return replace(planted(), pairs=pairs)


def drawn_cells(spec: dict[str, Any]) -> np.ndarray:
    """The cells of the first matrix of a specification."""
    return np.array([row["times"] for row in values_of(spec, spec["hconcat"][0])])


def cells(units: int, next_units: int) -> np.ndarray:
    """The matrix that is drawn of two planted blocks."""
    pair = HiddenPair("a", "b", blocks(units, next_units), (0.01, 0.5, 0.5))
    spec = hidden_chart(surveyed(pair), [pair]).to_dict()
    return drawn_cells(spec)


@pytest.mark.parametrize(("units", "next_units"), [(20, 30), (200, 90), (30, 300)])
def test_two_branches_are_two_blocks_at_opposite_corners(units: int, next_units: int) -> None:
    drawn = cells(units, next_units)
    assert drawn.shape == (min(units, CELLS), min(next_units, CELLS))
    down, across = (side // 2 for side in drawn.shape)
    # Where the blocks meet, a cell may hold units of both.
    same = [drawn[: down - 1, : across - 1], drawn[down + 1 :, across + 1 :]]
    other = [drawn[: down - 1, across + 1 :], drawn[down + 1 :, : across - 1]]
    assert drawn.mean() == pytest.approx(1, abs=0.05)
    assert min(part.min() for part in same) > 1.2
    assert max(part.max() for part in other) < 0.8


def test_units_without_connections_are_left_out() -> None:
    weight = np.abs(np.random.default_rng(0).normal(size=(6, 5)))
    weight[2] = 0
    weight[:, 1] = 0
    pair = HiddenPair("a", "b", implicit(np.ones((5, 2)), weight, shuffles=9), (0.5, 0.5, 0.5))
    spec = hidden_chart(surveyed(pair), [pair]).to_dict()
    assert drawn_cells(spec).shape == (4, 5)


def test_the_strip_beside_the_rows_is_the_chroma_of_their_units() -> None:
    found = planted()
    tuned = next(layer for layer in found.layers if layer.tuning is not None)
    assert tuned.tuning is not None
    pair = HiddenPair(tuned.layer, "b", blocks(tuned.units, 8), (0.01, 0.5, 0.5))
    spec = hidden_chart(surveyed(pair), [pair]).to_dict()
    strip = values_of(spec, spec["hconcat"][0]["hconcat"][0])
    assert pair.hidden is not None
    assert [row["chroma"] for row in strip] == pytest.approx(tuned.tuning.chroma[pair.hidden.row_order])


def test_the_strongest_pairs_stand_first_and_only_tested_ones_hide() -> None:
    weak = HiddenPair("weak", "b", blocks(12, 12), (0.4, 0.5, 0.5))
    strong = HiddenPair("strong", "b", blocks(40, 40), (0.001, 0.5, 0.5))
    skipped = HiddenPair("", "c", skipped="it reads the input")
    found = surveyed(weak, skipped, strong)
    assert [pair.layer for pair in strongest(found)] == ["strong", "weak"]
    assert [hides(pair) for pair in found.pairs] == [False, False, True]
    assert pictured(found)[0].layer == "strong"
    assert pictured(surveyed(skipped)) == []


def test_the_data_name_every_unit_of_both_layers_once() -> None:
    pair = HiddenPair("a", "b", blocks(7, 9), (0.01, 0.5, 0.5))
    rows = hidden_rows([pair])
    assert sorted((row["layer"], row["unit"]) for row in rows) == [
        *(("a", unit) for unit in range(7)),
        *(("b", unit) for unit in range(9)),
    ]
