from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from tests.degeneracy.planted_surveys import (
    SECOND,
    curve_of,
    planted_counts,
    planted_structure,
    planted_survey,
    unknown,
)
from tests.degeneracy.relu_networks import batches, inputs_of, relu_network
from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.findings import (
    ablation_title,
    counts_title,
    curve_title,
    degeneracy_findings,
    layers_title,
    modules_title,
)

if TYPE_CHECKING:
    from weightatlas.degeneracy.counts import Counts


@pytest.mark.parametrize(
    ("bound", "words"), [(False, "no network has fewer than 16 on so many"), (True, "fixes as many as it would by")]
)
def test_titles_say_what_the_examples_allow(bound: bool, words: str) -> None:
    network = relu_network(0)
    if bound:
        network.append(nn.LogSoftmax(1))
    found = counts(network, batches(inputs_of(0, 40)))
    assert found.data_limited
    assert words in counts_title(found)
    assert "might show fewer" in curve_title(found)


def test_a_network_of_which_nothing_is_free_is_not_told_to_take_more_examples() -> None:
    found = counts(nn.Linear(3, 2), batches(torch.randn(4, 3, generator=torch.Generator().manual_seed(0))))
    assert (found.rank, found.exact, found.limit) == (8, 0, 8)
    assert counts_title(found) == "0 of 8 directions of the weights (0.0%) change no output"


@pytest.mark.parametrize(
    ("found", "title"),
    [
        (
            planted_counts(),
            "50 of 100 directions of the weights (50.0%) are free on these examples, fewer on more: 56 on half of them",
        ),
        (
            planted_counts(curve=curve_of([50, 50], [16, 40], parameters=100, outputs=3)),
            "50 of 100 directions of the weights (50.0%) change no output",
        ),
        (unknown(), "At least 40 of 100 directions of the weights (40.0%) are free"),
        (
            unknown(data_limited=True, examples=16),
            "16 examples are too few to tell: at least 40 of 100 directions of the weights (40.0%) are free",
        ),
        (
            unknown(data_limited=True, examples=1),
            "One example is too few to tell: at least 40 of 100 directions of the weights (40.0%) are free",
        ),
    ],
)
def test_the_title_says_what_the_data_allow_to_say(found: Counts, title: str) -> None:
    assert counts_title(found) == title


def test_layers_are_named_for_what_is_free_in_them_alone() -> None:
    assert layers_title(planted_counts()) == "Most is free on its own in net.first (40%) and net.second (10%)"
    assert layers_title(planted_counts(SECOND)) == "10% of the directions of net.second are free on their own"


def test_edges_that_nothing_needs_are_no_finding_for_a_basis() -> None:
    structure = planted_structure()
    none = tuple(replace(one, needed=0) for one in structure.edges)
    assert ablation_title(replace(structure, edges=none, baseline_edges=none)) == (
        "No edge is needed: the accuracy without any is as high"
    )


def test_without_edges_there_are_no_modules_to_speak_of() -> None:
    structure = planted_structure()
    empty = replace(structure, modules=replace(structure.modules, modularity=math.nan))
    assert modules_title(empty) == "No edge counts: there is no graph to divide"


def test_a_baseline_that_never_suffices_is_said() -> None:
    survey = planted_survey()
    structure = planted_structure()
    short = replace(structure, baseline_edges=(replace(structure.baseline_edges[0], needed=None),))
    said = next(one for one in degeneracy_findings(replace(survey, structure=short)) if one.plate == "ablations")
    assert said.evidence == (
        "p0 to p1: 20 of 72, principal components not even all 72",
        "p1 to p2: 63 of 63, principal components not tried",
    )
