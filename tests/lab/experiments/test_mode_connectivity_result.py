from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.connectivities_for_tests import ALPHAS, LATE, figures, made, planted
from tests.lab.experiments.experiments_for_tests import made_up_run
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.mode_connectivity import quick
from weightatlas.lab.experiments.mode_connectivity_measures import WAYS
from weightatlas.lab.experiments.mode_connectivity_variants import SHARES

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Configuration, Run
    from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ModeConnectivityResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_widths_are_the_independent_pairs_with_means_and_intervals(result: ModeConnectivityResult) -> None:
    rows = result.rows("widths")
    assert [row["variant"] for row in rows] == ["w0.5.twin", "w1.twin", "w2.twin"]
    for row in rows:
        expected = planted(row["variant"], matched=True, recalibrated=False)
        assert row["barrier_matched"] == pytest.approx(expected, abs=0.002)
        assert row["barrier_matched_low"] < row["barrier_matched"] < row["barrier_matched_high"]
        assert row["seeds"] == 3


def test_forks_begin_with_the_independent_pair_of_their_width(result: ModeConnectivityResult) -> None:
    rows = result.rows("forks")
    assert [row["share"] for row in rows] == ["independent", *(str(share) for share in SHARES)]
    assert rows[0]["variant"] == "w0.5.twin"
    assert [row["step"] for row in rows] == [None, 0, 16, 64, 128, 256, 512, 768]
    assert rows[-1]["error_barrier_recalibrated"] == pytest.approx(LATE, abs=0.002)


def test_paths_have_every_point_of_every_line_and_layers_every_layer(result: ModeConnectivityResult) -> None:
    pairs = sum(variant.partner is not None for variant in result.experiment.variants) * 3
    paths = result.rows("paths")
    assert len(paths) == pairs * len(WAYS) * len(ALPHAS)
    assert {(row["matched"], row["recalibrated"]) for row in paths} == set(WAYS)
    layers = result.rows("layers")
    assert len(layers) == 2 * 3 * len(result.rows("widths"))
    assert layers[1] == {
        "variant": "w0.5.twin",
        "seed": 1,
        "layer": "fc",
        "barrier": 0.3,
        "rise": 0.3,
        "predicted": 0.9,
        "skipped": None,
    }


def test_the_verdicts_are_those_of_what_was_planted(result: ModeConnectivityResult) -> None:
    verdicts = {
        (row["variant"], row["measure"], row["expected"]): row["verdict"]
        for row in result.rows("effects")
        if row["expected"] is not None
    }
    assert verdicts["w2.twin", "barrier_matched_recalibrated", "lower"] == "agrees"
    assert verdicts["w2.twin", "log_barrier", "lower"] == "agrees"
    assert verdicts["w2.twin", "error_barrier_matched_recalibrated", "absent"] == "disagrees"
    assert verdicts["w0.5.twin", "matching_gain", "present"] == "agrees"
    assert verdicts["w0.5.twin", "recalibration_gain", "present"] == "agrees"
    assert verdicts["w0.5.fork.3-4", "error_barrier_recalibrated", "absent"] == "agrees"
    assert verdicts["w0.5.fork.3-4", "barrier_recalibrated", "lower"] == "agrees"


def test_pairs_that_could_not_be_measured_say_why_in_every_table(tmp_path: Path) -> None:
    def without_trunks(configuration: Configuration, folder: Path) -> Run:
        if configuration.fork is None:
            message = "no room"
            raise MemoryError(message)
        return made_up_run(configuration, folder)

    few = replace(quick(seeds=(1,)), measure_pair=figures)
    result = run_experiment(few, tmp_path, jobs=1, runner=without_trunks)
    assert not result.finished
    for table in ("widths", "forks"):
        assert {row["skipped"] for row in result.rows(table)} == {"none of its pairs could be measured"}
    for table in ("paths", "layers"):
        assert "could not be finished: MemoryError: no room" in result.rows(table)[0]["skipped"]
    assert result.plates()
