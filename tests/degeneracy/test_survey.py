"""Surveys of degeneracy: what they hold, what they say where something is missing."""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.degeneracy.small_networks import EXAMPLES, trained
from weightatlas.degeneracy import Degeneracy, survey
from weightatlas.degeneracy.findings import degeneracy_findings
from weightatlas.degeneracy.tables import SOURCES, UNEXPLAINED
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation import Data, open_data
from weightatlas.plate import Chart, Finding, Subject, Table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.degeneracy import LearningCoefficient
    from weightatlas.evaluation.batches import Batch

PARAMETERS = 6 * 6 + 7 * 5 + 6 * 3


def data(name: str = "batches") -> Data:
    return open_data(f"tests.degeneracy.small_networks:{name}")


@cache
def whole() -> Degeneracy:
    return survey(trained(), data=data(), parts=("counts", "structure"), nulls=9)


def test_the_network_comes_first_with_a_row_a_source() -> None:
    rows = whole().rows("counts")
    assert [row["source"] for row in rows[: len(SOURCES) + 1]] == [*SOURCES, UNEXPLAINED]
    assert all(row["layer"] is None for row in rows[: len(SOURCES) + 1])
    assert {row["layer"] for row in rows[len(SOURCES) + 1 :]} == {"first", "second", "last"}


def test_planted_dependence_is_counted() -> None:
    found = {(row["layer"], row["source"]): row for row in whole().rows("counts")}
    assert found["first", "activations"]["directions"] == 6  # one dependent input, six units
    assert found[None, "exact"]["directions"] >= found[None, "union"]["directions"] >= 6 + 11
    assert found[None, "exact"]["parameters"] == PARAMETERS
    assert found[None, "exact"]["limit"] == 3 * EXAMPLES
    assert found[None, UNEXPLAINED]["directions"] == (
        found[None, "exact"]["directions"] - found[None, "union"]["directions"]
    )
    assert found[None, "heads"]["skipped"] is not None


def test_layers_say_what_their_activations_span() -> None:
    rows = {row["layer"]: row for row in whole().rows("layers")}
    assert (rows["first"]["activation_width"], rows["first"]["activation_rank"]) == (6, 5)
    assert 1 <= rows["first"]["activation_effective_rank"] <= 5
    assert rows["first"]["free"] >= 6


def test_the_curve_ends_at_all_examples() -> None:
    rows = whole().rows("curve")
    exact = next(row for row in whole().rows("counts") if row["source"] == "exact")
    assert rows[-1]["examples"] == EXAMPLES
    assert rows[-1]["nullity"] == exact["directions"]
    assert all(row["rank"] + row["nullity"] == PARAMETERS for row in rows)
    assert rows[0]["data_limited"]


def test_every_direction_has_a_row_and_every_pair_an_edge() -> None:
    found = whole()
    assert found.structure is not None
    kept = [point.kept for point in found.structure.basis.points]
    assert len(found.rows("modules")) == sum(kept)
    assert len(found.rows("edges")) == sum(ours * theirs for ours, theirs in itertools.pairwise(kept))
    needed = {row["layer"]: row["needed"] for row in found.rows("ablations") if row["removed"] == "edges"}
    kept_edges = [row for row in found.rows("edges") if row["kept"]]
    assert needed.keys() == {"first", "second", "last"}
    assert len(kept_edges) == sum(
        row["needed"] for row in found.rows("ablations") if (row["removed"], row["basis"]) == ("edges", "interaction")
    )


@pytest.mark.parametrize("table", list(Degeneracy.tables))
def test_rows_have_all_fields_of_their_table(table: str) -> None:
    rows = whole().rows(table)
    assert rows
    assert all(tuple(row) == Degeneracy.tables[table] for row in rows)
    assert len(whole().frame(table)) == len(rows)


def test_what_was_not_asked_for_is_a_row_that_says_so() -> None:
    (row,) = whole().rows("chains")
    assert row["skipped"] == "it was not asked for"
    bare = survey(trained(), data=data(), parts=("counts",), examples=8)
    (edge,) = bare.rows("edges")
    assert edge["skipped"] == "it was not asked for"
    assert bare.structure is None


def test_the_source_of_a_network_stands_apart_from_what_frees_a_direction() -> None:
    frame = whole().frame("counts")
    assert set(frame["checkpoint"]) == {"Small"}
    assert set(frame["source"]) == {*SOURCES, UNEXPLAINED}


def test_few_examples_are_called_too_few() -> None:
    found = survey(trained(), data=data(), parts=("counts",), examples=4)
    assert found.counts is not None
    assert found.counts.data_limited
    assert "too few" in degeneracy_findings(found)[0].statement


def test_a_part_that_fails_leaves_the_other() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU())
    found = survey(network, data=data("images"))
    assert found.counts is not None
    assert found.structure is None
    assert "linear layer" in found.missing["structure"]
    assert any("structure not measured" in note for note in found.notes)


def test_nothing_at_all_is_an_error() -> None:
    with pytest.raises(NotFiniteError, match="first"):
        survey(trained(), data=data("not_finite"))


@pytest.mark.parametrize("parts", [(), ("modules",)])
def test_unknown_parts_are_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="parts are"):
        survey(trained(), data=data(), parts=parts)  # type: ignore[arg-type] # what it is about


def test_points_by_name_are_those_of_the_structure() -> None:
    found = survey(trained(), data=data(), parts=("structure",), at=("second", "output"), nulls=3)
    assert found.structure is not None
    assert [point.point for point in found.structure.basis.points] == ["second", "output"]


def softmax_regression() -> list[Batch]:
    """Three classes that overlap, by five inputs."""
    generator = torch.Generator().manual_seed(0)
    inputs, noise = torch.randn(600, 5, generator=generator), torch.randn(600, 3, generator=generator)
    return [(inputs, (inputs[:, :3] + 1.5 * noise).argmax(1))]


def test_the_bracket_is_that_of_the_loss_on_the_examples_that_are_sampled() -> None:
    """The Jacobian has rank 18; cross-entropy is curved in 12 of these directions, of which few examples show 8."""
    line = nn.Linear(5, 3)
    with torch.no_grad():
        line.weight.copy_(torch.eye(3, 5))
        line.bias.zero_()
    regression = open_data("tests.degeneracy.test_survey:softmax_regression")

    def measured(**options: Any) -> LearningCoefficient:  # noqa: ANN401 - of any option
        found = survey(line, data=regression, parts=("coefficient",), chains=2, draws=20, **options)
        assert found.coefficient is not None
        return found.coefficient

    assert measured().bracket == (6.0, 7.5)
    assert measured(structure_examples=4).bracket is None
    assert measured(exact=False).bracket is None
    held = measured(localization=100.0)
    assert (held.bracket, held.localization) == (None, 100.0)


def test_progress_never_goes_back() -> None:
    told: list[float] = []
    survey(
        trained(),
        data=data(),
        examples=16,
        structure_examples=32,
        nulls=3,
        progress=lambda done, total, _: told.append(done / total),
    )
    assert told == sorted(told)
    assert told[-1] == 1
    assert told.index(0.5) > 5  # counting is over at its end, not after its first pass over the data
    assert len(set(told)) > 8


def test_plates_have_keys_of_their_own_and_findings_lead_to_them() -> None:
    plates = whole().plates()
    assert isinstance(plates[0], Subject)
    keys = [plate.heading.key for plate in plates if isinstance(plate, Chart | Table)]
    assert len(set(keys)) == len(keys)
    assert {plate.plate for plate in plates if isinstance(plate, Finding)} <= set(keys)


def test_a_page_and_arrays_are_written(tmp_path: Path) -> None:
    page = whole().save(tmp_path / "page.html")
    assert "Small" in page.read_text(encoding="utf-8")
    with np.load(whole().save(tmp_path / "arrays.npz")) as arrays:
        assert arrays["first/activations"].shape == (6,)
        assert "modules/labels" in arrays


def test_the_same_seed_gives_the_same_rows() -> None:
    again = survey(trained(), data=data(), parts=("counts", "structure"), nulls=9)
    for table in Degeneracy.tables:
        assert again.rows(table) == whole().rows(table)
