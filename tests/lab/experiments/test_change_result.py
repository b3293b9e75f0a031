from __future__ import annotations

import math

import pytest

from tests.lab.experiments.changes_for_tests import LAYERS, RECORDS, made
from weightatlas.lab.experiments.banding_result import BandingExperimentResult
from weightatlas.lab.experiments.change_result import ChangeExperimentResult
from weightatlas.lab.experiments.result import ExperimentResult
from weightatlas.lab.experiments.weight_change import PRESETS


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ChangeExperimentResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_rows_have_the_columns_of_their_table(result: ChangeExperimentResult) -> None:
    for table, columns in result.tables.items():
        rows = result.rows(table)
        assert rows
        assert all(tuple(row) == columns for row in rows)
    runs = len(result.runs)
    assert len(result.rows("layers")) == runs * LAYERS
    assert len(result.rows("thirds")) == runs * 3 * RECORDS


@pytest.mark.parametrize("kind", [ExperimentResult, BandingExperimentResult, ChangeExperimentResult])
def test_a_terminal_shows_columns_that_there_are(kind: type[ExperimentResult]) -> None:
    assert {"runs", "variants", "effects"} <= set(kind.terminal) <= set(kind.tables)
    for table, shown in kind.terminal.items():
        keys = [key for key, _ in shown]
        assert len(set(keys)) == len(keys)
        assert set(keys) <= set(kind.tables[table])


def test_a_third_is_the_geometric_mean_of_its_layers(result: ChangeExperimentResult) -> None:
    rows = [row for row in result.rows("thirds") if (row["variant"], row["seed"]) == ("scenes", 1)]
    first, middle, last = (
        [row["ratio_l1"] for row in rows if row["part"].startswith(part)] for part in ("f", "m", "l")
    )
    assert first == pytest.approx([0.1 * 0.5**record for record in range(RECORDS)])
    for part, expected in ((middle, 0.401 / 2), (last, 0.401)):
        assert [math.log(a / b) for a, b in zip(part, first, strict=True)] == pytest.approx([expected] * RECORDS)


def test_a_layer_s_figure_is_its_typical_change(result: ChangeExperimentResult) -> None:
    rows = [row for row in result.rows("layers") if (row["variant"], row["seed"]) == ("scenes", 1)]
    assert rows[0]["ratio_l1"] == pytest.approx(0.1 * 0.25)
    assert rows[0]["elementwise"] == pytest.approx(0.1)
    assert [row["inner"] for row in rows] == [False, *[True] * (LAYERS - 2), False]
    assert rows[0]["first_weight"] == pytest.approx(0.1)
    assert (rows[0]["place"], rows[-1]["place"], rows[-1]["parameters"]) == (0, 1, 100 * LAYERS)


def test_a_network_is_named_for_its_first_variant(result: ChangeExperimentResult) -> None:
    networks = {row["variant"]: row["network"] for row in result.rows("layers")}
    assert networks == {
        **dict.fromkeys(("scenes", "scenes-hard", "scenes-order", "scenes-left"), "scenes"),
        **dict.fromkeys(("language", "language-medium"), "language"),
    }


def test_the_paper_s_accuracies_stand_beside_ours(
    result: ChangeExperimentResult, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = result.rows("accuracies")[0]
    assert (row["variant"], row["seeds"], row["train_accuracy"], row["train_top5"]) == ("scenes", 3, 0.9, 1.0)
    assert row["train_accuracy_paper"] is None
    cifar = made(tmp_path_factory.mktemp("cifar"), PRESETS["cifar"]("cifar10:a,cifar100:b"))
    rows = {row["variant"]: row for row in cifar.rows("accuracies")}
    assert rows["resnet34.cifar100"]["test_accuracy_paper"] == 0.624
    assert rows["resnet50.cifar100"]["test_accuracy_paper"] is None, "the paper's ResNet50 is a ResNet-34"


def test_verdicts_follow_the_planted_recruitment(result: ChangeExperimentResult) -> None:
    found = {
        (row["variant"], row["measure"], row["expected"]): row["verdict"]
        for row in result.rows("effects")
        if row["expected"] is not None
    }
    assert found["scenes-order", "recruitment", "higher"] == "agrees"
    assert found["scenes-hard", "recruitment", "higher"] == "disagrees"
    assert found["scenes-left", "recruitment", "same"] == "agrees"
    assert found["scenes", "size_excess", "present"] == "agrees"
    assert found["scenes", "stability", "present"] == "disagrees"
    assert found["scenes", "recruitment_undivided", "present"] == "disagrees"
    assert found["scenes", "depth_given_size", "present"] == "undecided"
