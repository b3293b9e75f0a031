from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from scipy import sparse
from torch import nn

from tests.degeneracy.relu_networks import batches, inputs_of, live_network, weights
from weightatlas.degeneracy.jacobian import rank_of
from weightatlas.degeneracy.ranking import withdrawing
from weightatlas.degeneracy.ranking.free_directions import FreeDirections, Kind, Shared, free_directions
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.ranking.withdrawing import Withdrawn, withdrawn
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.progress import silent

if TYPE_CHECKING:
    from weightatlas.degeneracy.directions import LayerFreedom

TOLERANCE = 1e-9
LAYER = "2"


def planted_network() -> tuple[ParameterMap, HeldBatches, FreeDirections]:
    """A network with a doubled unit (activations), one that is not read (gradients) and one that never fires."""
    model, inputs = live_network()
    first, second, third = weights(model)
    first[1], first[2] = 2 * first[0], -first[2].abs()
    second[:, 3] = 0
    third[:, 4] = 0
    network, held = ParameterMap(model), HeldBatches(batches(inputs.abs()))
    found = free_directions(network, held, tolerance=TOLERANCE, positions=1000, progress=silent)
    return network, held, found


def tried(network: ParameterMap, held: HeldBatches, found: FreeDirections, *, by_factor: bool) -> Withdrawn:
    steepest = None
    if by_factor:
        rank = rank_of(network, held, curve=False)
        assert rank.factor is not None
        steepest = rank.factor, rank.largest
    return withdrawn(network, held, found, tolerance=TOLERANCE, steepest=steepest)


def false_freedom(freedom: LayerFreedom, kind: Kind, *, share: float) -> LayerFreedom:
    """The same with one more direction of a kind, of which a share is not free."""
    generator = torch.Generator().manual_seed(3)

    def one_more(vectors: torch.Tensor) -> torch.Tensor:
        drawn = torch.randn(len(vectors), 1, generator=generator, dtype=torch.float64)
        drawn -= vectors @ (vectors.mT @ drawn)
        free = vectors[:, :1] if vectors.shape[1] else torch.zeros_like(drawn)
        false = free * (1 - share**2) ** 0.5 + share * drawn / drawn.norm()
        return torch.cat([vectors[:, 1:], false / false.norm()], dim=1)

    if kind == "activations":
        return replace(freedom, inputs=tuple(one_more(one) for one in freedom.inputs))
    if kind == "gradients":
        return replace(freedom, outputs=tuple(one_more(one) for one in freedom.outputs))
    assert freedom.conditional is not None
    first, *others = freedom.conditional
    return replace(freedom, conditional=(one_more(first), *others))


def with_false(found: FreeDirections, network: ParameterMap, kind: Kind, *, share: float = 1.0) -> FreeDirections:
    """The same with a false claim about layer 2."""
    if kind not in {"synchronised", "heads"}:
        freedoms = dict(found.freedoms)
        freedoms[LAYER] = false_freedom(freedoms[LAYER], kind, share=share)
        return replace(found, freedoms=freedoms)
    row = torch.zeros(1, network.size, dtype=torch.float64)
    row[0, network.columns()["2.weight"]] = 64**-0.5
    false = Shared(sparse.csr_array(row.numpy()), (LAYER,))
    if kind == "heads":
        return replace(found, wired={**found.wired, "heads": false})
    rows = sparse.csr_array(sparse.vstack([found.shared.rows, false.rows], format="csr"))
    return replace(found, shared=Shared(rows, (*found.shared.owners, LAYER)))


def figures(found: FreeDirections) -> dict[tuple[str, str], int | None]:
    """Every figure by kind and layer."""
    seen = {
        (kind, layer): freedom.count(kind)
        for layer, freedom in found.freedoms.items()
        for kind in ("activations", "gradients", "conditional")
    }
    seen |= {("synchronised", layer): found.synchronised(layer) for layer in found.rectified}
    return seen | {("heads", layer): found.wired_rank("heads", layer) for layer in found.freedoms}


@pytest.mark.parametrize("by_factor", [False, True])
def test_what_is_free_stays_by_one_combination_of_all(by_factor: bool) -> None:
    network, held, found = planted_network()
    kinds = {claim.kind for claim in found.claims(torch.Generator())}
    assert kinds == {"activations", "gradients", "conditional", "synchronised"}
    kept = tried(network, held, found, by_factor=by_factor)
    assert kept.free is found
    assert kept.count == 1
    assert 0 < kept.largest < 1e-14


@pytest.mark.parametrize("by_factor", [False, True])
@pytest.mark.parametrize("kind", ["activations", "gradients", "conditional", "synchronised", "heads"])
def test_one_false_direction_takes_its_kind_out_of_its_layer_and_nothing_else(kind: Kind, by_factor: bool) -> None:
    network, held, found = planted_network()
    claimed = with_false(found, network, kind)
    before = figures(claimed)
    assert before[kind, LAYER] is not None
    kept = tried(network, held, claimed, by_factor=by_factor)
    assert figures(kept.free) == before | {(kind, LAYER): None}
    assert kept.largest < 1e-14
    (note,) = kept.free.notes[len(claimed.notes) :]
    assert note.startswith("2: ")
    assert "none is counted" in note
    if kind == "synchronised":
        assert kept.free.rescalings(LAYER) is None
        assert kept.free.rescalings() == 8


@pytest.mark.parametrize("share", [1e-3, 1e-6])
@pytest.mark.parametrize("by_factor", [False, True])
def test_a_part_of_one_direction_that_moves_the_outputs_is_enough(share: float, by_factor: bool) -> None:
    network, held, found = planted_network()
    claimed = with_false(found, network, "activations", share=share)
    kept = tried(network, held, claimed, by_factor=by_factor)
    assert kept.free.freedoms[LAYER].count("activations") is None


def test_several_false_claims_are_all_found() -> None:
    network, held, found = planted_network()
    claimed = found
    for kind in ("activations", "conditional", "heads"):
        claimed = with_false(claimed, network, kind)
    kept = tried(network, held, claimed, by_factor=False)
    gone = {("activations", LAYER): None, ("conditional", LAYER): None, ("heads", LAYER): None}
    assert figures(kept.free) == figures(claimed) | gone
    assert len(kept.free.notes) == len(claimed.notes) + 3
    assert kept.free.wired == {}


def test_an_example_beyond_the_first_ones_is_enough() -> None:
    model, inputs = live_network()
    inputs = inputs[:200].clone()
    inputs[:, 2] = inputs[:, 0]
    network = ParameterMap(model)
    found = free_directions(network, HeldBatches(batches(inputs)), tolerance=TOLERANCE, positions=1000, progress=silent)
    assert found.total("activations") == 8
    inputs[-1, 2] += 1e-3
    kept = tried(network, HeldBatches(batches(inputs)), found, by_factor=False)
    assert kept.free.freedoms["0"].count("activations") is None
    assert kept.free.freedoms["2"].count("activations") == 0


def test_first_examples_that_no_weight_acts_on_do_not_make_all_free() -> None:
    network, held, found = planted_network()
    inputs = next(iter(held))[0]
    dead = torch.cat([torch.zeros(150, 6), inputs])
    claimed = with_false(found, network, "gradients")
    kept = tried(network, HeldBatches([(dead, torch.zeros(len(dead)))]), claimed, by_factor=False)
    assert figures(kept.free) == figures(claimed) | {("gradients", LAYER): None}


def test_nothing_is_claimed_and_nothing_followed() -> None:
    network, held = ParameterMap(nn.Linear(3, 2)), HeldBatches(batches(inputs_of(0, 20, width=3)))
    found = free_directions(network, held, tolerance=TOLERANCE, positions=10, progress=silent)
    kept = tried(network, held, found, by_factor=False)
    assert (kept.free, kept.count, kept.largest) == (found, 0, 0.0)


def test_no_more_is_held_at_once_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    network, held, found = planted_network()
    claimed = with_false(with_false(found, network, "activations"), network, "heads")
    whole = tried(network, held, claimed, by_factor=False)
    monkeypatch.setattr(withdrawing, "NUMBERS", 1)
    assert figures(tried(network, held, claimed, by_factor=False).free) == figures(whole.free)
