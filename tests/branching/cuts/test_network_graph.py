from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.anatomy.flow import channel_flow
from weightatlas.branching.cuts.network_graph import EPSILON, network_graph
from weightatlas.branching.hidden.kernel_norms import kernel_norms
from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from weightatlas.branching.hidden.kernel_norms import Norm


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(4 * 2 * 2, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stream = self.stem(images)
        stream = stream + self.second(torch.relu(self.norm(self.first(stream))))
        scores: torch.Tensor = self.head(torch.flatten(stream, 1))
        return scores


def residual() -> Residual:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual()
        nn.init.normal_(model.norm.weight)
        nn.init.uniform_(model.norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    return model.eval()


def test_a_residual_stream_is_one_set_of_nodes() -> None:
    model = residual()
    graph = network_graph(model.state_dict(), channel_flow(model, torch.zeros(1, 3, 2, 2)))
    layers = {layer.layer: layer for layer in graph.layers}
    assert graph.nodes == 3 + 4 + 6 + 5
    np.testing.assert_array_equal(layers["stem"].outputs, layers["second"].outputs)
    np.testing.assert_array_equal(layers["head"].inputs, layers["stem"].outputs)
    assert any("4 nodes are made by several layers" in note for note in graph.notes)
    assert graph.edges == 4 * 3 + 6 * 4 + 4 * 6 + 5 * 4


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_edges_are_norms_with_batch_norm_folded(norm: Norm) -> None:
    model = residual()
    flow = channel_flow(model, torch.zeros(1, 3, 2, 2))
    layers = {
        layer.layer: layer.weights[0]
        for layer in network_graph(model.state_dict(), flow, norm=norm, mean_one=False).layers
    }
    assert model.norm.running_var is not None
    scales = (model.norm.weight.abs() / torch.sqrt(model.norm.running_var + EPSILON)).detach().numpy()
    folded = kernel_norms(model.first.weight, norm=norm) * scales[:, None]
    np.testing.assert_allclose(layers["first"], folded, rtol=1e-5)
    np.testing.assert_allclose(layers["second"], kernel_norms(model.second.weight, norm=norm), rtol=1e-5)
    positions = model.head.weight.reshape(5, 4, 2, 2)
    np.testing.assert_allclose(layers["head"], kernel_norms(positions, norm=norm), rtol=1e-5)


def test_folded_weights_are_those_of_the_network_without_its_norm() -> None:
    model = residual()
    flow = channel_flow(model, torch.zeros(1, 3, 2, 2))
    fused = nn.utils.fusion.fuse_conv_bn_eval(model.first, model.norm)
    state = model.state_dict() | {"first.weight": fused.weight}
    folded = network_graph(model.state_dict(), flow, mean_one=False)
    plain = network_graph(state, flow, mean_one=False, fold=False)
    for one, other in zip(folded.layers, plain.layers, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-5)


def test_layers_are_made_equal_in_mean() -> None:
    for layer in network_graph(residual().state_dict()).layers:
        assert layer.weights.mean() == pytest.approx(1, rel=1e-5)


def test_a_checkpoint_is_read_as_its_state() -> None:
    model = residual()
    checkpoint, state = open_checkpoint(model), model.state_dict()
    for one, other in zip(network_graph(checkpoint).layers, network_graph(state).layers, strict=True):
        assert one.layer == other.layer
        np.testing.assert_array_equal(one.weights, other.weights)


def test_grouped_and_transposed_convolutions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 6, 3, groups=2), nn.Conv2d(6, 6, 3, groups=6)
    )
    flow = channel_flow(model, torch.zeros(1, 4, 8, 8))
    graph = network_graph(model.state_dict(), flow, mean_one=False)
    assert [layer.weights.shape for layer in graph.layers] == [(2, 4, 2), (2, 3, 4), (6, 1, 1)]
    turned = graph.layers[1]
    kernel = model.state_dict()[
        "1.weight"
    ]  # (in, out / groups): channel 5 is the second of group 1, unit 4 its second unit
    assert turned.weights[1, 1, 1] == pytest.approx(float(torch.linalg.norm(kernel[5, 1])), rel=1e-5)
    assert turned.inputs.reshape(2, 4)[1, 1] == graph.layers[0].outputs[5]


def test_a_weight_that_is_cut_into_layers_is_read_in_parts() -> None:
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    state = {"in_proj_weight": attention.in_proj_weight, "0.weight": torch.ones(4, 3)}
    flow = channel_flow(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)), torch.zeros(1, 3))
    parts = [
        replace(layer, tensor="in_proj_weight", first_row=row)
        for layer, row in zip(flow.layers[1:], (4, 8), strict=True)
    ]
    graph = network_graph(state, replace(flow, layers=(flow.layers[0], *parts)), mean_one=False)
    for layer, row in zip(graph.layers[1:], (4, 8), strict=True):
        np.testing.assert_allclose(
            layer.weights[0], attention.in_proj_weight[row : row + 4].abs().detach().numpy(), rtol=1e-6
        )


def test_a_layer_called_twice_counts_once() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), nn.Linear(4, 3))
    flow = channel_flow(model, torch.zeros(1, 4))
    twice = replace(flow, layers=(*flow.layers, flow.layers[0]))
    assert len(network_graph(model.state_dict(), twice).layers) == 2


def test_what_is_not_there_is_said() -> None:
    model = residual()
    flow = channel_flow(model, torch.zeros(1, 3, 2, 2))
    state = model.state_dict()
    del state["head.weight"]
    graph = network_graph(state, flow)
    assert graph.notes[-1] == "1 layers are left out, as their weights are not among the tensors: head"
    assert [layer.layer for layer in graph.layers] == ["stem", "first", "second"]


def test_a_state_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="no graph"):
        network_graph({"bias": torch.ones(3)})


def test_a_weight_that_is_not_what_the_graph_says_is_refused() -> None:
    model = residual()
    flow = channel_flow(model, torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="second: its weight joins"):
        network_graph(model.state_dict() | {"second.weight": torch.ones(4, 5, 1, 1)}, flow)
