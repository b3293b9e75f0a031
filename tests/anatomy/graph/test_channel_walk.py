from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.graph.example_walks import along_channels, walk_of
from weightatlas.anatomy.graph.channel_ids import Unfollowed

IMAGES = (2, 3, 8, 8)


def convolution(channels: int = 3, units: int = 4) -> nn.Conv2d:
    return nn.Conv2d(channels, units, 1)


def test_a_step_s_ancestors_are_all_that_it_depends_on() -> None:
    def call(_: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        left = x.sin()
        right = y.cos()
        return left.exp() + right

    walk = walk_of(call, (2, 3), (2, 3))
    above = {
        name: {walk.operators[step] for step in range(len(walk.operators)) if bits >> step & 1}
        for name, bits in zip(walk.operators, walk.ancestors, strict=True)
    }
    assert above == {
        "input": set(),
        "sin": {"input"},
        "cos": {"input"},
        "exp": {"input", "sin"},
        "add": {"input", "sin", "cos", "exp"},
    }
    inputs = [walk.ancestors[walk.operators.index(name)] for name in ("sin", "cos")]
    assert inputs == [0b01, 0b10], "each of its own input"


def test_steps_say_the_module_that_they_are_called_in() -> None:
    inner = nn.Sequential(convolution(), nn.ReLU())
    walk = walk_of(lambda self, x: self.inner(x).abs(), IMAGES, inner=inner)
    assert dict(zip(walk.operators, walk.paths, strict=True)) == {
        "input": "", "conv2d": "inner.0", "relu": "inner.1", "abs": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "norm"),
    [
        (lambda self, x: self.norm(self.layer(x)), "norm"),
        (lambda self, x: self.norm(self.layer(x).relu()), None),
        (lambda self, x: sum(self.norm(made) + made for made in [self.layer(x)]), None),
        (lambda self, x: self.layer(x), None),
    ],
)
def test_only_a_batch_norm_right_behind_and_alone_is_a_layer_s(call: Any, norm: str | None) -> None:  # noqa: ANN401
    walk = walk_of(call, IMAGES, layer=convolution(), norm=nn.BatchNorm2d(4))
    (read,) = walk.reads
    assert read.norm == norm


def test_a_graph_within_a_graph_is_walked_too() -> None:
    def call(self: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        features = self.first(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = self.second(features)
        with torch.enable_grad():
            return torch.as_tensor(self.third(features.float()))

    walk = walk_of(call, IMAGES, first=convolution(), second=convolution(4), third=convolution(4, 2))
    assert [read.layer for read in walk.reads] == ["first", "second", "third"]
    assert walk.reads[1].inputs.tolist() == walk.reads[0].outputs.tolist()
    assert walk.reads[2].inputs.tolist() == walk.reads[1].outputs.tolist()
    assert along_channels(walk) == walk.reads[2].outputs.tolist()


def test_outputs_may_be_a_tree_and_only_tensors_of_it_count() -> None:
    walk = walk_of(lambda self, x: {"deep": [self.layer(x), (x, 3)], "none": None}, IMAGES, layer=convolution())
    assert [along_channels(walk, result=place) for place in range(len(walk.results))] == [[3, 4, 5, 6], [0, 1, 2]]


def test_the_second_output_of_an_operator_is_not_taken_for_channels() -> None:
    walk = walk_of(lambda _, x: x.max(2), IMAGES)
    values, places = walk.results
    assert along_channels(walk) == [0, 1, 2]
    assert isinstance(places, Unfollowed)
    assert values.shape == places.shape == (2, 3, 8)


def test_what_was_lost_keeps_the_name_of_what_lost_it() -> None:
    walk = walk_of(lambda _, x: x.sort(1).values.sort(2).values.relu().cumprod(1), IMAGES)
    (value,) = walk.results
    assert isinstance(value, Unfollowed)
    assert value.operator == "sort"


def test_whole_numbers_have_no_channels() -> None:
    walk = walk_of(lambda _, mask, x: torch.where(mask > 0, x, 0.0), torch.zeros(2, 1, 8, 8, dtype=torch.long), IMAGES)
    assert along_channels(walk) == [0, 1, 2]
    assert walk.nodes.count == 3


def test_in_place_and_functional_activations_are_the_same() -> None:
    for call in (functional.relu_, functional.relu):
        walk = walk_of(lambda self, x, call=call: call(self.layer(x)), IMAGES, layer=convolution())
        assert walk.operators == ["input", "conv2d", "relu"]
        assert along_channels(walk) == [3, 4, 5, 6]
