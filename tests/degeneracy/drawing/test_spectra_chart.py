from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.degeneracy.planted_surveys import FIRST, SECOND, deep, planted_counts, planted_survey
from weightatlas import palette
from weightatlas.atlas.charts import save_chart
from weightatlas.degeneracy.drawing.spectra_chart import (
    FEWEST,
    FLOOR,
    MOST,
    NAMED,
    POINTS,
    spectra_chart,
    spectra_rows,
)
from weightatlas.degeneracy.spectra import Spectrum

if TYPE_CHECKING:
    from pathlib import Path


def test_values_are_over_the_largest_and_none_is_below_the_floor() -> None:
    rows = spectra_rows(planted_survey(planted_counts()))
    assert [(row["layer"], row["side"], row["place"], row["value"]) for row in rows] == [
        ("net.first", "activations", 0.25, 1.0),
        ("net.first", "activations", 0.5, 0.5),
        ("net.first", "activations", 0.75, 2.5e-13),
        ("net.first", "activations", 1.0, FLOOR),
        ("net.first", "gradients", 0.5, 1.0),
        ("net.first", "gradients", 1.0, 0.5),
        ("net.second", "activations", 0.5, 1.0),
        ("net.second", "activations", 1.0, 0.25),
    ]


def test_activations_and_gradients_have_a_panel_each() -> None:
    panels = spectra_chart(planted_survey(planted_counts())).to_dict()["hconcat"]
    titles = [panel["layer"][0]["encoding"]["x"]["title"] for panel in panels]
    assert titles == [f"{side}: share of the singular values" for side in ("activations", "gradients")]
    (alone,) = spectra_chart(planted_survey(planted_counts(SECOND))).to_dict()["hconcat"]
    assert alone["layer"][0]["encoding"]["x"]["title"].startswith("activations")


def test_nothing_but_zeros_is_drawn_at_the_floor() -> None:
    zero = replace(SECOND, activation_spectrum=Spectrum.of([0.0, 0.0]))
    assert [row["value"] for row in spectra_rows(planted_survey(planted_counts(zero)))] == [FLOOR, FLOOR]


def test_no_layer_has_no_rows() -> None:
    assert spectra_rows(planted_survey()) == []
    assert spectra_rows(planted_survey(planted_counts(replace(SECOND, activation_spectrum=None)))) == []


@pytest.mark.parametrize("tolerance", [1e-9, 0.01])
def test_the_dashed_line_is_the_tolerance_and_within_the_axis(tolerance: float) -> None:
    chart = spectra_chart(planted_survey(planted_counts(SECOND), tolerance=tolerance)).to_dict()
    lines, rule = chart["hconcat"][0]["layer"]
    assert chart["datasets"][rule["data"]["name"]] == [{"value": tolerance}]
    low, high = lines["encoding"]["y"]["scale"]["domain"]
    assert low < tolerance < high
    assert low < 0.25


def test_ticks_are_powers_of_ten(tmp_path: Path) -> None:
    save_chart(spectra_chart(planted_survey(planted_counts())).to_dict(), tmp_path / "spectra.svg")
    drawn = (tmp_path / "spectra.svg").read_text(encoding="utf-8")
    assert all(drawn.count(f">{text}</text>") >= 1 for text in ("1", "10⁻²", "10⁻⁸", "10⁻¹⁶"))
    assert ">1e" not in drawn


@pytest.mark.parametrize("layers", [1, NAMED])
def test_few_layers_have_a_name_and_a_colour_each(layers: int) -> None:
    colour = spectra_chart(planted_survey(deep(layers))).to_dict()["hconcat"][0]["layer"][0]["encoding"]["color"]
    assert colour["scale"]["domain"] == [f"blocks.{number}.linear" for number in range(layers)]
    assert len(set(colour["scale"]["range"])) == layers


def test_more_layers_are_told_by_their_depth() -> None:
    colour = spectra_chart(planted_survey(deep(NAMED + 1))).to_dict()["hconcat"][0]["layer"][0]["encoding"]["color"]
    assert colour["field"] == "depth"
    assert colour["scale"]["range"] == [palette.VERTICAL, palette.ACCENT]


@pytest.mark.parametrize(
    ("layers", "each"), [(1, MOST), (POINTS // MOST, MOST), (300, POINTS // 300), (POINTS, FEWEST)]
)
def test_many_values_and_layers_are_thinned_evenly_with_both_ends(layers: int, each: int) -> None:
    spectrum = Spectrum.of(np.geomspace(1, 1e-3, 200))
    bare = replace(FIRST, activation_spectrum=spectrum, gradient_spectrum=None)
    rows = spectra_rows(planted_survey(planted_counts(*[bare] * layers)))
    assert len(rows) == layers * each
    first = [row["place"] for row in rows[:each]]
    assert (first[0], first[-1]) == (0.005, 1.0)
    assert np.ptp(np.diff(first)) <= 0.0051
