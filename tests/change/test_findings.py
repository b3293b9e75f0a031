from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.change.example_changes import ROLES, depth_example, example, told
from weightatlas.change.analysis import Analysis, analysed
from weightatlas.change.depth import DepthTrend
from weightatlas.change.findings import (
    amount,
    change_findings,
    clusters_title,
    depth_title,
    layers_title,
    stopped_title,
)
from weightatlas.checkpoints import Skipped

if TYPE_CHECKING:
    from weightatlas.change.changes import Changes


def statements(changes: Changes) -> list[str]:
    return [finding.statement for finding in change_findings(changes)]


@pytest.mark.parametrize(
    ("stopped", "title"),
    [
        ({}, "No layer has stopped"),
        ({3: 2}, "block1.conv1 has stopped, at epoch 3"),
        ({3: 4, 7: 2}, "Two of twelve layers have stopped: block3.conv1 at epoch 3 and block1.conv1 at epoch 5"),
        ({1: 5, 3: 4, 5: 3, 7: 2}, "Four of twelve layers have stopped, the first, block3.conv1, at epoch 3"),
    ],
)
def test_the_first_sentence_says_which_layers_have_stopped_and_since_when(stopped: dict[int, int], title: str) -> None:
    changes = told(example(12, 12, groups=1, stopped=stopped), groups=1)
    assert stopped_title(changes) == title
    most = max(change_findings(changes), key=lambda finding: finding.importance)
    assert (most.statement == f"{title}.") is bool(stopped)
    assert f"{title}." in statements(changes)


@pytest.mark.parametrize(
    ("stable", "title"),
    [
        (True, "Layers move in two stable clusters"),
        (False, "The clustering is not stable: curves without groups split into two as well"),
    ],
)
def test_clusters_are_called_stable_only_where_they_are(stable: bool, title: str) -> None:
    changes = told(example(12, 8), stable=stable)
    assert clusters_title(changes) == title
    assert f"{title}." in statements(changes)


def test_clusters_within_groups_are_told_apart() -> None:
    changes = told(example(32, 8, roles=ROLES), by_role=True, stable=False)
    assert clusters_title(changes).startswith("The clustering is not stable in any group of layers")
    stable = told(example(32, 8, roles=ROLES), by_role=True)
    assert clusters_title(stable) == "Layers fall into stable clusters among dense, depthwise, pointwise and linear"


def test_layers_that_all_move_alike_are_said_to() -> None:
    assert clusters_title(told(example(6, 8, groups=1), groups=1)).startswith("All layers move alike: ")


def test_an_outlier_is_named_as_it_is_written() -> None:
    assert "block1.conv1 moves like no other layer." in statements(told(example(12, 8), alone=[3]))


@pytest.mark.parametrize(
    ("trend", "title"),
    [
        (depth_example(0.4, 0.001), "Later layers change more, given their size"),
        (depth_example(-0.4, 0.001), "Later layers change less, given their size"),
        (
            depth_example(0.1, 0.6),
            "Later layers change more, and larger ones more: given size, depth tells nothing more",
        ),
        (
            DepthTrend(20, 0.1, 0.2, 0.1, 0.1, 0.6, (-0.2, 0.4)),
            "Change does not go with depth, given size",
        ),
    ],
)
def test_depth_is_judged_given_size(trend: DepthTrend, title: str) -> None:
    assert depth_title(trend) == title
    assert f"{title}." in statements(told(example(12, 8), depth=trend))


def test_layers_of_one_size_have_no_correlation_with_size() -> None:
    trend = DepthTrend(20, -0.6, math.nan, math.nan, -0.6, 0.001, (-0.8, -0.4))
    (found,) = (each for each in change_findings(told(example(12, 8), depth=trend)) if each.plate == "depth")
    assert "all layers are of one size" in found.evidence
    assert not any("nan" in text for text in found.evidence)


def test_a_trend_without_figures_is_no_finding() -> None:
    nothing = math.nan
    trend = DepthTrend(2, nothing, nothing, nothing, nothing, nothing, (nothing, nothing), reason="only 2 layers")
    assert depth_title(trend) == "Change against depth and size: only 2 layers"
    assert not any("depth" in statement for statement in statements(told(example(12, 8), depth=trend)))


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (1, "Two checkpoints cannot tell which layers move alike or which have stopped."),
        (3, "Four checkpoints cannot tell which layers move alike or which have stopped."),
    ],
)
def test_short_runs_say_in_one_sentence_what_they_cannot_tell(steps: int, sentence: str) -> None:
    assert statements(example(4, steps)).count(sentence) == 1


def test_what_could_not_be_measured_is_counted() -> None:
    changes = example(6, 8, missing={(1, 2): "NaN", (1, 3): "NaN"}, skipped=[Skipped("bad.pt", "cannot be opened")])
    found = {finding.statement: finding.evidence for finding in change_findings(changes)}
    assert found["One layer could not be measured at two checkpoints."] == ("NaN",)
    assert found["One part of the run was left out."] == ("bad.pt: cannot be opened",)


def test_a_run_without_a_figure_says_only_that() -> None:
    changes = example(2, 2)
    for layer in changes.layers:
        layer.figures["ratio_l1"][:] = np.nan
    assert statements(changes) == ["No layer's change could be measured."]
    assert layers_title(changes) == "Two layers, and no change that could be measured"


def test_the_range_names_the_layers_at_its_ends() -> None:
    changes = example(4, 1, noise=0.0, groups=2)
    assert "Layers change by 2% (block0.conv0) to 6% (block1.conv0)." in statements(changes)


@pytest.mark.parametrize(("ratio", "text"), [(0.5, "50%"), (1.0, "100%"), (18.65, "1900%"), (0.0, "0%")])
def test_amounts(ratio: float, text: str) -> None:
    assert amount(ratio) == text


@pytest.mark.parametrize(
    ("layers", "change", "sentence"),
    [
        (3, 0.0, "No layer changes at all."),
        (1, 0.0, "block0.conv0 does not change at all."),
        (3, 0.1, "All layers change by 10% from one checkpoint to the next."),
        (1, 0.1, "block0.conv0 changes by 10% from one checkpoint to the next."),
    ],
)
def test_layers_that_change_alike_or_not_at_all(layers: int, change: float, sentence: str) -> None:
    changes = example(layers, 3)
    for layer in changes.layers:
        layer.figures["ratio_l1"][:] = change
    assert sentence in statements(changes)


def test_where_nothing_moves_nothing_has_stopped_and_nothing_has_not() -> None:
    changes = example(4, 8)
    for layer in changes.layers:
        layer.figures["ratio_l1"][:] = 0
    changes = analysed(changes, Analysis())
    assert "No layer changes at all." in statements(changes)
    assert not any("stopped" in statement for statement in statements(changes))
    assert stopped_title(changes) == "No layer moves, so none can be told to have stopped"
