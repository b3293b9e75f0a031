from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.atlas.plates_for_tests import chart, row
from weightatlas.atlas.charts import compound, facet_theme, faceted, prepared, save_chart, theme
from weightatlas.palette import ACCENT

if TYPE_CHECKING:
    from pathlib import Path

SPEC: dict[str, Any] = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "config": {"view": {"continuousWidth": 300, "continuousHeight": 300}},
    "data": {"values": [{"x": 1, "y": 2}, {"x": 2, "y": 3}]},
    "mark": {"type": "bar", "color": ACCENT},
    "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}},
}


def test_a_chart_is_saved_in_each_format_by_suffix(tmp_path: Path) -> None:
    assert "<svg" in save_chart(SPEC, tmp_path / "a.svg").read_text()
    assert save_chart(SPEC, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(save_chart(SPEC, tmp_path / "a.PNG")) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000  # the theme's 640 at twice the size, not Altair's 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.PNG", "a.pdf", "a.svg"]


def test_the_palette_reaches_the_picture(tmp_path: Path) -> None:
    content = save_chart(SPEC, tmp_path / "a.png").read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).reshape(-1, 3)
    assert (pixels == list(bytes.fromhex(ACCENT[1:]))).all(axis=1).sum() > 1000


def test_a_chart_saves_to_the_same_bytes_again(tmp_path: Path) -> None:
    spec = chart([row("a", 0.1), row("b", 0.5)]).spec
    assert save_chart(spec, tmp_path / "a.svg").read_bytes() == save_chart(spec, tmp_path / "b.svg").read_bytes()


def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end the name in \.svg, \.png or \.pdf"):
        save_chart(SPEC, tmp_path / "chart.gif")
    assert list(tmp_path.iterdir()) == []


def test_a_specification_that_cannot_be_drawn_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?i)vega|spec|mark"):
        save_chart({"mark": "no such mark", "data": {"values": []}}, tmp_path / "chart.svg")
    assert list(tmp_path.iterdir()) == []


def test_themes_are_json_and_differ_by_ink() -> None:
    light, dark = theme(), theme(dark=True)
    assert json.loads(json.dumps(light)) == light
    assert light.keys() == dark.keys()
    assert light["axis"]["labelColor"] != dark["axis"]["labelColor"]


def test_altairs_sizes_give_way_and_ones_own_stay() -> None:
    assert "view" not in prepared(SPEC, fluid=False)["config"]
    assert "width" not in prepared(SPEC, fluid=False)
    own = {**SPEC, "config": {"view": {"continuousWidth": 120}}}
    assert prepared(own, fluid=False)["config"] == own["config"]
    assert SPEC["config"]["view"]["continuousWidth"] == 300


@pytest.mark.parametrize("part", ["hconcat", "vconcat", "concat", "facet", "repeat"])
def test_several_views_keep_their_own_widths(part: str) -> None:
    spec = {part: [], "width": 100}
    assert compound(spec)
    assert prepared(spec, fluid=True)["width"] == 100


def test_only_repeated_views_title_their_axis_along_itself() -> None:
    assert not faceted(SPEC)
    assert not faceted({"vconcat": [SPEC]})
    assert faceted({"facet": {"field": "x"}, "spec": SPEC})
    assert "titleAngle" in theme()["axisY"]
    assert "titleAngle" not in facet_theme()["axisY"]
    assert facet_theme(dark=True)["axis"] == theme(dark=True)["axis"]


def test_a_single_view_takes_the_column_unless_its_steps_are_set() -> None:
    assert prepared(SPEC, fluid=True)["width"] == "container"
    assert prepared({**SPEC, "width": {"step": 12}}, fluid=True)["width"] == {"step": 12}
    assert compound({"mark": "bar", "encoding": {"column": {"field": "x"}}})
