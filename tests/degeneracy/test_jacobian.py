from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.degeneracy.relu_networks import PARAMETERS, batches, inputs_of, relu_network
from tests.reference.jacobian import nullity
from weightatlas.degeneracy.jacobian import jacobian_rank
from weightatlas.errors import NotFiniteError, SourceError


@pytest.mark.parametrize("seed", range(4))
def test_the_rank_is_that_of_the_slow_jacobian(seed: int) -> None:
    network, inputs = relu_network(seed), inputs_of(seed, 60)
    found = jacobian_rank(network, batches(inputs, 7))
    assert found.nullity == nullity(network, inputs)
    assert (found.kind, found.low, found.high, found.limit) == ("exact", found.rank, found.rank, 180)
    assert found.curve is not None
    assert found.curve.examples.tolist() == [1, 2, 4, 8, 16, 32, 60]
    for examples, rank in zip(found.curve.examples.tolist(), found.curve.ranks.tolist(), strict=True):
        assert PARAMETERS - rank == nullity(network, inputs[:examples])
    np.testing.assert_array_equal(found.curve.limits, 3 * found.curve.examples)
    np.testing.assert_array_equal(found.curve.nullities, PARAMETERS - found.curve.ranks)


@pytest.mark.parametrize("seed", range(3))
def test_sums_of_columns_have_the_same_rank_at_every_size(seed: int) -> None:
    network, inputs = relu_network(seed, (6, 40, 3)), inputs_of(seed, 10).repeat(2, 1)
    whole = jacobian_rank(network, batches(inputs))
    summed = jacobian_rank(network, batches(inputs, 6), limit=60)
    assert whole.factor is not None
    assert summed.factor is None, "columns were summed"
    assert whole.rank is not None
    assert whole.rank < 60, "there is something to be missed"
    assert summed.rank == whole.rank
    assert summed.curve is not None
    assert whole.curve is not None
    np.testing.assert_array_equal(summed.curve.ranks, whole.curve.ranks)


@pytest.mark.parametrize("width", [1, 3])
def test_combined_rows_give_the_rank_where_they_span_the_others(width: int) -> None:
    """A deep linear network: the rank is that of the one matrix, however many numbers there are."""
    network = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in ((6, 20), (20, 20), (20, width))))
    found = jacobian_rank(network, batches(inputs_of(0, 300), 11), limit=100)
    assert found.kind == "estimate"
    assert found.rank == 6 * width
    assert (found.low, found.high) == (6 * width, 6 * width)


def test_combined_rows_that_do_not_span_the_others_only_bound_the_rank() -> None:
    network, inputs = relu_network(0), inputs_of(0, 1000)
    exact = jacobian_rank(network, batches(inputs), curve=False)
    found = jacobian_rank(network, batches(inputs), limit=100)
    assert found.rank is None
    assert found.nullity is None
    assert exact.rank is not None
    assert found.low <= exact.rank <= found.high


def test_a_linear_network_has_the_rank_of_its_matrix() -> None:
    network = relu_network(0, (5, 7, 4))
    network = nn.Sequential(network[0], network[2])
    assert jacobian_rank(network, batches(inputs_of(0, 200, width=5))).rank == 5 * 4
    assert jacobian_rank(network, batches(inputs_of(0, 200, width=5, rank=2))).rank == 2 * 4


def test_no_rank_is_above_what_the_data_allow() -> None:
    found = jacobian_rank(relu_network(0), batches(inputs_of(0, 1)))
    assert (found.limit, found.rank, found.nullity) == (3, 3, PARAMETERS - 3)


def test_the_order_and_the_batches_do_not_matter() -> None:
    network, inputs = relu_network(5), inputs_of(5, 100)
    shuffled = inputs[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    found = [jacobian_rank(network, batches(one, size)) for one, size in ((inputs, 100), (inputs, 3), (shuffled, 50))]
    assert len({one.rank for one in found}) == 1
    for one in found:
        np.testing.assert_allclose(one.singular_values, found[0].singular_values, atol=1e-12)


def test_the_network_stays_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)).train()
    before, generator = copy.deepcopy(network.state_dict()), torch.random.get_rng_state()
    found = jacobian_rank(network, batches(inputs_of(0, 50).float()))
    assert found.nullity == nullity(network, inputs_of(0, 50).float()), "measured in evaluation mode"
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state())


def test_a_dead_network_has_rank_0() -> None:
    network = relu_network(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert jacobian_rank(network, batches(inputs_of(0, 20))).rank == 0


def test_single_precision_raises_the_tolerance_to_its_rounding() -> None:
    network, inputs = relu_network(0), inputs_of(0, 1000)
    single = jacobian_rank(network, batches(inputs), dtype=torch.float32, curve=False)
    assert single.tolerance > 1e-6
    assert single.rank == jacobian_rank(network, batches(inputs), curve=False).rank


def test_hostile_input_says_what_is_wrong() -> None:
    network, inputs = relu_network(0), inputs_of(0, 10)
    broken = inputs.clone()
    broken[3, 2] = torch.nan
    with pytest.raises(NotFiniteError, match="not finite"):
        jacobian_rank(network, batches(broken))
    with pytest.raises(SourceError, match=r"cannot take inputs of float64 \[1, 5\]"):
        jacobian_rank(network, batches(inputs[:, :5]))
    with pytest.raises(ValueError, match="no example"):
        jacobian_rank(network, [])
    with pytest.raises(ValueError, match="tolerance"):
        jacobian_rank(network, batches(inputs), tolerance=0)
    with pytest.raises(ValueError, match="requires a gradient"):
        jacobian_rank(network.requires_grad_(requires_grad=False), batches(inputs))
