from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.degeneracy.relu_networks import batches, inputs_of, relu_network
from tests.reference.jacobian import jacobian
from weightatlas.degeneracy.directions import SOURCES, LayerFreedom, Source
from weightatlas.degeneracy.grams import layer_grams
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.ranking.weight_places import weight_index, why_not


def freedom() -> LayerFreedom:
    """2 groups of 3 units and 4 activations: one null activation in the first, one null gradient in the second."""
    inputs = (torch.eye(4, dtype=torch.float64)[:, :1], torch.zeros(4, 0, dtype=torch.float64))
    outputs = (torch.zeros(3, 0, dtype=torch.float64), torch.full((3, 1), 3**-0.5, dtype=torch.float64))
    more = [inputs[0], torch.eye(4, dtype=torch.float64)[:, :2], inputs[0], *[inputs[1]] * 3]
    return LayerFreedom("layer", torch.arange(24).reshape(2, 3, 4) + 5, inputs, outputs, tuple(more))


def test_kinds_are_counted_and_given_as_so_many_rows() -> None:
    found = freedom()
    assert [found.count(source) for source in SOURCES] == [3, 4, 4]
    assert (found.size, found.closed) == (24, 7)
    for source in SOURCES:
        rows = torch.cat(list(found.vectors(source, 40)))
        assert rows.shape == (found.count(source), 40)
        assert torch.linalg.matrix_rank(rows) == found.count(source)
        assert not rows[:, :5].any()
        assert not rows[:, 29:].any()


def test_combinations_lie_in_the_span_and_beyond_is_what_is_left() -> None:
    found, generator = freedom(), torch.Generator().manual_seed(0)
    for source in SOURCES:
        rows = torch.cat(list(found.vectors(source, 29)))[:, 5:]
        matrix = found.combined(source, generator)
        assert matrix is not None
        assert float(matrix.norm()) == pytest.approx(1)
        assert torch.linalg.matrix_rank(torch.cat([rows, matrix.reshape(1, -1)])) == len(rows)
        left = found.beyond(rows.reshape(-1, 2, 3, 4)).flatten(1)
        assert torch.linalg.matrix_rank(left, atol=1e-12) == (1 if source == "conditional" else 0)
    assert len(found.conditional_beyond()) == 1
    assert found.conditional_beyond()[0, 0, 1].abs().tolist() == pytest.approx([0, 1, 0, 0])
    whole = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(found.beyond(found.beyond(whole)), found.beyond(whole))


@pytest.mark.parametrize(("source", "closed"), [("activations", 4), ("gradients", 3), ("conditional", 7)])
def test_a_kind_that_is_withdrawn_has_no_count_and_no_vectors(source: Source, closed: int) -> None:
    whole = freedom()
    found = whole.without(source)
    assert found.count(source) is None
    assert [found.count(one) for one in SOURCES if one != source] == [
        whole.count(one) for one in SOURCES if one != source
    ]
    assert found.closed == closed
    assert found.combined(source, torch.Generator()) is None
    assert not list(found.vectors(source, 40))
    others = found.without("conditional").without("activations")
    assert others.withdrawn == {source, "conditional", "activations"}
    assert others.conditional_rows == 0


def layers() -> list[tuple[nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return [
        (
            nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(24, 3, bias=False)),
            torch.randn(5, 4, 4, 4),
        ),
        (nn.Sequential(nn.ConvTranspose1d(4, 6, 3, groups=2), nn.Tanh(), nn.Flatten()), torch.randn(5, 4, 3)),
        (nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6, 2)), torch.randint(0, 5, (5, 2))),
        (nn.Sequential(attention, nn.Flatten(), nn.Linear(24, 2)), torch.randn(5, 3, 8)),
    ]


@pytest.mark.parametrize("number", range(4))
def test_weights_stand_where_their_layer_places_them(number: int) -> None:
    model, inputs = layers()[number]
    network = ParameterMap(model)
    for gram in layer_grams(network.model, [(inputs, inputs)], dtype=torch.float64).layers:
        assert why_not(network, gram.site) is None
        index = weight_index(network, gram.site)
        assert index.shape == (gram.groups, gram.units, gram.width)
        for group in range(gram.groups):
            matrix = torch.randn(gram.units, gram.width, dtype=torch.float64)
            flat = torch.zeros(network.size, dtype=torch.float64)
            flat[index[group]] = matrix
            placed = gram.placed(matrix.numpy(), group)
            for name, tensor in network.named(flat).items():
                expected = placed.get(name, torch.zeros_like(tensor))
                torch.testing.assert_close(tensor, expected.reshape(tensor.shape))


@pytest.mark.parametrize("number", range(4))
def test_what_activations_and_gradients_free_moves_nothing(number: int) -> None:
    model, inputs = layers()[number]
    inputs = inputs[:1]
    network, slow = ParameterMap(model), jacobian(model, inputs)
    for gram in layer_grams(network.model, [(inputs, inputs)], dtype=torch.float64).layers:
        given, back = (tuple(map(torch.from_numpy, side)) for side in (gram.free_inputs(), gram.free_outputs()))
        found = LayerFreedom(gram.layer, weight_index(network, gram.site), given, back)
        assert found.closed > 0
        for source in SOURCES[:2]:
            for rows in found.vectors(source, network.size):
                assert float((slow @ rows.mT).norm(dim=0).max()) < 1e-9 * float(slow.norm())


def test_weights_that_are_held_or_computed_have_no_place() -> None:
    network = relu_network(0)
    nn.Module.requires_grad_(network[0], requires_grad=False)
    nn.utils.parametrizations.spectral_norm(network[2])
    found = ParameterMap(network)
    inputs = inputs_of(0, 20)
    reasons = [why_not(found, gram.site) for gram in layer_grams(found.model, batches(inputs)).layers]
    assert reasons[0] == "0.weight is not trained"
    assert "computed" in str(reasons[1])
    assert reasons[2] is None
