from __future__ import annotations

import math

import pytest

from tests.branching.example_surveys import wide
from weightatlas.branching.drawing.enrichment_charts import (
    FAMILIES,
    MATRICES,
    SMALLEST_Q,
    enrichment_matrices,
    enrichment_rows,
    shown,
)
from weightatlas.branching.specialization import specialization
from weightatlas.branching.surveying.tested_families import Families


def test_a_dot_is_the_share_of_the_family_and_the_figure_its_units() -> None:
    (one,) = wide(3).families
    assert one.specialization is not None
    rows = {(row["family"], row["branch"]): row for row in enrichment_rows(one.specialization)}
    curve = rows["curve", "branch 0"]
    assert (curve["k"], curve["of"], curve["share"]) == (8, 8, 1.0)
    assert curve["expected"] == pytest.approx(8 / 3, abs=0.01)
    assert rows["curve", "branch 1"]["k"] == 0
    assert rows["curve", "branch 1"]["rarity"] == 0.0


def test_rarity_ends_at_the_smallest_q() -> None:
    found = specialization({"a": range(100), "b": range(100, 200)}, {"x": range(100), "y": range(100, 200)})
    rows = enrichment_rows(found)
    assert max(row["rarity"] for row in rows) == pytest.approx(-math.log10(SMALLEST_Q))
    assert all(row["rarity"] >= 0 for row in rows)


def test_of_many_families_the_rarest_are_drawn() -> None:
    families = {f"f{place}": [2 * place, 2 * place + 1] for place in range(100)}
    families["gathered"] = list(range(200, 230))
    found = specialization(families, {"x": range(200), "y": range(200, 230)})
    names = {row["family"] for row in enrichment_rows(found)}
    assert len(names) == FAMILIES
    assert "gathered" in names


def test_of_many_layers_those_with_the_most_information_are_drawn_in_the_order_of_the_network() -> None:
    strong = specialization({"a": range(8), "b": range(8, 16)}, {"x": range(8), "y": range(8, 16)})
    weak = specialization({"a": range(0, 16, 2), "b": range(1, 16, 2)}, {"x": range(8), "y": range(8, 16)})
    tested = [Families(f"layer{place}", "given", strong if place % 2 else weak) for place in range(2 * MATRICES)]
    kept = [one.layer for one, _ in shown([*tested, Families("skipped", "given", skipped="no branches")])]
    assert kept == [f"layer{place}" for place in range(1, 2 * MATRICES, 2)]
    assert len(enrichment_matrices(tested).to_dict()["concat"]) == MATRICES
