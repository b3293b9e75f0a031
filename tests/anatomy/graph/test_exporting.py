from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from tests.anatomy.graph.example_walks import Called
from weightatlas.anatomy.graph.exporting import arguments_of, export_graph
from weightatlas.errors import SourceError

VECTORS = torch.zeros(2, 3)


class Loud(nn.Module):
    """Runs nothing: its own code fails with these words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.inner = nn.Dropout()

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise KeyError(self.words) if self.words else ZeroDivisionError


def test_an_example_is_one_tensor_its_arguments_or_its_arguments_by_name() -> None:
    both = Called(lambda _, x, y: x + y)
    assert arguments_of(VECTORS) == ((VECTORS,), {})
    assert len(export_graph(both, [VECTORS, VECTORS]).inputs) == 2

    class Named(nn.Module):
        def forward(self, x: torch.Tensor, *, scale: torch.Tensor, times: int = 2) -> torch.Tensor:
            return x * scale * times

    given = {"x": VECTORS, "scale": torch.ones(1), "times": 3}
    exported = export_graph(Named(), given)
    assert [tuple(one.shape) for one in exported.example if isinstance(one, torch.Tensor)] == [(2, 3), (1,)]
    assert len(exported.example) == len(exported.inputs)


def test_every_input_of_the_graph_has_its_name_and_value() -> None:
    network = Called(
        lambda self, x: self.norm(self.layer(x)) + torch.tensor([1.0, 2.0, 3.0]),
        layer=nn.Linear(3, 3), norm=nn.BatchNorm1d(3),
    )  # fmt: skip
    exported = export_graph(network, VECTORS)
    assert exported.parameters == {"layer.weight", "layer.bias", "norm.weight", "norm.bias"}
    assert set(exported.names.values()) >= {"norm.running_mean", "norm.running_var"}
    for node, name in exported.names.items():
        if node in exported.state:
            assert torch.equal(exported.state[node], network.state_dict()[name])
    constants = [value.tolist() for node, value in exported.state.items() if node not in exported.names]
    assert constants == [[1.0, 2.0, 3.0]]


def test_a_parameter_of_several_names_has_all_of_them() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    exported = export_graph(Called(lambda self, x: self.one(self.other(x)), one=one, other=other), VECTORS)
    assert dict(exported.aliases) == dict.fromkeys(("one.weight", "other.weight"), ("one.weight", "other.weight"))


def writing(graph_of: Any, *inputs: torch.Tensor) -> list[str]:  # noqa: ANN401
    """The operators of a graph that write in place."""
    nodes = export_graph(Called(graph_of), list(inputs)).module.graph.nodes
    names = [str(node.target) for node in nodes if node.op == "call_function"]
    return [name for name in names if name.split(".")[1].endswith("_")]


def test_what_writes_into_a_part_is_taken_apart_and_what_writes_over_itself_is_not() -> None:
    def part(_: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        x = x * 2
        x[:, 1] = x[:, 0]
        return x

    assert writing(part, VECTORS) == []
    assert writing(lambda _, x: (x + 1).relu_(), VECTORS) == ["aten.relu_.default"]


@pytest.mark.parametrize(
    ("words", "said"),
    [("no such key", r"KeyError: 'no such key'"), ("", r"ZeroDivisionError: \)"), ("x" * 900, r"KeyError: 'x{199}\)")],
)
def test_a_model_that_fails_is_said_in_one_line_and_left_as_it_was(words: str, said: str) -> None:
    network = Loud(words).train()
    network.inner.eval()
    level = logging.getLogger("torch").level
    with pytest.raises(SourceError, match=rf"^Loud: cannot be exported \({said}") as caught:
        export_graph(network, VECTORS)
    assert "\n" not in str(caught.value)
    assert (network.training, network.inner.training) == (True, False)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.is_grad_enabled()
    assert logging.getLogger("torch").level == level


def test_dropout_is_off_and_the_graph_computes_what_the_model_does() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2)).train()
    example = torch.randn(5, 3)
    exported = export_graph(network, example)
    state = [exported.state[node.name] for node in exported.module.graph.find_nodes(op="placeholder")
             if node.name not in exported.inputs]  # fmt: skip
    (found,) = exported.module(*state, example)
    torch.testing.assert_close(found, network.eval()(example))
