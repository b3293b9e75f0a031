from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.degeneracy.relu_networks import (
    PARAMETERS,
    SCALINGS,
    batches,
    inputs_of,
    live_network,
    relu_network,
    weights,
)
from tests.reference.jacobian import nullity
from weightatlas.degeneracy.counts import LIMITED, Counts, Exact, counts
from weightatlas.degeneracy.ranking.free_directions import FreeDirections, free_directions
from weightatlas.errors import NotFiniteError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

FREE = 1e-8


def counted(network: nn.Module, inputs: torch.Tensor, **options: Any) -> Counts:  # noqa: ANN401 - of several kinds
    return counts(network, batches(inputs), **{"curve": False} | options)


@pytest.mark.parametrize("examples", [50, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_no_union_is_above_the_exact_number_and_every_direction_is_free(seed: int, examples: int) -> None:
    network, inputs = relu_network(seed), inputs_of(seed, examples)
    found = counted(network, inputs)
    assert found.exact is not None
    assert found.gap is not None
    assert found.union <= found.exact
    assert found.gap == found.exact - found.union
    assert found.largest_change < FREE
    assert found.checked >= found.union >= SCALINGS
    assert found.limit == 3 * examples
    kinds = (found.activations, found.gradients, found.synchronised, found.conditional)
    assert max(kind for kind in kinds if kind is not None) <= found.union
    for layer in found.layers:
        assert layer.union is not None
        assert layer.exact is not None
        assert layer.union <= layer.exact


@pytest.mark.parametrize("seed", [0, 7])
def test_the_exact_number_is_that_of_the_slow_jacobian(seed: int) -> None:
    network, inputs = relu_network(seed), inputs_of(seed, 50)
    assert counted(network, inputs).exact == nullity(network, inputs)


@pytest.mark.parametrize("rank", [4, 5, 6])
@pytest.mark.parametrize("seed", [0, 100, 200])
def test_inputs_of_low_rank_free_what_theory_says(seed: int, rank: int) -> None:
    found = counted(*live_network(rank, seed=seed))
    assert found.activations == 8 * (6 - rank)
    assert found.exact == found.union == SCALINGS + 8 * (6 - rank)
    assert not found.data_limited


@pytest.mark.parametrize("seed", range(5))
def test_units_that_are_always_on_leave_the_rank_of_one_matrix(seed: int) -> None:
    network = relu_network(seed)
    for weight in weights(network):
        weight.abs_()
    found = counted(network, inputs_of(seed, 50).abs())
    assert found.exact == PARAMETERS - 6 * 3
    assert found.union == found.exact
    assert (found.rescalings, found.synchronised) == (SCALINGS, PARAMETERS - 6 * 3)


def proportional(network: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    first = weights(network)[0]
    first[1], first[2] = 2 * first[0], 0.5 * first[0]
    return inputs


def duplicated(network: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    first = weights(network)[0]
    first[5] = first[3]
    return inputs


def unread(network: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    weights(network)[1][:, :2] = 0
    return inputs


def zeroed(network: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    weights(network)[0][4] = 0
    return inputs


PLANTED: list[tuple[Callable[[nn.Sequential, torch.Tensor], torch.Tensor], int, dict[str, int]]] = [
    (proportional, 16, {"activations": 16, "gradients": 0, "synchronised": SCALINGS - 3 + 9}),
    (duplicated, 8, {"activations": 8, "gradients": 0, "synchronised": SCALINGS - 2 + 4}),
    (unread, 10, {"activations": 0, "gradients": 12, "conditional": 12, "synchronised": SCALINGS}),
    (zeroed, 8 + 6 - 1, {"activations": 8}),
]


@pytest.mark.parametrize(("plant", "more", "kinds"), PLANTED)
def test_what_is_planted_is_counted(
    plant: Callable[[nn.Sequential, torch.Tensor], torch.Tensor], more: int, kinds: dict[str, int]
) -> None:
    """Two units that nobody reads free 6 numbers each, one of which is their scaling; dependent ones 8 readers each."""
    network, inputs = live_network()
    assert counted(network, inputs).exact == SCALINGS
    found = counted(network, plant(network, inputs))
    assert {name: getattr(found, name) for name in kinds} == kinds
    assert found.exact == nullity(network, inputs)
    assert found.union == found.exact == SCALINGS + more
    assert found.largest_change < FREE


def test_units_that_fire_together_free_the_square_of_their_number() -> None:
    network, inputs = live_network()
    inputs = inputs.abs()
    base = counted(network, inputs)
    weights(network)[0][:3].abs_()
    found = counted(network, inputs)
    assert base.synchronised == base.rescalings == SCALINGS
    assert found.rescalings == SCALINGS
    assert found.layers[0].synchronised == 8 - 3 + 9
    assert found.exact is not None
    assert found.union <= found.exact
    assert found.largest_change < FREE


def test_units_that_never_fire_are_counted_once() -> None:
    """Their 6 inputs and 8 readers; their scaling is among these."""
    network, inputs = live_network()
    inputs = inputs.abs()
    base = counted(network, inputs)
    changed = copy.deepcopy(network)
    first = weights(changed)[0]
    first[0] = -first[0].abs()
    found = counted(changed, inputs)
    assert base.exact is not None
    assert (found.activations, found.gradients) == (8, 6)
    assert found.union == found.exact == nullity(changed, inputs)


def test_too_few_data_are_said_to_limit_the_count() -> None:
    network = relu_network(0)
    few, many = counted(network, inputs_of(0, 20)), counted(network, inputs_of(0, 1000))
    assert few.rank == few.limit == 60
    assert few.data_limited
    assert many.rank is not None
    assert not many.data_limited
    assert many.rank <= LIMITED * many.limit
    one = counted(network, inputs_of(0, 1))
    assert (one.rank, one.exact, one.data_limited) == (3, PARAMETERS - 3, True)
    assert one.exact is not None
    assert one.union <= one.exact


@pytest.mark.parametrize("limit", [20, 100])
def test_without_all_of_the_jacobian_the_union_is_the_same(limit: int) -> None:
    network, inputs = relu_network(2), inputs_of(2, 50)
    whole, found = counted(network, inputs), counted(network, inputs, exact_limit=limit)
    assert (found.union, found.union_kind) == (whole.union, found.union_kind)
    assert found.union_kind != whole.union_kind
    assert whole.exact is not None
    assert found.exact_low <= whole.exact <= found.exact_high
    assert found.largest_change < FREE
    assert found.exact_kind == "estimate" or found.exact is None
    absent = counted(network, inputs, exact=False)
    assert (absent.exact, absent.gap, absent.rank, absent.union) == (None, None, None, whole.union)
    assert "not asked" in absent.exact_kind


def test_a_sample_of_positions_that_is_too_small_claims_nothing_that_is_not_free() -> None:
    network, inputs = relu_network(2), inputs_of(2, 1000)
    whole = counted(network, inputs)
    found = counted(network, inputs, positions=6)
    assert whole.conditional is not None
    assert found.exact is not None
    assert found.union <= found.exact
    assert found.largest_change < FREE
    assert any("by activations where units are live were claimed" in note for note in found.notes)


@pytest.mark.parametrize("exact", ["auto", False])
def test_a_claim_that_is_not_free_is_in_no_figure(exact: Exact, monkeypatch: pytest.MonkeyPatch) -> None:
    network, inputs = live_network(4)
    true = counted(network, inputs, exact=exact)

    def claimed(*arguments: Any, **options: Any) -> FreeDirections:  # noqa: ANN401 - those of free_directions
        found = free_directions(*arguments, **options)
        false = torch.eye(8, 3, dtype=torch.float64)
        second = dataclasses.replace(found.freedoms["2"], inputs=(false,), outputs=(false,))
        return dataclasses.replace(found, freedoms={**found.freedoms, "2": second})

    monkeypatch.setitem(counts.__globals__, "free_directions", claimed)
    found = counted(network, inputs, exact=exact)
    assert (found.union, found.exact, found.exact_low) == (true.union, true.exact, true.exact_low)
    assert (true.union, true.exact_low) == (SCALINGS + 16, SCALINGS + 16)
    assert found.activations == true.activations == 16
    assert found.gradients == true.gradients == 0
    assert (found.layers[1].activations, found.layers[1].gradients) == (None, None)
    assert found.layers[1].union == true.layers[1].union
    assert found.largest_change < FREE
    assert [note.partition(" were")[0] for note in found.notes] == [
        "2: 24 directions by dependent activations",
        "2: 24 directions by dependent gradients",
    ]


def test_where_nothing_is_claimed_nothing_is_followed() -> None:
    found = counted(nn.Linear(3, 2), inputs_of(0, 20, width=3), exact=False)
    assert (found.union, found.checked, found.largest_change, found.exact_low) == (0, 0, 0.0, 0)


def test_too_few_probes_claim_nothing_that_is_not_free() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4))
    inputs = inputs_of(0, 8)
    true, found = (counted(network, inputs, probes=probes, exact=False) for probes in (None, 1))
    assert true.gradients == 0
    assert found.union <= true.union
    assert found.largest_change < FREE


@pytest.mark.parametrize("limit", [4096, 130])
def test_outputs_that_are_bound_to_each_other_are_limited_by_less(limit: int) -> None:
    """A log-softmax takes one number of each example: 112 of 136 weights are there, 2 examples fix 4 of them."""
    network = relu_network(0).append(nn.LogSoftmax(1))
    few, many = (counted(network, inputs_of(0, examples), exact_limit=limit) for examples in (40, 100))
    assert (few.rank, few.limit, few.data_limited) == (80, 120, True)
    if many.rank is not None:
        assert (many.rank, many.exact, many.union, many.data_limited) == (112, SCALINGS + 8, SCALINGS + 8, False)


def test_convolutions_norms_and_attention_are_counted_and_followed() -> None:
    torch.manual_seed(0)
    windows = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )
    images = torch.randn(150, 3, 6, 6)
    images[:, 2] = images[:, 1]
    found = counted(windows, images)
    assert found.activations == 6 * 9, "two channels are the same"
    assert found.rescalings == 12
    assert found.norms == 2 * 6, "what a norm scales and shifts, the layer before it scales and shifts"
    assert found.gap == 0
    assert found.largest_change < FREE
    assert [layer.layer for layer in found.layers if layer.skipped is None] == ["0", "3", "6"]

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.out = nn.Linear(8, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            mixed: torch.Tensor = self.attention(inputs, inputs, inputs)[0]
            answer: torch.Tensor = self.out(torch.tanh(mixed).mean(1))
            return answer

    found = counted(Attending(), torch.randn(150, 4, 8))
    assert found.heads == 2 * (16 + 16) + 8 + 8
    assert found.union == found.exact == found.heads, "nothing else is free"
    assert found.largest_change < FREE


def test_networks_without_rectifiers_have_no_such_kind() -> None:
    found = counted(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)), inputs_of(0, 100))
    assert (found.synchronised, found.rescalings, found.heads, found.linear, found.norms) == (None,) * 5
    assert (found.union, found.exact) == (0, 0)


def test_weights_that_are_not_trained_or_computed_are_left_out_with_a_reason() -> None:
    network = relu_network(0)
    nn.Module.requires_grad_(network[0], requires_grad=False)
    nn.utils.parametrizations.weight_norm(network[2])
    found = counted(network, inputs_of(0, 200))
    reasons = {layer.layer: layer.skipped for layer in found.layers}
    assert reasons["0"] == "0.weight is not trained"
    assert "computed from parameters" in str(reasons["2"])
    assert reasons["4"] is None
    assert found.exact is not None
    assert found.union <= found.exact


def test_the_network_and_its_mode_stay() -> None:
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    before, generator = copy.deepcopy(network.state_dict()), torch.random.get_rng_state()
    first, again = (counted(network, inputs_of(0, 80).float()) for _ in range(2))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state())
    assert (first.union, first.exact, first.largest_change) == (again.union, again.exact, again.largest_change)
    assert first.exact == nullity(network, inputs_of(0, 80).float())


def test_the_curve_ends_at_the_whole() -> None:
    found = counted(relu_network(1), inputs_of(1, 100), curve=True)
    assert found.curve is not None
    assert int(found.curve.ranks[-1]) == found.rank
    assert (np.diff(found.curve.ranks) >= 0).all()


def test_hostile_input_says_what_is_wrong() -> None:
    network, inputs = relu_network(0), inputs_of(0, 20)
    broken = inputs.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(NotFiniteError):
        counted(network, broken)
    with pytest.raises(SourceError, match="cannot take inputs"):
        counted(network, inputs[:, :4])
    with pytest.raises(ValueError, match="no example"):
        counts(network, [])
    with pytest.raises(ValueError, match="positions"):
        counted(network, inputs, positions=0)
    with pytest.raises(ValueError, match="requires a gradient"):
        counted(network.requires_grad_(requires_grad=False), inputs)


def test_the_conditional_kind_says_what_half_of_the_positions_give() -> None:
    network, inputs = relu_network(2), inputs_of(2, 1000)
    few, many = (counted(network, inputs, positions=positions).layers[1] for positions in (10, 600))
    assert (few.positions, many.positions) == (20, 1000)
    assert few.conditional_half is not None
    assert many.conditional is not None
    assert few.conditional_half > many.conditional, "so few positions are not enough, and say so"
    assert many.conditional_half == many.conditional


def test_near_synchrony_is_given_beside() -> None:
    network, inputs = live_network()
    weights(network)[0][1] = weights(network)[0][0] * 1.5
    weights(network)[0][1, 0] += 0.02
    found = counted(network, inputs, synchrony=0.1)
    assert any(len(block) > 1 for block in found.synchrony[0].near_blocks)
    assert found.synchronised == found.rescalings


def test_half_of_the_positions_frees_no_less_than_all_of_them() -> None:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model.get_parameter("0.bias")[2] = -1e3  # a unit that is never live: all of its seven weights are free
    inputs = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    layer = counts(model, [(inputs, inputs)], positions=100, curve=False).layers[0]
    assert (layer.conditional, layer.conditional_half) == (7, 7)


def test_units_without_weights_have_no_scalings() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    inputs = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    found = counts(model, [(inputs, inputs)])
    assert (found.synchronised, found.rescalings) == (0, 0)
