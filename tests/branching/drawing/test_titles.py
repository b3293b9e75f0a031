from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.branching.example_surveys import deep, grey, joined, planted, unbranched, wide
from weightatlas.branching import survey
from weightatlas.branching.drawing.captions import hidden_null
from weightatlas.branching.drawing.titles import (
    branches_title,
    clusterability_title,
    columns_title,
    families_title,
    follows,
    hidden_title,
    matrix_title,
    shares_title,
)
from weightatlas.branching.drawing.tuned_groups import tuned_groups
from weightatlas.branching.findings import branching_findings
from weightatlas.branching.hidden.correlations import AxisCorrelation


def test_branches_are_counted_by_layer_and_named_by_how_they_meet() -> None:
    assert branches_title(planted()) == "Two layers are branched: groups of a convolution"
    assert branches_title(joined()) == "One layer is branched: paths laid side by side"


def test_columns_are_titled_by_the_branches_furthest_apart_or_by_classes() -> None:
    assert columns_title(tuned_groups(planted())) == "In conv1, 100% of group 2 see colour, 0% of group 1"
    assert columns_title(tuned_groups(unbranched())).startswith("The six units of 0: ")


def test_families_that_do_not_gather_are_not_said_to() -> None:
    whole = wide(3)
    (one,) = whole.families
    assert families_title(replace(whole, families=(replace(one, q_value=0.4),))) == (
        "No family gathers in a branch of mixed"
    )
    assert families_title(grey()) == "No layer has both families of units and branches"


def test_hidden_branches_are_claimed_only_of_pairs_that_stand_out() -> None:
    whole = deep(3)
    one, *rest = whole.pairs
    none = tuple(replace(pair, q_values=(0.4, 0.5, 0.6)) for pair in whole.pairs)
    assert hidden_title(replace(whole, pairs=none)) == "None of three pairs of layers hides branches"
    some = (replace(one, q_values=(0.01, 0.5, 0.6)), *none[1:])
    assert hidden_title(replace(whole, pairs=some)) == "One of three pairs of layers hides branches: stage.0 → stage.1"
    assert len(rest) == 2


@pytest.mark.parametrize(("rho", "p_value", "said"), [(-0.8, 0.001, True), (0.6, 0.001, False), (0.9, 0.2, False)])
def test_an_axis_follows_what_it_is_strongly_and_surely_correlated_with(rho: float, p_value: float, said: bool) -> None:
    pair = deep(1).pairs[0]
    assert pair.hidden is not None
    axes = (AxisCorrelation(rho=rho, p_value=p_value, units=12),)
    assert bool(follows(replace(pair, hidden=replace(pair.hidden, correlations={"chroma": axes})))) is said


@pytest.mark.parametrize(
    ("ncut", "title"),
    [(1.0, "The network is more clustered than its shuffles"), (9.0, "The network is no more clustered than its")],
)
def test_clusters_are_claimed_only_below_enough_shuffles(ncut: float, title: str) -> None:
    found = planted().clusterability
    assert found is not None
    null = np.linspace(4, 5, 50)
    assert clusterability_title(replace(found, ncut=ncut, null=null)).startswith(title)
    assert "too few" in clusterability_title(replace(found, ncut=ncut, null=null[:10]))


def test_layers_of_one_cluster_are_counted() -> None:
    found = planted().clusterability
    assert found is not None
    sizes = {"a": np.array([10, 0]), "b": np.array([5, 5]), "c": np.array([0, 0])}
    assert shares_title(replace(found, sizes=sizes)) == "One of two layers is nearly all of one cluster"


def test_pairs_without_a_test_are_not_said_to_hide_nothing() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8))
    for method in ("raw", "correspondence"):
        found = survey(model, method=method, shuffles=9)
        (pair,) = (pair for pair in found.pairs if pair.hidden is not None)
        for title in (hidden_title(found), matrix_title(pair), branching_findings(found)[0].statement):
            assert "no test" in title or "branches are known" in title
        assert "neither p nor q" in hidden_null(found)
        said = json.dumps([finding.evidence for finding in branching_findings(found)])
        assert "sd over its null" not in said
