"""Edges and directions are left out as they should be, and the fewest are the fewest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.reference import interactions as reference
from weightatlas.degeneracy.ablated import linear_part, score_with_edges, whole_score
from weightatlas.degeneracy.ablation import edge_ablation, node_ablation
from weightatlas.degeneracy.basis_run import BasisRun
from weightatlas.degeneracy.interaction_basis import InteractionBasis, interaction_basis
from weightatlas.degeneracy.interactions import Interactions, interactions
from weightatlas.evaluation.scoring import ClassesError

POINTS = ["0", "2", "output"]
Data = list[tuple[torch.Tensor, torch.Tensor]]


def sparse_network() -> tuple[nn.Sequential, Data]:
    """Three classes by the largest of three inputs, each through a unit of its own; the other units do nothing."""
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for unit in range(3):
            model.get_parameter("0.weight")[unit, unit] = 1
            model.get_parameter("2.weight")[unit, unit] = 1
        model.get_parameter("0.weight")[3:] = 0.01 * torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
        model.get_parameter("2.weight")[:, 3:] = 0.01
        model.get_parameter("0.bias")[:] += 6
    inputs = torch.randn(300, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        targets = model(inputs).argmax(1)
    return model, [(inputs[:200], targets[:200]), (inputs[200:], targets[200:])]


def measured(model: nn.Module, data: Data) -> tuple[InteractionBasis, Interactions]:
    basis = interaction_basis(model, data, POINTS)
    return basis, interactions(model, data, basis)


def run_of(model: nn.Module, data: Data, basis: InteractionBasis) -> BasisRun:
    return BasisRun(model, data, basis, examples=None, dtype=None, device=None)


@pytest.mark.parametrize("first", [0, 1])
def test_edges_are_left_out_one_direction_at_a_time(first: int) -> None:
    model, data = sparse_network()
    basis, _ = measured(model, data)
    run = run_of(model, data, basis)
    source, target = run.pairs[first]
    mask = np.random.default_rng(0).random((target.kept + 1, source.kept + 1)) < 0.5
    found = score_with_edges(run, source, target, mask, "loss")
    inputs, targets = (torch.cat(parts) for parts in zip(*data, strict=True))
    with torch.no_grad():
        given, part = (inputs, model[:2]) if first == 0 else (model[:2](inputs), model[2])
        values = reference.with_edges(part, given, source, target, mask.astype(float))
        slow = nn.functional.cross_entropy(model[2](values) if first == 0 else values, targets)
    assert found == pytest.approx(float(slow), rel=1e-10)


def test_a_linear_layer_alone_is_told_from_more() -> None:
    model, data = sparse_network()
    basis, _ = measured(model, data)
    run = run_of(model, data, basis)
    first, second = (linear_part(run, *ends) for ends in run.pairs)
    assert first is None  # although every unit is on for these data, a ReLU is between
    assert second is not None


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_all_edges_are_the_network_itself(metric: str) -> None:
    model, data = sparse_network()
    basis, _ = measured(model, data)
    run = run_of(model, data, basis)
    whole = whole_score(run, metric)  # type: ignore[arg-type]
    for source, target in run.pairs:
        mask = np.ones((target.kept + 1, source.kept + 1), dtype=np.bool_)
        assert score_with_edges(run, source, target, mask, metric) == pytest.approx(whole, abs=1e-9)  # type: ignore[arg-type]


def test_the_number_needed_is_enough_one_less_is_not_and_the_mask_has_just_these() -> None:
    model, data = sparse_network()
    basis, acting = measured(model, data)
    run = run_of(model, data, basis)
    for one, edges, ends in zip(edge_ablation(model, data, basis, acting), acting.edges, run.pairs, strict=True):
        assert one.needed is not None
        assert one.base == 1.0
        inner, strengths = one.mask[1:, 1:], edges.strengths[1:, 1:]
        assert inner.sum() == one.needed <= one.total == strengths.size
        assert one.mask[:, 0].all()
        assert one.floor == strengths[inner].min() >= strengths[~inner].max(initial=0)
        assert score_with_edges(run, *ends, one.mask, "accuracy") >= 0.999
        less = one.mask.copy()
        less[1:, 1:] &= strengths > one.floor
        assert score_with_edges(run, *ends, less, "accuracy") < 0.999
        kept = dict(one.curve.tolist())
        assert kept[one.needed] >= 0.999 > kept[one.needed - 1]
        assert kept[one.total] == 1.0


def test_three_threads_need_three_edges() -> None:
    model, data = sparse_network()
    basis, acting = measured(model, data)
    found = edge_ablation(model, data, basis, acting, drop=0.05)
    assert found[0].needed is not None
    assert found[0].needed <= 9
    assert [one.needed for one in node_ablation(model, data, basis, drop=0.05)] == [3, 3]


def test_directions_are_left_out_from_the_last() -> None:
    model, data = sparse_network()
    basis, _ = measured(model, data)
    found = node_ablation(model, data, basis)
    assert [one.point for one in found] == ["0", "2"]
    for one in found:
        assert one.needed is not None
        kept = dict(one.curve.tolist())
        assert kept[one.needed] >= 0.999 > kept[one.needed - 1]
        assert kept[one.total] == one.base == 1.0
        assert kept[0] < 0.6  # a constant tells no classes apart


def test_the_loss_can_be_kept_instead() -> None:
    model, data = sparse_network()
    basis, acting = measured(model, data)
    strict, loose = (edge_ablation(model, data, basis, acting, metric="loss", drop=drop)[0] for drop in (1e-4, 0.3))
    assert strict.needed is not None
    assert loose.needed is not None
    assert strict.needed > loose.needed
    assert dict(strict.curve.tolist())[strict.needed] <= strict.base + 1e-4


def test_a_basis_that_has_lost_what_counts_says_so() -> None:
    model, data = sparse_network()
    basis, acting = measured(model, data)
    first = basis.points[0]
    cut = first.to_basis.copy(), first.from_basis.copy()
    cut[0][:, 1], cut[1][1] = 0, 0
    poor = replace(basis, points=(replace(first, to_basis=cut[0], from_basis=cut[1]), *basis.points[1:]))
    found = edge_ablation(model, data, poor, acting)[0]
    assert found.needed is None
    assert found.mask[1:].all()
    assert node_ablation(model, data, poor)[0].needed is None


def test_bad_arguments_are_named() -> None:
    model, data = sparse_network()
    basis, acting = measured(model, data)
    with pytest.raises(ValueError, match="drop is 0 or more"):
        edge_ablation(model, data, basis, acting, drop=-1)
    with pytest.raises(ValueError, match="metric"):
        node_ablation(model, data, basis, metric="top5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other points"):
        edge_ablation(model, data, basis, replace(acting, edges=acting.edges[:1]))
    with pytest.raises(ValueError, match="two points"):
        node_ablation(model, data, replace(basis, points=basis.points[:1]))
    with pytest.raises(ClassesError, match="int64"):
        node_ablation(model, [(inputs, torch.zeros(len(inputs))) for inputs, _ in data], basis)
