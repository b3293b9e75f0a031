from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.test_barrier import batches, network, states
from weightatlas.connectivity.scoring.scored_lines import Conditions, ScoredLine, Scorer, recalibration_of
from weightatlas.evaluation.repair import channel_statistics, repair


def test_what_is_recalibrated_follows_from_the_network() -> None:
    assert recalibration_of(network(), "auto") == "batch-norm"
    assert recalibration_of(network(norm=False), "auto") is None
    assert recalibration_of(network(norm=False), "repair") == "repair"
    assert recalibration_of(network(), None) is None


def test_between_the_ends_repair_aims_at_the_blend_of_both_ends_own_statistics() -> None:
    model, a, b = states(norm=False)
    data = batches(9)
    line = ScoredLine(Scorer(model, data, Conditions(recalibrate="repair")), a, b)
    first, second = (channel_statistics(model, state, data) for state in (a, b))
    goals = {path: statistics.blended(second[path], 0.25) for path, statistics in first.items()}
    blended = {name: torch.lerp(a[name], b[name], 0.25) for name in a}
    expected = repair(model, blended, goals, data)
    for name, tensor in line.move_to(0.25).items():
        torch.testing.assert_close(tensor, expected[name])
    for alpha, end in ((0.0, a), (1.0, b)):
        assert all(torch.equal(tensor, end[name]) for name, tensor in line.move_to(alpha).items())


def test_points_do_not_depend_on_those_before_and_the_states_are_left_alone() -> None:
    model, a, b = states()
    kept = {name: tensor.clone() for name, tensor in a.items()}
    scorer = Scorer(model, batches(6, 6), Conditions())
    there = ScoredLine(scorer, a, b)
    values = {alpha: there.score(alpha).losses for alpha in (0.0, 0.5, 1.0)}
    again = ScoredLine(scorer, a, b)
    for alpha in (1.0, 0.0, 0.5):
        np.testing.assert_array_equal(again.score(alpha).losses, values[alpha])
    assert all(torch.equal(tensor, kept[name]) for name, tensor in a.items())
    assert scorer.seconds_evaluating > 0
    assert scorer.seconds_recalibrating > 0


def test_recalibration_data_of_their_own_are_cut_to_the_batches_asked_for() -> None:
    scorer = Scorer(
        network(), batches(6), Conditions(recalibration_data=batches(4, 4, 4, seed=5), recalibration_batches=2)
    )
    assert (scorer.recalibration_batches, scorer.recalibration_examples, scorer.notes) == (2, 8, ())
    plain = Scorer(nn.Flatten(), batches(6), Conditions())
    assert (plain.recalibration, plain.recalibration_batches) == (None, 0)


def test_recalibration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="recalibrate must be auto, batch-norm, repair or None, not 'both'"):
        recalibration_of(network(), "both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no batch-norm statistics"):
        recalibration_of(network(norm=False), "batch-norm")
