from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.connectivity.test_barrier import batches, states
from tests.reference import barrier as reference
from weightatlas.connectivity.layer_groups import layer_groups
from weightatlas.connectivity.scoring.hybrids import Hybrids
from weightatlas.connectivity.scoring.scored_lines import Conditions, ScoredLine, Scorer

NONE, ALL = (0.0,) * 5, (1.0,) * 5


def made(*, recalibrate: str | None = None) -> tuple[Hybrids, Scorer]:
    model, a, b = states()
    scorer = Scorer(model, batches(6, 5), Conditions(recalibrate=recalibrate))  # type: ignore[arg-type]
    return Hybrids(scorer, a, b, list(layer_groups(model).values())), scorer


def test_each_group_is_at_its_own_share_whatever_was_scored_before() -> None:
    model, a, b = states()
    hybrids, _ = made()
    groups = list(layer_groups(model).values())
    for shares in ((0.5, 0.0, 0.0, 0.0, 0.0), (0.0, 0.25, 0.0, 0.0, 1.0), (1.0, 1.0, 0.0, 1.0, 1.0), NONE):
        mixed = dict(a)
        for share, names in zip(shares, groups, strict=True):
            mixed = reference.between(mixed, b, share, names)
        expected, _ = reference.loss_and_error(reference.with_state(model, mixed), batches(6, 5))
        assert hybrids.score(NONE, shares, 1).losses.mean() == pytest.approx(expected, rel=1e-10)


def test_the_same_network_is_scored_once_from_whichever_side_it_is_reached() -> None:
    hybrids, _ = made()
    half = (1.0, 1.0, 0.0, 0.0, 0.0)
    one = hybrids.score(NONE, half, 1)
    assert hybrids.score(ALL, half, 1) is one
    assert hybrids.score(half, NONE, 0) is one
    assert hybrids.score(NONE, ALL, 0.3) is hybrids.score(ALL, NONE, 0.7)
    assert hybrids.scored == 2


def test_groups_that_do_not_differ_do_not_count() -> None:
    model, a, b = states()
    groups = list(layer_groups(model).values())
    scorer = Scorer(model, batches(6), Conditions(recalibrate=None))
    same = Hybrids(scorer, a, {**b, **{name: a[name] for name in groups[0]}}, groups)
    assert same.score(NONE, (1.0, 0, 0, 0, 0), 0.5) is same.score(NONE, NONE, 0)
    assert same.scored == 1


@pytest.mark.parametrize("recalibrate", ["batch-norm", "repair"])
def test_recalibrated_the_whole_way_is_the_line(recalibrate: str) -> None:
    _, a, b = states()
    hybrids, scorer = made(recalibrate=recalibrate)
    line = ScoredLine(scorer, a, b)
    for alpha in (0.5, 0.0, 0.25, 1.0):
        np.testing.assert_allclose(hybrids.score(NONE, ALL, alpha).losses, line.score(alpha).losses, rtol=1e-10)


def test_a_shift_is_added_to_either_network_and_leaves_no_trace() -> None:
    model, a, b = states()
    hybrids, _ = made()
    shift = {"8.weight": torch.ones(5, 128).double()}
    for second, base in ((False, a), (True, b)):
        moved = {**base, "8.weight": base["8.weight"] + 0.5 * shift["8.weight"]}
        expected, _ = reference.loss_and_error(reference.with_state(model, moved), batches(6, 5))
        found = hybrids.score_shifted(shift, [0.5], second=second)
        assert found[0].losses.mean() == pytest.approx(expected, rel=1e-10)
    expected, _ = reference.loss_and_error(reference.with_state(model, a), batches(6, 5))
    assert hybrids.score(NONE, NONE, 0).losses.mean() == pytest.approx(expected, rel=1e-10)
