from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.branches_for_tests import made
from weightatlas.atlas import write_atlas
from weightatlas.lab.experiments.branch_charts import (
    CHROMA,
    family_rows,
    onset_chart,
    onset_rows,
    separation_chart,
    that_have,
)
from weightatlas.lab.experiments.branch_findings import branch_findings, crossed_title, separation_title
from weightatlas.lab.experiments.branch_measures import BLOCKS, SEPARATE
from weightatlas.lab.experiments.branch_variants import CROSSED
from weightatlas.plate import Chart, Columns, Finding, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab.experiments.branch_result import BranchExperimentResult


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BranchExperimentResult:
    return made(tmp_path_factory.mktemp("experiment"))


def test_findings_say_what_was_planted(result: BranchExperimentResult) -> None:
    told = [finding.statement for finding in branch_findings(result)]
    assert "Branches differ in colour beyond chance, over seeds, in six of eight branched networks." in told
    assert "Without branches, the first hidden axis follows colour in six of six runs (|rho| above 0.35)." in told
    assert "The narrow branch takes more colour and the branch of large kernels takes more colour." in told
    assert "Units of residual blocks gather by kind in the deep network." in told
    assert "Specialisation in colour sets in, to stay, in three of 24 runs." in told
    assert separation_title(result) == "Branches differ in colour in six of eight branched networks"
    title = "Which branch colour goes to: by width, to the narrow one; by kernel size, to large kernels"
    assert crossed_title(result) == title
    assert not any("-0" in line for finding in branch_findings(result) for line in finding.evidence)


def test_every_plate_that_a_finding_names_is_there(result: BranchExperimentResult) -> None:
    plates = result.plates()
    keys = [plate.heading.key for plate in plates if isinstance(plate, Chart | Table | Columns)]
    assert len(set(keys)) == len(keys)
    assert {plate.plate for plate in plates if isinstance(plate, Finding)} <= set(keys)
    assert {"separation", "kernels", "crossed", "onset", "blocks", "families", "branches", "verdicts"} <= set(keys)


def test_charts_hold_the_rows_behind_them(result: BranchExperimentResult) -> None:
    for plate in result.plates():
        if isinstance(plate, Chart):
            assert plate.rows
            assert plate.spec["$schema"]
    assert len(separation_chart(result).to_dict()["hconcat"]) == 3


def test_a_chart_has_rows_for_those_that_have_its_measures(result: BranchExperimentResult) -> None:
    names = {
        key: [variant.name for variant in that_have(result, measures).experiment.variants]
        for key, measures in (("separate", SEPARATE), ("chroma", CHROMA), ("blocks", BLOCKS))
    }
    assert names["blocks"] == ["shallow", "deep"]
    assert names["chroma"] == list(CROSSED)
    assert len(names["separate"]) == len(result.experiment.variants) - 2
    alone = replace(result, runs=tuple(done for done in result.runs if done.variant == "deep"))
    assert [variant.against for variant in that_have(alone, BLOCKS).experiment.variants] == [None]


def test_kernels_stand_in_columns_one_a_branch(result: BranchExperimentResult) -> None:
    (columns,) = (plate for plate in result.plates() if isinstance(plate, Columns))
    by_name = {group.layer: group for group in columns.groups}
    assert len(by_name) == 10
    assert [len(column.images) for column in by_name["four-branches"].columns] == [8] * 4
    assert [column.images.shape[1] for column in by_name["narrow-large"].columns] == [7, 3]
    assert by_name["two-branches"].marked
    assert not by_name["alexnet"].marked
    units = [
        unit for column in by_name["widths"].columns for unit in (column.units if column.units is not None else [])
    ]
    assert units == list(range(32))


def test_every_panel_of_the_onset_draws_its_own_variant(result: BranchExperimentResult) -> None:
    """Data of its own inside a facet is drawn whole in every panel."""
    spec = onset_chart(result).to_dict()
    assert "data" not in spec["spec"]
    assert spec["datasets"][spec["data"]["name"]] == onset_rows(result)
    assert {row["variant"] for row in onset_rows(result)}.isdisjoint({"one-branch", "alexnet-one-group", "deep"})


def test_blocks_are_drawn_of_one_seed(result: BranchExperimentResult) -> None:
    rows = family_rows(result)
    assert {row["seed"] for row in rows} == {1}
    assert {row["variant"] for row in rows} == {"shallow", "deep"}


def test_the_page_is_written(result: BranchExperimentResult, tmp_path: Path) -> None:
    assert write_atlas([result], tmp_path / "atlas.html").stat().st_size > 10_000
