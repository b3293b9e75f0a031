from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from weightatlas.anatomy.graph.exporting import export_graph
from weightatlas.anatomy.graph.operators import operator_name
from weightatlas.anatomy.graph.running import Runner

if TYPE_CHECKING:
    from torch import fx


class Halves(nn.Module):
    """A constant, an operator with several answers, and a graph within the graph."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        left, right = x.chunk(2, 1)
        with torch.autocast("cpu", torch.bfloat16):
            right = right @ torch.ones(2, 2)
        return {"left": left, "both": left + right}


def test_what_stands_for_tensors_goes_through_the_graph_and_graphs_within() -> None:
    exported = export_graph(Halves(), torch.zeros(3, 4))
    called: list[str] = []

    def call(node: fx.Node, arguments: tuple[Any, ...], _named: Any) -> Any:  # noqa: ANN401
        assert not any(hasattr(one, "graph") for one in arguments), "graphs are run, not handed on"
        called.append(operator_name(node.target))
        several = [f"{called[-1]}({', '.join(str(one) for one in arguments if isinstance(one, str))})"]
        return several * 2 if called[-1] == "chunk" else several[0]

    inputs = [f"x{place}" for place, _ in enumerate(exported.module.graph.find_nodes(op="placeholder"))]
    found = Runner(lambda tensor: f"constant{tuple(tensor.shape)}", call).run(exported.module, inputs)
    leaves, _ = torch.utils._pytree.tree_flatten(found)
    assert leaves[0] == "chunk(x0)"
    assert leaves[1].startswith("add(chunk(x0), matmul(chunk(x0), ")
    assert called.count("chunk") == 1


def test_the_answer_is_what_torch_itself_gives() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    example = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    exported = export_graph(model, example)
    given = [exported.state.get(node.name, example) for node in exported.module.graph.find_nodes(op="placeholder")]
    runner = Runner(lambda tensor: tensor, lambda node, arguments, named: node.target(*arguments, **named))  # type: ignore[operator]
    (found,) = runner.run(exported.module, given)
    torch.testing.assert_close(found, model(example))
