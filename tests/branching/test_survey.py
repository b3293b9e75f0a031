"""A survey joins what the estimators find: units, branches, families, hidden branches, clusters, and their reasons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.branching.planted_networks import UNITS, Branched, Inception
from weightatlas.branching import survey
from weightatlas.branching.survey import BranchingSurvey
from weightatlas.checkpoints import open_trajectory
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def planted() -> BranchingSurvey:
    return survey(Branched(), shuffles=49)


def test_every_table_has_its_columns_and_plain_values(planted: BranchingSurvey) -> None:
    for table, columns in BranchingSurvey.tables.items():
        rows = planted.rows(table)
        assert rows, table
        assert all(tuple(row) == columns for row in rows), table
        json.dumps(rows, allow_nan=False)


def test_units_are_tuned_and_know_their_branch(planted: BranchingSurvey) -> None:
    rows = [row for row in planted.rows("units") if row["layer"] == "conv1"]
    assert [row["branch"] for row in rows] == ["group 1"] * (UNITS // 2) + ["group 2"] * (UNITS // 2)
    assert all(row["chroma"] < 0.01 for row in rows[: UNITS // 2])
    assert all(row["chroma"] > 0.99 for row in rows[UNITS // 2 :])
    assert {row["class"] for row in rows[: UNITS // 2]} == {"Gabor"}


def test_layers_that_do_not_see_the_image_say_how_to_tune_them(planted: BranchingSurvey) -> None:
    reasons = {row["layer"]: row["skipped"] for row in planted.rows("units") if row["layer"] != "conv1"}
    assert set(reasons) == {"conv2", "conv3", "fc"}
    assert all("--layer" in reason for reason in reasons.values())


def test_colour_gathers_in_its_branch(planted: BranchingSurvey) -> None:
    found = {(row["by"], row["layer"]): row for row in planted.rows("information")}
    colour = found["colour", "conv1"]
    assert colour["information"] == pytest.approx(1.0)
    assert colour["q_value"] < 0.05
    pairs = {(row["family"], row["branch"]): row for row in planted.rows("families") if row["by"] == "colour"}
    assert pairs["colour", "group 2"]["k"] == UNITS // 2
    assert pairs["colour", "group 2"]["p_value"] == pytest.approx(1 / 924)  # 12 choose 6


def test_pairs_of_layers_and_reasons_for_the_rest(planted: BranchingSurvey) -> None:
    rows = planted.rows("implicit")
    done = {(row["layer"], row["next"]) for row in rows if row["skipped"] is None}
    assert ("conv2", "conv3") in done
    assert ("conv3", "fc") in done
    assert {row["next"]: row["skipped"] for row in rows}["conv1"] == "it reads the input"


def test_random_units_do_not_gather() -> None:
    found = survey(Branched(planted=False), shuffles=19)
    assert all(row["q_value"] is None or row["q_value"] > 0.05 for row in found.rows("information"))


def test_branches_of_unequal_kernels_are_compared_at_one_size() -> None:
    found = survey(Inception(), shuffles=19)
    names = {row["branch"]: row["size"] for row in found.rows("branches")}
    assert names == {"3x3": 6, "5x5": 10}
    sizes = {row["by"]: row["units"] for row in found.rows("information")}
    assert sizes["colour"] == sizes["frequency"] == 16


def test_given_families_are_tested_in_given_branches() -> None:
    families = {"mixed": {"curves": range(9), "other": range(9, 30)}, "unknown": {"one": range(1)}}
    branches = {"mixed": {"5x5": range(12), "1x1": range(12, 40)}}
    model = Branched()
    found = survey(model, families=families, branches=branches, families_name="f.json", chosen_after_looking=True)
    rows = found.rows("families")
    first = next(row for row in rows if (row["family"], row["branch"]) == ("curves", "5x5"))
    assert (first["k"], first["family_size"], first["branch_size"], first["layer_size"]) == (9, 9, 12, 40)
    assert first["p_value"] == pytest.approx(np.prod([(12 - i) / (40 - i) for i in range(9)]))
    assert first["binomial"] == pytest.approx((12 / 40) ** 9)
    assert first["chosen_after_looking"] is True
    assert "no branches" in next(row["skipped"] for row in rows if row["layer"] == "unknown")


def test_deeper_layers_are_tuned_through_the_model() -> None:
    found = survey(Branched(), layers=["conv3"], shuffles=19)
    rows = [row for row in found.rows("units") if row["layer"] == "conv3"]
    assert len(rows) == 10
    assert {row["by"] for row in rows} == {"expanded weights"}
    assert all(row["label"] is not None for row in rows)


def test_deeper_layers_need_a_model_and_a_right_name(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(Branched().state_dict(), file)
    with pytest.raises(SourceError, match="--model"):
        survey(str(file), layers=["conv3"])
    with pytest.raises(SourceError, match="did you mean conv3"):
        survey(Branched(), layers=["conv33"])


def test_a_file_alone_gives_what_shapes_tell(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(Branched().state_dict(), file)
    found = survey(str(file), shuffles=19)
    assert found.source == str(file)
    assert {row["branch"] for row in found.rows("units") if row["layer"] == "conv1"} == {"group 1", "group 2"}
    by_model = survey(str(file), model=Branched(planted=False), shuffles=19)
    assert by_model.source == str(file)
    assert by_model.rows("information") == found.rows("information")


def test_a_network_without_branches_or_colours_says_so() -> None:
    found = survey(torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4)), shuffles=19)
    assert "no branches are known" in found.rows("branches")[0]["skipped"]
    assert found.rows("families")[0]["skipped"] is not None
    assert not found.tuned


def test_clusterability_is_measured_when_asked_for() -> None:
    found = survey(Branched(), with_clusterability=True, clusterability_shuffles=5, shuffles=19)
    row = found.rows("clusterability")[0]
    assert row["skipped"] is None
    assert row["shuffles"] == 5
    assert row["ncut"] > 0


def test_a_run_shows_when_its_branches_specialised(tmp_path: Path) -> None:
    start, end = Branched(planted=False).state_dict(), Branched().state_dict()
    for step, share in ((0, 0.0), (10, 0.0), (20, 0.9), (30, 1.0)):
        mixed = {name: torch.lerp(start[name], end[name], share) for name in start}
        save_file(mixed, tmp_path / f"step{step}.safetensors")
    found = survey(open_trajectory(str(tmp_path)), shuffles=19)
    rows = [row for row in found.rows("onset") if row["skipped"] is None]
    assert [row["step"] for row in rows] == [0, 10, 20, 30]
    assert found.onsets[0].onset == 20


def test_units_that_cannot_be_measured_say_why() -> None:
    model = Branched()
    with torch.no_grad():
        model.conv1.weight[0] = 0
        model.conv1.weight[1] = float("nan")
    found = survey(model, shuffles=19)
    rows = [row for row in found.rows("units") if row["layer"] == "conv1"]
    assert rows[0]["skipped"] is not None
    assert rows[1]["skipped"] is not None
    assert rows[2]["skipped"] is None


def test_the_seed_decides_and_jobs_do_not() -> None:
    one = survey(Branched(), shuffles=49, seed=3, jobs=1)
    two = survey(Branched(), shuffles=49, seed=3, jobs=2)
    assert one.rows("implicit") == two.rows("implicit")
    assert one.rows("information") == two.rows("information")


def test_hidden_branches_need_not_be_looked_for() -> None:
    found = survey(Branched(), with_hidden=False)
    (row,) = found.rows("implicit")
    assert found.pairs == ()
    assert "not asked for" in row["skipped"]
    assert found.rows("information") == survey(Branched(), shuffles=19).rows("information")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_is_no_graph_says_which_layer(value: float) -> None:
    model = Branched()
    with torch.no_grad():
        model.conv3.weight[0, 0] = value
    found = survey(model, with_clusterability=True, clusterability_shuffles=3, with_hidden=False)
    assert found.clusterability is None
    assert "conv3: the weight holds NaN or infinite values" in found.rows("clusterability")[0]["skipped"]


def test_a_network_of_few_units_has_no_clusterability() -> None:
    tiny = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    found = survey(tiny, with_clusterability=True, with_hidden=False)
    assert "fewer clusters" in found.rows("clusterability")[0]["skipped"]


def test_why_no_branches_are_known_depends_on_the_model(tmp_path: Path) -> None:
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
    file = tmp_path / "model.safetensors"
    save_file(plain.state_dict(), file)
    alone = survey(str(file), with_hidden=False).rows("branches")[0]["skipped"]
    with_model = survey(plain, with_hidden=False).rows("branches")[0]["skipped"]
    assert "--model is needed" in alone
    assert "--model" not in with_model


def test_families_without_units_have_a_reason_and_no_p() -> None:
    branches = {"conv1": {"left": range(3), "right": range(3, 6)}}
    given = {"conv1": {"none": [], "some": [0, 0, 1]}, "conv3": {}}
    found = survey(Branched(), families=given, branches=branches | {"conv3": {"all": [0]}}, with_hidden=False)
    rows = {(row["layer"], row["family"]): row for row in found.rows("families")}
    assert rows["conv1", "none"]["p_value"] is None
    assert "no unit" in rows["conv1", "none"]["skipped"]
    assert "no families" in rows["conv3", None]["skipped"]
    assert rows["conv1", "some"]["skipped"] is None
    assert any("twice" in note for note in found.notes_of("families"))
    assert not any("twice" in note for note in found.notes_of("units"))


def test_complex_kernels_are_not_tuned_by_their_real_part(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"conv1.weight": torch.complex(torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5))}, file)
    (row,) = survey(str(file)).rows("units")
    assert "complex" in row["skipped"]


def test_shuffles_below_one_are_refused_before_any_work() -> None:
    for options in ({"shuffles": 0}, {"clusterability_shuffles": 0}):
        with pytest.raises(ValueError, match="at least one shuffle"):
            survey("there is no such file.pt", **options)  # type: ignore[arg-type]


def test_a_transposed_convolution_has_all_its_units() -> None:
    up = torch.nn.ConvTranspose2d(6, 8, 3)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), up, torch.nn.Conv2d(8, 4, 3))
    found = survey(model, layers=["2"], with_hidden=False)
    assert [row["unit"] for row in found.rows("units") if row["layer"] == "2"] == list(range(8))


def test_a_layer_that_stimuli_cannot_be_shown_to_says_so() -> None:
    found = survey(Branched(), layers=["fc"], with_hidden=False)
    assert all(row["label"] is None for row in found.rows("units") if row["layer"] == "fc")
    assert any(note.startswith("fc: no stimuli were shown") for note in found.notes_of("units"))
