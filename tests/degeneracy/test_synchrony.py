from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.degeneracy.wired_networks import made
from weightatlas.degeneracy.block_directions import block_directions
from weightatlas.degeneracy.synchrony import Synchrony, synchrony, undecided_notes
from weightatlas.errors import SourceError

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def batches(inputs: torch.Tensor, size: int) -> Batches:
    return [(part, torch.zeros(len(part))) for part in torch.split(inputs, size)]


def one_layer(weights: list[list[float]], nonlinearity: nn.Module | None = None) -> nn.Sequential:
    first = nn.Linear(len(weights[0]), len(weights), bias=False)
    model = nn.Sequential(first, nonlinearity or nn.ReLU(), nn.Linear(len(weights), 2)).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor(weights))
    return model


def listed(found: Synchrony) -> list[list[int]]:
    return [block.tolist() for block in found.blocks]


def slow_blocks(patterns: torch.Tensor) -> list[list[int]]:
    """Units (points, units) by equal columns, compared one with the other."""
    blocks: list[list[int]] = []
    for unit in range(patterns.shape[1]):
        own = next((block for block in blocks if torch.equal(patterns[:, block[0]], patterns[:, unit])), None)
        blocks.append([unit]) if own is None else own.append(unit)
    return blocks


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("examples", [1, 3, 40])
def test_blocks_are_those_of_a_slow_comparison_however_the_data_are_cut(size: int, examples: int) -> None:
    torch.manual_seed(examples)
    model = nn.Sequential(nn.Linear(3, 20), nn.ReLU(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))
    inputs = torch.randn(40, 3)
    found = synchrony(model, batches(inputs, size), examples=examples)
    first = model[0](inputs[:examples])
    second = model[2](first.relu())
    assert [listed(one) for one in found] == [slow_blocks(first > 0), slow_blocks(second > 0)]
    assert np.allclose(found[0].firing, (first > 0).double().mean(0))
    assert found[0].directions == sum(len(block) ** 2 for block in listed(found[0]))
    assert found[0].excess == found[0].directions - 20


def test_positions_of_maps_are_points() -> None:
    model, inputs = made("residual")
    (found,) = (one for one in synchrony(model, batches(inputs, 3)) if one.skipped is None)
    assert found.positions == 4 * 25
    norm, first = model.get_submodule("norm"), model.get_submodule("first")
    bits = (norm(first(inputs)) > 0).movedim(1, -1).reshape(-1, 5)
    assert listed(found) == slow_blocks(bits)


def test_one_example_has_two_blocks() -> None:
    model, inputs = made("mlp")
    for found in synchrony(model, batches(inputs[:1], 1)):
        assert len(found.blocks) == 2
        assert found.directions == sum(len(block) ** 2 for block in found.blocks)


def test_dead_always_on_and_undecided_units() -> None:
    model = one_layer([[1.0, 0.0], [-1.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
    inputs = torch.rand(30, 2, dtype=torch.float64) + 0.1
    inputs[:, 1] = 0
    (found,) = synchrony(model, batches(inputs, 8))
    assert found.always_on.tolist() == [0, 2]
    assert found.dead.tolist() == [1, 3]
    assert listed(found) == [[0, 2], [1], [3]]
    assert (found.undecided, found.at_zero.tolist()) == (30, [3])


@pytest.mark.parametrize("nonlinearity", [nn.ReLU(), nn.LeakyReLU()])
def test_units_that_are_exactly_0_mix_only_with_those_that_are_0_there_too(nonlinearity: nn.Module) -> None:
    weights = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]
    model = one_layer(weights, nonlinearity)
    inputs = torch.rand(30, 3, dtype=torch.float64) + 0.1
    inputs[:, 1:] *= -1
    inputs[:9, 1:] = 0
    inputs[9:12, 2] = 0
    for size in (4, 30):
        (found,) = synchrony(model, batches(inputs, size))
        assert listed(found) == [[0], [1, 2], [3]]
        assert (found.undecided, found.at_zero.tolist()) == (9 * 3 + 3, [1, 2, 3])
    parameters = {name: one.detach() for name, one in model.named_parameters()}
    before = model(inputs).detach()
    for block, is_free in (([1, 2], True), ([0, 1], False)):
        moved = []
        for direction in block_directions(parameters, found.rectified, block, model):
            for step in (1e-6, -1e-6):
                changed = {name: one + step * direction.get(name, 0) for name, one in parameters.items()}
                moved.append(float((functional_call(model, changed, (inputs,)) - before).abs().max()))
        assert (max(moved) < 1e-11) is is_free


def test_a_note_for_each_layer_with_inputs_of_exactly_0() -> None:
    first = nn.Linear(3, 4)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    nn.init.zeros_(first.bias)
    found = synchrony(model, batches(torch.zeros(5, 3, dtype=torch.float64), 2))
    (note,) = undecided_notes(found)
    assert note.startswith("0: 20 of the numbers that its relu is given are exactly 0")
    assert undecided_notes(synchrony(model, batches(torch.rand(5, 3, dtype=torch.float64), 2))) == ()


def test_leaky_units_that_are_never_positive_are_not_dead() -> None:
    model = one_layer([[1.0], [-1.0]], nn.LeakyReLU())
    (found,) = synchrony(model, batches(torch.rand(5, 1, dtype=torch.float64), 5))
    assert found.dead.tolist() == []
    assert listed(found) == [[0], [1]]


def test_permuting_units_permutes_blocks() -> None:
    torch.manual_seed(3)
    weights = torch.randn(6, 2)
    weights[4] = 3 * weights[1]
    order = torch.randperm(6)
    inputs = torch.randn(200, 2, dtype=torch.float64)
    (one,) = synchrony(one_layer(weights.tolist()), batches(inputs, 50))
    (other,) = synchrony(one_layer(weights[order].tolist()), batches(inputs, 50))
    assert {frozenset(block) for block in listed(one)} == {frozenset(order[block].tolist()) for block in other.blocks}
    assert [1, 4] in listed(one)


def test_near_blocks_hold_what_differs_seldom_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 8, generator=generator, dtype=torch.float64)
    weights = torch.randn(6, 8, generator=generator)
    weights[5] = weights[0] + 0.02 * weights[1]
    (exact,) = synchrony(one_layer(weights.tolist()), batches(inputs, 500))
    assert exact.near_blocks == ()
    assert len(exact.blocks) == 6
    (near,) = synchrony(one_layer(weights.tolist()), batches(inputs, 500), tolerance=0.05, sample=1000)
    assert [block.tolist() for block in near.near_blocks] == [[0, 5], [1], [2], [3], [4]]
    assert near.sampled == 1000
    assert near.directions == 6


def test_a_tolerance_of_one_joins_all_and_results_repeat() -> None:
    model, inputs = made("mlp")
    first, again = (synchrony(model, batches(inputs, 2), tolerance=1.0, sample=3, seed=4) for _ in range(2))
    assert [block.tolist() for block in first[0].near_blocks] == [list(range(8))]
    assert [listed(one) for one in first] == [listed(one) for one in again]


def test_values_that_are_not_finite_are_said() -> None:
    model, inputs = made("mlp")
    inputs[1, 2] = float("nan")
    for found in synchrony(model, batches(inputs, 4)):
        assert "not finite" in str(found.skipped)
        assert (found.directions, found.blocks) == (0, ())


def test_a_model_in_training_mode_is_measured_in_evaluation_and_put_back() -> None:
    model, inputs = made("normed")
    wanted = [listed(one) for one in synchrony(model, batches(inputs, 4))]
    model.train()
    assert [listed(one) for one in synchrony(model, batches(inputs, 4))] == wanted
    assert all(module.training for module in model.modules())


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        inner = self.first(inputs)
        return self.second(inner.relu() if bool(inputs.sum() > 0) else inner)  # type: ignore[no-any-return]


def test_branches_that_depend_on_the_data_are_refused() -> None:
    inputs = torch.tensor([[1.0, 1.0], [1.0, 2.0], [-1.0, -2.0], [-1.0, -1.0]])
    with pytest.raises(SourceError, match="differs from one batch to the next"):
        synchrony(Branching(), batches(inputs, 2))


def test_bad_options_and_no_examples() -> None:
    model, inputs = made("mlp")
    with pytest.raises(ValueError, match="tolerance must be 0 to 1"):
        synchrony(model, batches(inputs, 2), tolerance=2)
    with pytest.raises(ValueError, match="no example"):
        synchrony(model, [])


def test_progress_counts_batches() -> None:
    model, inputs = made("mlp")
    told: list[tuple[int, int]] = []
    synchrony(model, batches(inputs, 1), progress=lambda done, total, _: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(one < other for one, other in pairwise(told))


def test_a_first_batch_of_one_example_tells_units_from_examples() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(6, 1), nn.ReLU(), nn.Linear(1, 2)), torch.randn(20, 6)
    (found,) = synchrony(model, [(inputs[:1], torch.zeros(1)), (inputs[1:], torch.zeros(19))])
    (wanted,) = synchrony(model, batches(inputs, 20))
    assert (found.positions, found.directions) == (wanted.positions, wanted.directions) == (20, 1)
    assert found.firing.tolist() == wanted.firing.tolist()
