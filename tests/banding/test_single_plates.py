from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas import write_atlas
from weightatlas.banding import score, slides, symmetries, types
from weightatlas.plate import Chart, Slides

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.result import Result


def results() -> list[Result]:
    generator = np.random.default_rng(0)
    bands = np.repeat(generator.normal(size=(24, 12, 3, 1)), 3, axis=3) + generator.normal(size=(24, 12, 3, 3))
    found = slides(bands)
    return [score(bands), found, symmetries(bands), types({"conv": found.images}, types=4)]


@pytest.mark.parametrize("index", range(4))
def test_every_estimators_result_has_rows_a_frame_a_chart_plates_and_files(index: int, tmp_path: Path) -> None:
    result = results()[index]
    (table,) = result.tables
    assert all(tuple(row) == result.columns(table) for row in result.rows())
    assert list(result.frame().columns)[-2:] == ["source", "skipped"]
    json.dumps(result.chart().to_dict(), allow_nan=False)
    assert all(isinstance(plate, Chart | Slides) for plate in result.plates())
    for suffix in ("csv", "json", "npz", "svg", "png", "pdf", "html"):
        assert result.save(tmp_path / f"result.{suffix}").stat().st_size > 0
    with np.load(tmp_path / "result.npz", allow_pickle=False) as arrays:
        assert arrays.files


def test_slides_are_saved_as_a_contact_sheet(tmp_path: Path) -> None:
    found = results()[1]
    text = found.save(tmp_path / "slides.svg").read_text()
    assert "data:image/png" in text
    assert "24 units" in text


def test_results_of_one_weight_share_a_page(tmp_path: Path) -> None:
    banding, found, tests, _ = results()
    page = write_atlas([banding, found, tests], tmp_path / "weight.html").read_text()
    assert "horizontal bands" in page
    assert "The units break the quarter turn" in page
