from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import along_channels, nodes_of, walk_of
from weightatlas.anatomy.graph.channel_ids import Unfollowed

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[..., torch.Tensor]

IMAGES = (2, 4, 6, 6)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


MATRICES: dict[str, tuple[Call, tuple[int, ...], int]] = {
    "linear": (lambda self, x: functional.linear(x, self.weight), (3, 4), 0),
    "matmul": (lambda self, x: x @ self.weight, (4, 3), 1),
    "turned": (lambda self, x: x @ self.weight.t(), (3, 4), 0),
    "einsum": (lambda self, x: torch.einsum("nlc,oc->nlo", x, self.weight), (3, 4), 0),
    "einsum the other way": (lambda self, x: torch.einsum("co,nlc->nlo", self.weight, x), (4, 3), 1),
    "addmm": (lambda self, x: torch.addmm(torch.zeros(3), x.reshape(-1, 4), self.weight).view(2, 5, 3), (4, 3), 1),
    "computed": (lambda self, x: functional.linear(x, self.weight * 2), (3, 4), 0),
}


@pytest.mark.parametrize("name", MATRICES)
def test_however_a_matrix_is_multiplied_it_is_one_layer(name: str) -> None:
    call, shape, unit_axis = MATRICES[name]
    walk = walk_of(call, (2, 5, 4), weight=weight(*shape))
    (read,) = walk.reads
    assert (read.tensor, read.unit_axis) == ("" if name == "computed" else "weight", unit_axis)
    assert walk.nodes.numbers()[read.inputs.numpy()].tolist() == [0, 1, 2, 3]
    units = along_channels(walk, axis=2)
    assert len(set(units)) == 3
    assert units == walk.nodes.numbers()[read.outputs.numpy()].tolist()


def test_a_product_of_several_axes_reads_all_of_them() -> None:
    walk = walk_of(
        lambda self, x: torch.einsum("nchw,chwo->no", x, self.weight), (2, 4, 2, 2), weight=weight(4, 2, 2, 3)
    )
    (read,) = walk.reads
    assert (len(read.inputs), len(read.outputs)) == (16, 3)
    assert len(set(along_channels(walk))) == 3


@pytest.mark.parametrize(
    ("layer", "shape", "kernel"),
    [
        (nn.Conv1d(4, 3, 5), (2, 4, 9), (1, 5)),
        (nn.Conv2d(4, 3, (2, 3)), IMAGES, (2, 3)),
        (nn.Conv3d(4, 3, (2, 3, 1)), (2, 4, 5, 5, 5), (3, 1)),
        (nn.ConvTranspose2d(4, 3, 2), IMAGES, (2, 2)),
    ],
)
def test_convolutions_of_any_number_of_axes(layer: nn.Module, shape: tuple[int, ...], kernel: tuple[int, int]) -> None:
    walk = walk_of(lambda self, x: self.layer(x), shape, layer=layer)
    (read,) = walk.reads
    assert (read.layer, read.tensor, read.kernel) == ("layer", "layer.weight", kernel)
    assert along_channels(walk) == [4, 5, 6]


def test_a_fixed_blur_is_no_layer_but_a_learned_one_is() -> None:
    blur = torch.ones(4, 1, 3, 3) / 9
    fixed = walk_of(lambda _, x: functional.conv2d(x, blur, padding=1, groups=4), IMAGES)
    assert (fixed.reads, along_channels(fixed)) == ([], [0, 1, 2, 3])
    learned = walk_of(
        lambda self, x: functional.conv2d(x, self.blur, padding=1, groups=4), IMAGES, blur=nn.Parameter(blur)
    )
    assert along_channels(learned) == [4, 5, 6, 7]


def test_a_kernel_that_depends_on_the_input_is_said() -> None:
    walk = walk_of(lambda _, x, kernel: functional.conv2d(x, kernel), IMAGES, (3, 4, 1, 1))
    assert isinstance(walk.results[0], Unfollowed)
    assert ["has a weight that depends on the input" in note for note in walk.notes] == [True]


def test_a_matrix_for_each_of_several_groups_is_said() -> None:
    walk = walk_of(lambda self, x: torch.bmm(x, self.weight), (3, 5, 4), weight=weight(3, 4, 2))
    assert isinstance(walk.results[0], Unfollowed)
    assert list(walk.notes) == ["weight has a matrix for each of several groups, and is not followed"]


def test_an_embedding_s_units_are_its_columns() -> None:
    walk = walk_of(lambda self, symbols: self.embed(symbols), torch.zeros(2, 5, dtype=torch.long),
                   embed=nn.Embedding(7, 3))  # fmt: skip
    (read,) = walk.reads
    assert (len(read.inputs), len(read.outputs), read.unit_axis) == (7, 3, 1)
    assert len(set(along_channels(walk, axis=2))) == 3


def test_a_layer_used_at_two_places_reads_one_set_of_units() -> None:
    walk = walk_of(lambda self, x, y: self.shared(x) - self.shared(y), (2, 4), (2, 4), shared=nn.Linear(4, 3))
    first, second = walk.reads
    numbers = walk.nodes.numbers()
    assert numbers[first.inputs.numpy()].tolist() == numbers[second.inputs.numpy()].tolist() == [0, 1, 2, 3]
    assert numbers[4:8].tolist() == [0, 1, 2, 3], "both inputs are what this layer reads"
    assert first.outputs.tolist() == second.outputs.tolist()


@pytest.mark.parametrize("fused", [True, False])
def test_attention_carries_the_channels_of_its_values(fused: bool) -> None:
    def call(_: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        q, k, v = (one.view(2, 5, 2, 3).transpose(1, 2) for one in (q, k, v))
        if fused:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-1, -2) / 3**0.5).softmax(-1) @ v
        return mixed.transpose(1, 2).reshape(2, 5, 6)

    # Last axes are channels because linear layers read them.
    layers = {name: nn.Linear(6, 6) for name in ("query", "key", "value")}
    walk = walk_of(lambda self, x: call(self, self.query(x), self.key(x), self.value(x)), (2, 5, 6), **layers)
    value = next(read for read in walk.reads if read.layer == "value")
    assert along_channels(walk, axis=2) == walk.nodes.numbers()[value.outputs.numpy()].tolist()
    (joint,) = walk.attention
    assert sorted(joint.ids.flatten().tolist()) == value.outputs.tolist()
    assert not walk.notes


def test_shared_values_serve_several_heads() -> None:
    def call(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        query = self.query(x).view(2, 5, 4, 3).transpose(1, 2)
        key = self.key(x).view(2, 5, 2, 3).transpose(1, 2)
        value = self.value(x).view(2, 5, 2, 3).transpose(1, 2)
        return functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    walk = walk_of(call, (2, 5, 6), query=nn.Linear(6, 12), key=nn.Linear(6, 6), value=nn.Linear(6, 6))
    outputs = walk.nodes.numbers()[next(read for read in walk.reads if read.layer == "value").outputs.numpy()]
    expected = np.repeat(outputs.reshape(2, 3), 2, axis=0)
    np.testing.assert_array_equal(nodes_of(walk)[0, :, 0], expected)


def test_a_product_with_a_vector_is_not_followed() -> None:
    assert isinstance(walk_of(lambda self, x: x @ self.weight, (2, 4), weight=weight(4)).results[0], Unfollowed)
