from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.experiments.experiments_for_tests import SmallResult, configuration, experiment, made_up_run, measure
from weightatlas.lab.experiments.experiment import Measurement, Variant
from weightatlas.lab.experiments.micro_batch_paper import PUBLISHED_COLUMNS, PUBLISHED_SHOWN, published_rows
from weightatlas.lab.experiments.result import ExperimentRun

if TYPE_CHECKING:
    from pathlib import Path

ACCURACIES = {1: (0.75, 0.93), 2: (0.76, 0.94), 3: (0.77, 0.95)}


def made(
    preset: str, finished: tuple[str, ...], others: tuple[str, ...], folder: Path, **figures: float
) -> SmallResult:
    """Runs whose accuracies are known, and variants of which none was finished."""
    variants = tuple(Variant(name=name, configuration=configuration(name)) for name in (*finished, *others))
    matrix = replace(experiment(), preset=preset, variants=variants)
    runs = []
    for name in finished:
        for seed, (first, five) in ACCURACIES.items():
            place = folder / name / str(seed)
            run = made_up_run(replace(configuration(name), seed=seed), place)
            run = replace(run, test_accuracy=first, test_top5=five)
            runs.append(ExperimentRun(name, seed, place, run, Measurement({**measure(run).figures, **figures})))
    return SmallResult(matrix.source, matrix, tuple(runs))


def rows_of(result: SmallResult) -> list[dict[str, Any]]:
    rows = list(published_rows(result))
    assert all(set(row) <= set(PUBLISHED_COLUMNS) for row in rows)
    return rows


def test_errors_stand_beside_the_published_ones(tmp_path: Path) -> None:
    first, five = rows_of(made("imagenet", ("resnet50.gn-ws.b256",), (), tmp_path))
    assert (first["metric"], five["metric"]) == ("top-1 error", "top-5 error")
    assert (first["published"], five["published"]) == (23.72, 6.99)
    assert (first["value"], five["value"]) == (pytest.approx(24), pytest.approx(6))
    assert first["difference"] == pytest.approx(0.28)
    assert (first["low"], first["high"]) == (pytest.approx(24 - 2.484, abs=1e-3), pytest.approx(24 + 2.484, abs=1e-3))
    assert first["recipe"] == "imagenet-resnet50-gn-ws"
    assert (first["seeds"], first["how_sure"], first["unit"]) == (3, "read in its source", "%")
    assert "Nesterov" in first["differences"]


def test_overlap_is_measured_and_what_is_not_is_said(tmp_path: Path) -> None:
    name = "deeplabv3-resnet101.bcn-ws.b16"
    (with_it,) = rows_of(made("voc", (name,), (), tmp_path, score=0.775))
    assert (with_it["value"], with_it["published"]) == (pytest.approx(77.5), 78.1)
    (without,) = rows_of(made("voc", (name,), (), tmp_path / "again", score=math.nan))
    assert without["skipped"] == "its runs do not have this metric"
    assert "value" not in without
    assert without["published"] == 78.1


def test_each_source_of_a_figure_has_a_row(tmp_path: Path) -> None:
    rows = rows_of(made("imagenet", ("resnet50.gn.b256",), (), tmp_path))
    assert [(row["published"], row["how_sure"]) for row in rows] == [
        (24.81, "quoted by others"),
        (24.0, "read in its source"),
    ]


def test_what_has_nothing_beside_it_says_why(tmp_path: Path) -> None:
    others = ("resnet50.bn.b256", "resnet101.gn.b128", "resnet50.bn.b1")
    rows = rows_of(made("imagenet", (), others, tmp_path))
    assert {row["variant"]: row["skipped"] for row in rows} == {
        "resnet50.bn.b256": "none of its runs could be finished",
        "resnet101.gn.b128": "we know of no figure for this recipe",
        "resnet50.bn.b1": "the variant is ours: nothing was published of it",
    }


def test_a_terminal_shows_columns_that_there_are() -> None:
    assert {name for name, _ in PUBLISHED_SHOWN} <= set(PUBLISHED_COLUMNS)
