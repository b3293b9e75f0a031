from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from tests.degeneracy.relu_networks import batches, inputs_of, relu_network, weights
from weightatlas.degeneracy import union
from weightatlas.degeneracy.directions import SOURCES, LayerFreedom
from weightatlas.degeneracy.ranking.free_directions import FreeDirections, free_directions
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.union import rank_of_rows, sparse_rows, union_rank
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.progress import silent


def found_in(seed: int) -> tuple[ParameterMap, FreeDirections]:
    """A network in which all kinds overlap: dependent, unread, and always-on units, on data of low rank."""
    model = relu_network(seed)
    first, second, _ = weights(model)
    first[1], first[2] = 2 * first[0], first[0].abs()
    second[:, 3] = 0
    network = ParameterMap(model)
    held = HeldBatches(batches(inputs_of(seed, 60, rank=4).abs()))
    return network, free_directions(network, held, tolerance=1e-9, positions=1000, progress=silent)


@pytest.mark.parametrize("seed", range(4))
def test_the_closed_form_is_the_rank_of_all_vectors(seed: int) -> None:
    network, found = found_in(seed)
    rows = torch.cat(list(found.rows(network)))
    rows = rows / rows.norm(dim=1, keepdim=True)
    together = union_rank(tuple(found.freedoms.values()), found.others)
    assert together.total == int(torch.linalg.matrix_rank(rows, rtol=1e-6))
    assert together.total < len(rows), "kinds overlap"
    for freedom, alone in zip(found.freedoms.values(), together.layers, strict=True):
        own = torch.cat([part for source in SOURCES for part in freedom.vectors(source, network.size)])
        assert alone == int(torch.linalg.matrix_rank(own, rtol=1e-6))


def test_too_many_directions_leave_a_lower_bound_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = found_in(0)
    freedoms = tuple(found.freedoms.values())
    whole = union_rank(freedoms, found.others)
    monkeypatch.setattr(union, "MOST", 3)
    few = union_rank(freedoms, found.others)
    assert few.total == sum(whole.layers) < whole.total
    assert "too many" in few.kind
    monkeypatch.setattr(union, "MOST", 8192)
    monkeypatch.setattr(union, "HELD", 10)
    assert "is large" in union_rank(freedoms, found.others).kind


def test_directions_become_rows_of_length_1_in_the_order_of_parameters() -> None:
    network = ParameterMap(relu_network(0))
    name = "2.weight"
    change = torch.zeros(8, 8)
    change[0, 1], change[7, 7] = 3.0, 4.0
    rows = sparse_rows([{name: change}, {name: torch.zeros(8, 8)}], network)
    assert rows.shape == (1, network.size)
    assert rows.toarray()[0, network.columns()[name]].reshape(8, 8)[7, 7] == 0.8
    assert rows.nnz == 2


def test_rows_that_differ_by_rounding_are_one() -> None:
    near = np.array([[1.0, 0.0], [1.0, 1e-9]])
    assert rank_of_rows(sparse.csr_array(near)) == 1
    assert rank_of_rows(sparse.csr_array((0, 2))) == 0


def test_no_layer_and_no_direction_is_none() -> None:
    assert union_rank((), sparse.csr_array((0, 4))).total == 0
    index = torch.arange(4).reshape(1, 2, 2)
    none = (torch.zeros(2, 0, dtype=torch.float64),)
    assert union_rank((LayerFreedom("layer", index, none, none),), sparse.csr_array((0, 4))).total == 0
