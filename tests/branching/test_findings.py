from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.branching.example_surveys import degenerate, grey, planted, run, unbranched, wide
from weightatlas.branching import survey
from weightatlas.branching.findings import branching_findings
from weightatlas.branching.survey import NO_BRANCHES
from weightatlas.plate import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.branching.survey import BranchingSurvey


def statements(found: BranchingSurvey) -> list[str]:
    return [finding.statement for finding in branching_findings(found)]


def test_the_first_sentence_says_what_gathers_where() -> None:
    first = branching_findings(planted())[0]
    assert first.statement == "Colour units gather in group 2 of conv1: 6 of 6."
    assert first.plate == "families"
    assert any("1.00 bits, null" in text for text in first.evidence)
    assert any(text.startswith("q ") for text in first.evidence)


def test_one_layer_has_one_sentence_however_its_units_are_sorted() -> None:
    gathered = [text for text in statements(planted()) if "gather" in text]
    assert len(gathered) == 1
    assert sum(one.specialization is not None for one in planted().families) > 1


def test_families_chosen_after_looking_say_so() -> None:
    whole = planted()
    looked = tuple(
        replace(one, specialization=replace(one.specialization, chosen_after_looking=True))
        for one in whole.families
        if one.specialization is not None
    )
    first = branching_findings(replace(whole, families=looked))[0]
    assert "families chosen after looking" in first.evidence


def test_a_network_without_branches_says_what_would_show_them() -> None:
    (found,) = [one for one in branching_findings(unbranched()) if one.statement == "No branches are known."]
    assert "graph" in found.evidence[0]
    (found,) = [
        one
        for one in branching_findings(replace(unbranched(), no_branches=NO_BRANCHES))
        if one.statement == "No branches are known."
    ]
    assert "--model" in found.evidence[0]
    assert found.plate == ""


def test_nothing_to_look_at_is_said_and_not_an_error() -> None:
    assert statements(grey()) == ["No branches are known."]


def test_a_graph_in_pieces_is_not_called_clustered() -> None:
    said = [text for text in statements(degenerate()) if "clusters" in text]
    assert said == ["The graph of the network falls into pieces by itself: clusters cut nothing."]


def test_few_shuffles_give_no_verdict() -> None:
    (said,) = [text for text in statements(planted()) if "n-cut" in text]
    assert said.endswith("that of nine shuffles, too few for a verdict.")


def test_a_run_says_from_when_its_branches_specialise_or_that_they_do_not() -> None:
    assert "The branches of conv1 specialise by colour from step 500 on." in statements(run())
    assert "The branches of conv1 do not specialise by step 1,100." in statements(run(begins=None))


@pytest.mark.parametrize("branches", [2, 12])
def test_given_families_are_named_as_they_were_given(branches: int) -> None:
    assert "Curve units gather in branch 0 of mixed: 8 of 8." in statements(wide(branches))


def test_the_most_important_sentence_stands_first_and_each_names_a_plate_that_is_there() -> None:
    for found in (planted(), unbranched(), grey(), run(), degenerate(), wide(3)):
        plates = found.plates()
        keys = {plate.heading.key for plate in plates if hasattr(plate, "heading")}
        findings = [plate for plate in plates if isinstance(plate, Finding)]
        assert [one.importance for one in findings] == sorted((one.importance for one in findings), reverse=True)
        assert {one.plate for one in findings} <= keys | {""}


@pytest.mark.reference
def test_squeezenets_first_layer_is_a_continuum_whose_hidden_axis_follows_colour(reference: Path) -> None:
    found = survey(str(reference / "squeezenet" / "squeezenet_v1.1_notop.h5"), shuffles=199)
    said = statements(found)
    assert "33 of 64 units of conv1 see colour, along a continuum." in said
    (axis,) = [text for text in said if text.startswith("The first hidden axis of conv1")]
    assert "follows chroma" in axis
