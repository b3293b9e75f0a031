from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.branching.example_surveys import grey, unbranched
from weightatlas.branching.specialization import Specialization, specialization
from weightatlas.branching.surveying.recurring import recurring
from weightatlas.branching.surveying.tested_families import Families
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.branching.survey import BranchingSurvey

COLOUR = ["colour"] * 12 + ["black-and-white"] * 12
MIXED = ["colour", "black-and-white"] * 12


def found(labels: Sequence[str]) -> Specialization:
    return specialization(labels, 2, units=24, layer="conv1", permutations=19)


def surveyed(source: str, *families: Families) -> BranchingSurvey:
    return replace(grey(), source=source, families=families)


def test_branches_are_matched_and_sources_keep_their_names() -> None:
    surveys = [
        surveyed("one.pt", Families("conv1", "colour", found(COLOUR))),
        surveyed("other.pt", Families("conv1", "colour", found(COLOUR[::-1]))),
    ]
    result = recurring(surveys)
    assert (result.runs, result.source) == (("one.pt", "other.pt"), "one.pt and other.pt")
    assert (result.agreement, result.p_value) == (1.0, 0.001)
    assert {each.family: each.runs_agreeing for each in result.recurrences} == {"colour": 2, "black-and-white": 2}


def test_where_nothing_gathers_nothing_recurs() -> None:
    mixed = [surveyed(f"{run}.pt", Families("conv1", "colour", found(MIXED))) for run in range(3)]
    assert recurring(mixed).p_value > 0.5


def test_the_first_tested_layer_counts_and_neither_frequency_nor_class() -> None:
    others = (
        Families("conv1", "colour", skipped="it has no colours"),
        Families("conv1", "frequency", found(COLOUR)),
        Families("conv1", "class", found(COLOUR)),
    )
    last = Families("conv3", "colour", found(COLOUR))
    surveys = [surveyed(f"{run}.pt", *others, Families("conv2", "given.json", found(MIXED)), last) for run in range(2)]
    assert recurring(surveys).p_value == recurring([surveyed(one.source, one.families[3]) for one in surveys]).p_value
    assert recurring([surveyed(one.source, *others, last) for one in surveys]).p_value == 0.001


def test_the_seed_fixes_the_answer() -> None:
    labels = [*COLOUR[:8], *MIXED[:8], *COLOUR[16:]]
    surveys = [surveyed(f"{run}.pt", Families("conv1", "colour", found(labels))) for run in range(2)]
    first, again, other = (recurring(surveys, seed=seed) for seed in (1, 1, 2))
    assert (first.null_mean, first.null_std) == (again.null_mean, again.null_std)
    assert first.null_mean != other.null_mean
    assert first.strength == other.strength


def test_what_cannot_be_compared_is_refused() -> None:
    one = surveyed("one.pt", Families("conv1", "colour", found(COLOUR)))
    with pytest.raises(SourceError, match=r"^no source: consistency is between two sources or more"):
        recurring([])
    with pytest.raises(SourceError, match=r"^one\.pt: consistency is between two"):
        recurring([one])
    bare = replace(unbranched(), source="bare.pt")
    with pytest.raises(
        SourceError, match=r"^bare\.pt: no layer of it has both families and branches; name the --model"
    ):
        recurring([one, bare])
    shapes = surveyed("shapes.pt", Families("conv1", "given", found(["curve", "line"] * 12)))
    with pytest.raises(SourceError, match=r"^one\.pt and shapes\.pt: .*; compare sources of like families"):
        recurring([one, shapes])
