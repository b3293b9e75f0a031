from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.degeneracy.planted_surveys import (
    FIRST,
    SECOND,
    data_of,
    deep,
    planted_counts,
    planted_survey,
    unknown,
)
from weightatlas import palette
from weightatlas.atlas.charts import save_chart
from weightatlas.degeneracy.drawing.counts_chart import counts_chart, layers_chart, share_rows, whole_rows
from weightatlas.drawing.axes import NAMES_UP_TO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weightatlas.degeneracy.counts import Counts, LayerCounts


def marks(spec: dict[str, Any]) -> list[str]:
    return [layer["mark"]["type"] for layer in spec["layer"]]


def picture(counts: Counts, folder: Path, *, width: int | None = None) -> str:
    spec = layers_chart(planted_survey(counts)).to_dict() | ({} if width is None else {"width": width})
    save_chart(spec, folder / "layers.svg")
    return (folder / "layers.svg").read_text(encoding="utf-8")


def named(names: Sequence[str]) -> Counts:
    return planted_counts(*(replace(SECOND, layer=name) for name in names))


def test_a_bar_a_source_that_was_counted_with_what_it_frees() -> None:
    rows = whole_rows(planted_survey(planted_counts()))
    assert [(row["words"], row["directions"], row["share"], row["total"]) for row in rows] == [
        ("dependent activations", 12, 0.12, False),
        ("dependent gradients", 6, 0.06, False),
        ("synchronised ReLUs", 9, 0.09, False),
        ("of these, rescalings of one unit", 4, 0.04, False),
        ("activations where a unit is live", 22, 0.22, False),
        ("all of these together", 40, 0.4, True),
        ("all that are free", 50, 0.5, True),
        ("free, and not explained", 10, 0.1, True),
    ]
    assert data_of(counts_chart(planted_survey(planted_counts())).to_dict()) == rows


def test_without_the_exact_number_neither_it_nor_the_rest_has_a_bar() -> None:
    rows = whole_rows(planted_survey(unknown(activations=0)))
    assert rows[0]["directions"] == 0
    assert [row["source"] for row in rows][-2:] == ["conditional", "union"]


def test_an_estimate_has_its_range_and_an_exact_number_none() -> None:
    exact = counts_chart(planted_survey(planted_counts())).to_dict()
    assert marks(exact) == ["bar", "text", "text"]
    estimate = planted_survey(planted_counts(exact_kind="estimate", exact_low=45, exact_high=55))
    drawn = counts_chart(estimate).to_dict()
    assert marks(drawn) == ["bar", "text", "text", "rule"]
    (row,) = drawn["datasets"][drawn["layer"][-1]["data"]["name"]]
    assert (row["source"], row["low"], row["high"]) == ("exact", 45, 55)


@pytest.mark.parametrize(("low", "high"), [(45, 60), (50, 50), (0, 100)])
def test_no_figure_stands_on_the_range_of_an_estimate(low: int, high: int, tmp_path: Path) -> None:
    estimate = planted_survey(planted_counts(exact_kind="estimate", exact_low=low, exact_high=high))
    drawn = counts_chart(estimate).to_dict()
    save_chart(drawn, tmp_path / "counts.svg")
    svg = (tmp_path / "counts.svg").read_text(encoding="utf-8")
    ((anchor, place),) = re.findall(
        r'"text mark" text-anchor="(start|end)" transform="translate\(([\d.]+),[\d.]+\)"[^>]*>50</text>', svg
    )
    foots = re.findall(
        r'aria-roledescription="rule mark" transform="translate\(([\d.]+),[\d.]+\)" x2="(-?[\d.]+)"', svg
    )
    assert len(foots) == (low < high)
    for start, length in foots:
        ends = sorted((float(start), float(start) + float(length)))
        assert float(place) < ends[0] if anchor == "end" else float(place) > ends[1]
    assert anchor == ("end" if low else "start")
    assert "title" not in drawn["layer"][1]["encoding"]["x"]
    assert svg.count("directions of the weights that change no output</text>") == 1


def test_figures_of_long_bars_stand_inside_and_all_others_beside(tmp_path: Path) -> None:
    chart = counts_chart(planted_survey(planted_counts()))
    _, outside, inside = chart.to_dict()["layer"]
    assert inside["transform"][-1] == {"filter": "datum.within > 30.0"}
    assert outside["transform"][-1] == {"filter": "!(datum.within > 30.0)"}
    assert (inside["mark"]["align"], inside["mark"]["color"]) == ("right", palette.PAPER)
    assert (outside["mark"]["align"], outside["mark"]["color"]) == ("left", palette.INK)
    save_chart(chart.to_dict(), tmp_path / "counts.svg")
    drawn = (tmp_path / "counts.svg").read_text(encoding="utf-8")
    assert all(drawn.count(f">{figure}</text>") == 1 for figure in (12, 6, 9, 4, 22))


def test_where_nothing_is_free_there_is_an_axis_and_a_nought_a_source(tmp_path: Path) -> None:
    none: dict[str, Any] = dict.fromkeys(("activations", "gradients", "synchronised", "rescalings", "conditional"), 0)
    counts = planted_counts(**none, union=0, exact=0, exact_low=0, exact_high=0, rank=100)
    spec = counts_chart(planted_survey(counts)).to_dict()
    assert {row["directions"] for row in data_of(spec)} == {0}
    assert spec["layer"][0]["encoding"]["x"]["scale"] == {"domain": [0, 1]}
    save_chart(spec, tmp_path / "counts.svg")
    drawn = (tmp_path / "counts.svg").read_text(encoding="utf-8")
    assert "NaN" not in drawn
    assert drawn.count(">0</text>") == 8 + 1  # beside the bars, and on the axis


def test_a_layer_has_a_bar_a_tick_and_a_dot_a_kind() -> None:
    rows = share_rows(planted_survey(planted_counts()))
    assert [(row["label"], row["depth"], row["source"], row["share"]) for row in rows] == [
        ("first", 1, "activations", 0.2),
        ("first", 1, "gradients", 0.1),
        ("first", 1, "synchronised", 0.15),
        ("first", 1, "rescalings", 4 / 60),
        ("first", 1, "conditional", 0.3),
        ("first", 1, "union", 0.4),
        ("first", 1, "exact", 0.5),
        ("second", 2, "activations", 0.0),
        ("second", 2, "gradients", 0.0),
        ("second", 2, "conditional", 0.1),
        ("second", 2, "union", 0.1),
        ("second", 2, "exact", 0.1),
    ]
    spec = layers_chart(planted_survey(planted_counts())).to_dict()
    assert data_of(spec) == rows
    bars, dots, ticks = spec["layer"]
    assert bars["transform"] == [{"filter": "datum.source == 'union'"}]
    assert ticks["transform"] == [{"filter": "datum.source == 'exact'"}]
    kinds = ["activations", "gradients", "synchronised", "conditional"]
    assert dots["transform"] == [{"filter": {"field": "source", "oneOf": kinds}}]
    scale = dots["encoding"]["color"]["scale"]
    assert scale["domain"][0] == "dependent activations"
    assert len(scale["domain"]) == len(set(scale["range"])) == 4


def test_a_kind_has_its_colour_whatever_others_there_are() -> None:
    def colour(layers: Sequence[LayerCounts]) -> str:
        dots = layers_chart(planted_survey(planted_counts(*layers))).to_dict()["layer"][1]
        scale = dots["encoding"]["color"]["scale"]
        colours: dict[str, str] = dict(zip(scale["domain"], scale["range"], strict=True))
        return colours["activations where a unit is live"]

    assert colour([FIRST]) == colour([SECOND]) == colour([replace(SECOND, activations=None, norms=1)])


SHORT, MANY = ["hidden1", "hidden2", "classifier"], [f"block{number}.attention" for number in range(12)]


@pytest.mark.parametrize(
    ("names", "width", "slanted"),
    [(SHORT, 640, False), (SHORT, 150, True), (MANY, 640, True), (["alone"], 300, False)],
)
def test_names_are_level_where_they_fit(names: list[str], width: int, slanted: bool, tmp_path: Path) -> None:
    drawn = picture(named(names), tmp_path, width=width)
    assert ("rotate(-40" in drawn) is slanted
    assert f">{names[0]}</text>" in drawn


@pytest.mark.parametrize(("width", "every"), [(640, 1), (191, 2), (60, 4)])
def test_slanted_names_are_shown_as_far_as_there_is_room(width: int, every: int, tmp_path: Path) -> None:
    drawn = picture(named(MANY), tmp_path, width=width)
    assert [name for name in MANY if f">{name}</text>" in drawn] == MANY[::every]


def test_layers_whose_names_end_alike_stay_apart(tmp_path: Path) -> None:
    tail = "a.path.that.is.far.too.long.to.be.shown.whole"
    counts = named([f"left.{tail}", f"right.{tail}"])
    rows = [row for row in share_rows(planted_survey(counts)) if row["source"] == "union"]
    assert rows[0]["label"] == rows[1]["label"]
    assert [row["depth"] for row in rows] == [1, 2]
    drawn = picture(counts, tmp_path)
    assert drawn.count('aria-roledescription="bar"') == 2
    assert drawn.count(f">{rows[0]['label']}</text>") == 2


@pytest.mark.parametrize(
    ("layers", "named_ones"), [(1, True), (NAMES_UP_TO, True), (NAMES_UP_TO + 1, False), (300, False)]
)
def test_many_layers_are_counted_and_not_named(layers: int, named_ones: bool) -> None:
    spec = layers_chart(planted_survey(deep(layers))).to_dict()
    x = spec["layer"][0]["encoding"]["x"]
    assert x["field"] == "depth"
    assert (x["type"] == "ordinal") is named_ones
    assert len({row["depth"] for row in data_of(spec)}) == layers
    assert spec["layer"][0]["mark"]["size"] >= 2


def test_names_out_of_files_are_no_expressions(tmp_path: Path) -> None:
    hostile = '"] + datum.share + ["\'\\'
    drawn = picture(planted_counts(replace(SECOND, layer=hostile)), tmp_path)
    assert "&quot;] + datum.share + [&quot;" in drawn or '"] + datum.share + ["' in drawn
