from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.reference.channel_dependence import direct_dependence
from weightatlas.anatomy.flow import ChannelFlow, FlowLayer, channel_flow
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = torch.zeros(2, 3, 8, 8)


def by_name(flow: ChannelFlow) -> dict[str, FlowLayer]:
    return {layer.layer: layer for layer in flow.layers}


class Called(nn.Module):
    """Layers by name and a function that calls them."""

    def __init__(self, call: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.call = call

    def forward(self, features: torch.Tensor) -> Any:  # noqa: ANN401 - whatever the function gives
        return self.call(self, features)


def test_a_plain_network_numbers_its_units_in_order_and_flattening_repeats_them() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)
    )
    flow = channel_flow(network, IMAGES)
    convolution, linear = flow.layers
    assert (flow.nodes, flow.notes, flow.inputs.tolist(), flow.outputs.tolist()) == (12, (), [0, 1, 2], [*range(7, 12)])
    assert (convolution.tensor, convolution.norm, convolution.kernel) == ("0.weight", "1", (3, 3))
    np.testing.assert_array_equal(linear.inputs, np.repeat([3, 4, 5, 6], 9))


def test_a_residual_sum_makes_one_node_of_both_sides_and_its_padded_channels() -> None:
    def call(self: Any, images: torch.Tensor) -> Any:  # noqa: ANN401
        stem = self.stem(images)
        stem = stem + self.block(stem)
        shortcut = functional.pad(stem[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        return self.head(shortcut + self.down(stem))

    convolution = nn.Conv2d
    network = Called(
        call,
        stem=convolution(3, 4, 3, padding=1),
        block=convolution(4, 4, 3, padding=1),
        down=convolution(4, 6, 3, 2, 1),
        head=convolution(6, 2, 1),
    )
    layers = by_name(channel_flow(network, IMAGES))
    np.testing.assert_array_equal(layers["stem"].outputs, layers["block"].outputs)
    np.testing.assert_array_equal(layers["down"].outputs[1:5], layers["stem"].outputs)
    np.testing.assert_array_equal(layers["head"].inputs, layers["down"].outputs)
    assert len(np.unique(layers["head"].inputs)) == 6


def test_concatenation_shuffle_and_split_move_nodes() -> None:
    def call(self: Any, images: torch.Tensor) -> Any:  # noqa: ANN401
        both = torch.cat([self.left(images), self.right(images)], dim=1)
        shuffled = both.view(2, 2, 3, 8, 8).transpose(1, 2).reshape(2, 6, 8, 8)
        first, second = shuffled.chunk(2, dim=1)
        return self.first(first) + self.second(second).flip(1)

    convolution = nn.Conv2d
    network = Called(
        call,
        left=convolution(3, 3, 1), right=convolution(3, 3, 1), first=convolution(3, 2, 1), second=convolution(3, 2, 1),
    )  # fmt: skip
    layers = by_name(channel_flow(network, IMAGES))
    left, right = layers["left"].outputs, layers["right"].outputs
    assert layers["first"].inputs.tolist() == [left[0], right[0], left[1]]
    assert layers["second"].inputs.tolist() == [right[1], left[2], right[2]]
    assert layers["first"].outputs.tolist() == layers["second"].outputs[::-1].tolist()


def test_what_is_written_into_a_part_of_a_value_takes_its_place() -> None:
    def call(self: Any, images: torch.Tensor) -> Any:  # noqa: ANN401
        features = self.first(images)
        features[:, 1:3] = self.second(images)
        empty = torch.zeros(2, 5, 8, 8)
        empty[:, :4] = features
        return self.last(empty)

    network = Called(call, first=nn.Conv2d(3, 4, 1), second=nn.Conv2d(3, 2, 1), last=nn.Conv2d(5, 2, 1))
    layers = by_name(channel_flow(network, IMAGES))
    first, second = layers["first"].outputs, layers["second"].outputs
    assert layers["last"].inputs[:4].tolist() == [first[0], *second, first[3]]
    assert layers["last"].inputs[4] not in {*first, *second}


def test_gates_scale_and_do_not_merge() -> None:
    def call(self: Any, images: torch.Tensor) -> Any:  # noqa: ANN401
        features = self.stem(images)
        gates = torch.sigmoid(self.expand(functional.relu(self.reduce(features.mean((2, 3), keepdim=True)))))
        return self.head(gates * features)

    convolution = nn.Conv2d
    network = Called(
        call,
        stem=convolution(3, 4, 1),
        reduce=convolution(4, 2, 1),
        expand=convolution(2, 4, 1),
        head=convolution(4, 2, 1),
    )
    flow = channel_flow(network, IMAGES)
    layers = by_name(flow)
    np.testing.assert_array_equal(layers["head"].inputs, layers["stem"].outputs)
    np.testing.assert_array_equal(layers["reduce"].inputs, layers["stem"].outputs)
    assert not set(layers["expand"].outputs) & set(layers["stem"].outputs)
    np.testing.assert_array_equal(flow.gates, np.stack([layers["expand"].outputs, layers["stem"].outputs], 1)[:, :])


@pytest.mark.parametrize(
    ("layer", "size", "unit_axis"),
    [
        (nn.Conv2d(6, 6, 3, groups=6), 6, 0),
        (nn.Conv2d(6, 4, 3, groups=2), 4, 0),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), 4, 1),
        (nn.Conv2d(6, 5, 1), 5, 0),
    ],
)
def test_every_convolution_makes_nodes_of_its_own(layer: Any, size: int, unit_axis: int) -> None:  # noqa: ANN401
    network = nn.Sequential(nn.Conv2d(3, 6, 1), layer, nn.Conv2d(size, 2, 1))
    first, middle, last = channel_flow(network, IMAGES).layers
    assert (middle.groups, middle.unit_axis, len(middle.outputs)) == (layer.groups, unit_axis, size)
    np.testing.assert_array_equal(middle.inputs, first.outputs)
    np.testing.assert_array_equal(last.inputs, middle.outputs)
    assert not set(middle.inputs) & set(middle.outputs)


def test_attention_carries_its_values_and_a_stream_has_one_set_of_nodes() -> None:
    network = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    )
    flow = channel_flow(network, torch.zeros(2, 5, 8))
    layers = by_name(flow)
    attention, out = layers["0.self_attn"], layers["0.self_attn.out_proj"]
    np.testing.assert_array_equal(out.inputs, attention.outputs[16:])
    np.testing.assert_array_equal(out.outputs, flow.inputs)
    np.testing.assert_array_equal(layers["1.linear2"].outputs, flow.inputs)
    np.testing.assert_array_equal(layers["0.linear2"].inputs, layers["0.linear1"].outputs)
    assert (flow.notes, flow.nodes) == ((), 8 + 2 * (24 + 12))


def test_one_weight_called_twice_has_the_same_units() -> None:
    network = Called(lambda self, x: self.shared(functional.relu(self.shared(x))), shared=nn.Linear(4, 4))
    first, second = channel_flow(network, torch.zeros(2, 4)).layers
    np.testing.assert_array_equal(first.outputs, second.outputs)
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert set(first.outputs) == set(first.inputs), "it reads its own units"


def test_tied_matrices_go_by_the_module_that_reads_them() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 4)
            self.head = nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, symbols: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.head(self.embed(symbols)))

    embed, head = channel_flow(Tied(), torch.arange(3)[None]).layers
    assert [(embed.layer, embed.unit_axis), (head.layer, head.unit_axis)] == [("embed", 1), ("head", 0)]
    np.testing.assert_array_equal(head.inputs, embed.outputs)


def test_what_mixes_positions_keeps_the_channels_and_says_so() -> None:
    def call(self: Any, features: torch.Tensor) -> Any:  # noqa: ANN401
        features = self.first(features)
        return self.last(self.tokens(features.transpose(1, 2)).transpose(1, 2))

    network = Called(call, first=nn.Linear(3, 4), tokens=nn.Linear(6, 6), last=nn.Linear(4, 2))
    flow = channel_flow(network, torch.zeros(2, 6, 3))
    np.testing.assert_array_equal(by_name(flow)["last"].inputs, by_name(flow)["first"].outputs)
    assert flow.notes == ("tokens mixes positions and not channels",)


@pytest.mark.parametrize(
    ("lose", "operator"),
    [
        (lambda features: features.cumprod(1).sort(1).values, "cumprod"),
        (lambda features: features.sort(1).values, "sort"),
        (lambda features: torch.fft.fft(features, dim=1).real, "fft_fft"),
    ],
)
def test_what_cannot_be_followed_becomes_fresh_nodes_with_a_note(lose: Any, operator: str) -> None:  # noqa: ANN401
    network = Called(lambda self, x: self.last(lose(self.first(x))), first=nn.Conv2d(3, 4, 1), last=nn.Conv2d(4, 2, 1))
    flow = channel_flow(network, IMAGES)
    first, last = flow.layers
    assert not set(first.outputs) & set(last.inputs)
    assert len(set(last.inputs)) == 4
    assert flow.notes == (f"what last reads is not followed through {operator}",)


def test_the_model_is_left_as_it_was_and_a_failure_says_what_to_do() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    network[2].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    channel_flow(network, IMAGES)
    assert [module.training for module in network] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(SourceError, match=r"Sequential: cannot be exported .*; give inputs that it runs on"):
        channel_flow(network, torch.zeros(1, 5, 8, 8))


class Random(nn.Module):
    """A network drawn from a list of numbers: each takes one of the values so far through one of many operators."""

    def __init__(self, plan: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleList()
        channels = [4]
        for kind, place, units in plan:
            read = channels[place % len(channels)]
            if kind == 0:
                self.layers.append(nn.Conv2d(read, 2 * units, 1))
            elif kind == 1:
                self.layers.append(nn.Conv2d(read, read, 3, padding=1, groups=read))
            else:
                self.layers.append(nn.Conv2d(read, 2 * units, 1, groups=2) if kind == 2 else nn.Identity())
            made = {0: 2 * units, 2: 2 * units, 5: 2 * read}.get(kind, read)
            channels.append(made)
        self.last = nn.Conv2d(channels[-1], 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = [torch.cat([images, images[:, :1]], 1)]
        for layer, (kind, place, units) in zip(self.layers, self.plan, strict=True):
            value = values[place % len(values)]
            given = layer(value)
            if kind == 3:
                other = next((one for one in values if one.shape == value.shape and one is not value), value)
                given = other + functional.leaky_relu(value)
            elif kind == 4:
                given = value.reshape(1, 2, -1, 4, 4).transpose(1, 2).flatten(1, 2)
            elif kind == 5:
                given = torch.cat([value, value.roll(units, 1)], 1)
            elif kind == 6:
                given = functional.avg_pool2d(value, 3, 1, 1).flip(1)
            values.append(given)
        return torch.as_tensor(self.last(values[-1]))


PLANS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=7)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(PLANS)
def test_nodes_agree_with_the_gradients_of_random_networks(plan: list[tuple[int, int, int]]) -> None:
    torch.manual_seed(0)
    network = Random(plan)
    images = torch.randn(1, 3, 4, 4)
    flow = channel_flow(network, images)
    assert not flow.notes
    layers = by_name(flow)
    for (producer, reader), reads in direct_dependence(network, images).items():
        outputs = flow.inputs if producer == "" else layers[producer].outputs
        same = layers[reader].inputs[:, None] == outputs[None]
        assert not (reads & ~same).any(), f"{reader} reads units of {producer} under other nodes"


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 4, 5, 6]), st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=7
    )
)
def test_without_sums_nodes_are_exactly_what_gradients_say(plan: list[tuple[int, int, int]]) -> None:
    torch.manual_seed(0)
    network = Random(plan)
    images = torch.randn(1, 3, 4, 4)
    flow = channel_flow(network, images)
    layers = by_name(flow)
    for (producer, reader), reads in direct_dependence(network, images).items():
        outputs = flow.inputs if producer == "" else layers[producer].outputs
        np.testing.assert_array_equal(layers[reader].inputs[:, None] == outputs[None], reads)
