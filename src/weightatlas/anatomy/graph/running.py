"""Run an exported graph on whatever stands for its tensors: ids of channels, factors of axes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from weightatlas.anatomy.graph.operators import SUBGRAPHS, operator_name


@dataclass(frozen=True, slots=True, eq=False)
class Runner:
    """What stands for the tensors of a graph.

    Attributes:
        constant: what stands for a tensor that the graph holds itself.
        call: what an operator gives: of its node, its arguments and its named arguments; a list where it gives several.
    """

    constant: Callable[[torch.Tensor], Any]
    call: Callable[[fx.Node, tuple[Any, ...], Mapping[str, Any]], Any]

    def run(self, module: fx.GraphModule, given: Sequence[Any]) -> Any:  # noqa: ANN401 - a tree of what is given
        """Run a graph in order of execution, and graphs within it in turn.

        Args:
            module: the graph.
            given: what stands for its inputs, in order.

        Returns:
            What stands for its outputs, as the graph nests them.
        """
        known: dict[fx.Node, Any] = {}
        waiting = iter(given)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                known[node] = next(waiting)
            elif node.op == "get_attr":
                found = operator.attrgetter(str(node.target))(module)
                known[node] = self.constant(found) if isinstance(found, torch.Tensor) else found
            elif node.op == "output":
                return fx.node.map_arg(node.args[0], known.__getitem__)
            else:
                known[node] = self._called(node, known)
        return None

    def _called(self, node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:  # noqa: ANN401
        arguments: tuple[Any, ...] = fx.node.map_arg(node.args, known.__getitem__)
        named: dict[str, Any] = fx.node.map_arg(node.kwargs, known.__getitem__)
        if node.target is operator.getitem:
            whole, index = arguments
            return whole[index] if isinstance(whole, list | tuple) else whole
        if operator_name(node.target) in SUBGRAPHS:
            inner = next(place for place, one in enumerate(arguments) if isinstance(one, fx.GraphModule))
            return self.run(arguments[inner], arguments[inner + 1 :])
        return self.call(node, arguments, named)
