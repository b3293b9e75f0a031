from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.degeneracy.planted_surveys import data_of, edge_ablation_of, planted_structure, unablated
from weightatlas import palette
from weightatlas.atlas.charts import save_chart
from weightatlas.degeneracy.drawing.ablation_chart import ACROSS, BASES, ablation_chart, ablation_points

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.degeneracy.structure import Structure


def panels(found: Structure) -> list[dict[str, Any]]:
    return [panel for line in ablation_chart(found).to_dict()["vconcat"] for panel in line["hconcat"]]


def of_pairs(pairs: int, total: int = 100) -> Structure:
    edges = tuple(
        edge_ablation_of(f"p{place}", f"p{place + 1}", [(0, 0.1), (total, 0.9)], total) for place in range(pairs)
    )
    return replace(planted_structure(), edges=edges, baseline_edges=())


def test_points_are_those_that_were_tried_with_the_fewest_marked() -> None:
    rows = ablation_points(planted_structure())
    assert [
        (row["pair"], row["edges"], row["value"], row["needed"]) for row in rows if row["basis"] == next(iter(BASES))
    ] == [
        ("p0 to p1", 0, 0.1, False),
        ("p0 to p1", 8, 0.7, False),
        ("p0 to p1", 20, 0.95, True),
        ("p0 to p1", 72, 0.95, False),
        ("p1 to p2", 0, 0.1, False),
        ("p1 to p2", 63, 0.95, True),
    ]
    last = [row for row in rows if row["basis"] == "principal components" and row["pair"] == "p1 to p2"]
    assert not any(row["needed"] for row in last)  # not even all of them are enough


def test_no_edge_has_a_place_of_its_own_on_the_axis() -> None:
    x = panels(planted_structure())[0]["layer"][0]["encoding"]["x"]
    assert x["scale"] == {"type": "symlog", "domain": [0, 72], "nice": False}
    assert x["axis"]["values"] == [0, 1, 3, 10, 30]


@pytest.mark.parametrize(
    ("total", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (729, [0, 1, 10, 100]),
        (2_000_000, [0, 1, 100, 10_000, 1_000_000]),
    ],
)
def test_ticks_are_few_round_and_without_a_nought_of_thousands(total: int, ticks: list[int], tmp_path: Path) -> None:
    found = of_pairs(1, total)
    (panel,) = panels(found)
    assert panel["layer"][0]["encoding"]["x"]["axis"]["values"] == ticks
    save_chart(ablation_chart(found).to_dict(), tmp_path / "edges.svg")
    drawn = (tmp_path / "edges.svg").read_text(encoding="utf-8")
    assert ">0</text>" in drawn
    assert not re.search(r">0[k.]", drawn)
    assert "NaN" not in drawn


def test_a_pair_has_a_panel_and_a_row_has_three() -> None:
    lines = ablation_chart(of_pairs(7)).to_dict()["vconcat"]
    assert [len(line["hconcat"]) for line in lines] == [ACROSS, ACROSS, 1]
    assert [panel["title"]["text"] for panel in panels(of_pairs(2))] == ["p0 to p1", "p1 to p2"]
    assert all(panel["title"]["limit"] == panel["width"] for panel in panels(of_pairs(2)))


def test_each_panel_holds_its_own_pair() -> None:
    chart = ablation_chart(planted_structure()).to_dict()
    rows = data_of(chart)
    assert sorted(map(str, rows)) == sorted(map(str, ablation_points(planted_structure())))
    for panel in panels(planted_structure()):
        names = {panel["layer"][0]["data"]["name"] if "data" in panel["layer"][0] else panel["data"]["name"]}
        pairs = {row["pair"] for name in names for row in chart["datasets"][name]}
        assert pairs == {panel["title"]["text"]}


def test_bases_have_the_accent_and_grey_in_every_panel() -> None:
    for panel in panels(planted_structure()):
        scale = panel["layer"][0]["encoding"]["color"]["scale"]
        assert dict(zip(scale["domain"], scale["range"], strict=True)) == {
            "interaction basis": palette.ACCENT,
            "principal components": palette.GREY,
        }


def test_what_is_not_finite_is_a_gap() -> None:
    edge = edge_ablation_of("a", "b", [(0, float("nan")), (5, 0.9)], 5)
    rows = ablation_points(replace(planted_structure(), edges=(edge,), baseline_edges=()))
    assert [row["value"] for row in rows] == [None, 0.9]


def test_where_nothing_was_left_out_there_are_no_points() -> None:
    assert ablation_points(unablated(planted_structure())) == []
