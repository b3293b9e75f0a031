"""Walk an exported graph in order of execution and carry along which unit each channel is."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from weightatlas.anatomy.graph.channel_constants import constants
from weightatlas.anatomy.graph.channel_contractions import CONTRACTIONS
from weightatlas.anatomy.graph.channel_ids import Channels, Constant, Nodes, Unfollowed, Value
from weightatlas.anatomy.graph.channel_moves import MOVES
from weightatlas.anatomy.graph.channel_rules import RULES, pointwise
from weightatlas.anatomy.graph.graph_inputs import input_axes
from weightatlas.anatomy.graph.operators import bound_arguments, operator_name, shape_of, shapes_of
from weightatlas.anatomy.graph.running import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.anatomy.graph.channel_records import Joint, Read
    from weightatlas.anatomy.graph.exporting import Exported


@dataclass(slots=True, eq=False)
class Walk:
    """What a walk found.

    Attributes:
        nodes: all ids.
        reads: the layers, in order of execution.
        operators: name of the operator at each step.
        paths: module path of each step, "" where the graph doesn't say.
        ancestors: for each step the steps that it depends on, as the bits of a number.
        concatenations: along the axis of channels.
        sums: of two values with channels.
        gates: pairs of ids, (gate, what it scales).
        attention: ids of the values that attention averages, with their axes.
        notes: what could not be followed.
        inputs: ids of the model's inputs.
        results: what the model gives.
    """

    state: Mapping[str, Any]
    aliases: Mapping[str, tuple[str, ...]]
    nodes: Nodes = field(default_factory=Nodes)
    reads: list[Read] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    ancestors: list[int] = field(default_factory=list)
    concatenations: list[Joint] = field(default_factory=list)
    sums: list[Joint] = field(default_factory=list)
    gates: list[torch.Tensor] = field(default_factory=list)
    attention: list[Joint] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    inputs: list[torch.Tensor] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Keep a sentence, once."""
        self.notes[sentence] = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator with the values it is given.

    Attributes:
        walk: what is known so far.
        node: of the graph.
        name: of the operator, without the underscore of those that work in place.
        step: its place in the order of operators.
        arguments: by their names in the operator's schema; values stand for tensors.
        shapes: of what it gives, one for each output.
    """

    walk: Walk
    node: fx.Node
    name: str
    step: int
    arguments: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.shapes[0]

    @property
    def path(self) -> str:
        """The module that it is called in."""
        return self.walk.paths[self.step]

    def values(self) -> list[Value]:
        """All values among the arguments, in order."""
        return list(_values(self.arguments.values()))

    def lost(self, *, operator: str | None = None, kind: str = "", output: int = 0) -> Unfollowed:
        """A result whose channels this operator makes unknown."""
        return Unfollowed(self.shapes[output], self.step, operator or self.name, kind)

    def channels(self, ids: torch.Tensor, *, squashed: bool = False, output: int = 0) -> Channels:
        """A result with these channels."""
        return Channels(ids, self.shapes[output], self.step, squashed)


def walk_graph(exported: Exported) -> Walk:
    """Follow the channels of a model through its graph."""
    walk = Walk(exported.state, exported.aliases)
    graph = exported.module.graph
    axes = input_axes(graph, exported.inputs)
    values = [_given(walk, exported, node, axes.get(node.name)) for node in graph.find_nodes(op="placeholder")]
    runner = Runner(lambda tensor: Constant(tuple(tensor.shape)), partial(_called, walk))
    walk.results = list(_values(runner.run(exported.module, values)))
    return walk


def _given(walk: Walk, exported: Exported, node: fx.Node, axes: tuple[int, ...] | None) -> Any:  # noqa: ANN401
    """The value of an input of the graph: a parameter, a constant, or what the model is called with."""
    shape = shape_of(node.meta.get("val"))
    if shape is None:
        return None
    if node.name not in exported.inputs:
        name = exported.names.get(node.name)
        if name not in exported.parameters:
            return Constant(shape)
        return Constant(shape, frozenset({name}), name, tuple(range(len(shape))))
    step = _step(walk, node, "input", [])
    if axes is None:
        return Unfollowed(shape, step, "input")
    lengths = [length if axis in axes else 1 for axis, length in enumerate(shape)]
    ids = walk.nodes.fresh(int(torch.Size(lengths).numel()))
    walk.inputs.append(ids)
    return Channels(ids.reshape(lengths), shape, step)


def _called(walk: Walk, node: fx.Node, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:  # noqa: ANN401
    name = operator_name(node.target)
    values = list(_values((*arguments, *named.values())))
    shapes = shapes_of(node.meta.get("val"))
    if not shapes:
        return None
    if all(isinstance(value, Constant) for value in values) and name not in {"embedding", "embedding_bag"}:
        return constants(name, node, values, shapes)
    step = _step(walk, node, name, values)
    found = _answer(Call(walk, node, name, step, bound_arguments(node.target, arguments, named), shapes))
    if "batch_norm" in name and arguments:
        _behind(walk, node, arguments[0])
    return found


def _answer(call: Call) -> Any:  # noqa: ANN401 - one value or several
    rule = RULES.get(call.name) or CONTRACTIONS.get(call.name) or MOVES.get(call.name)
    target = call.node.target
    if rule is None and torch.Tag.pointwise in getattr(target, "tags", ()):
        rule = pointwise
    found = rule(call) if rule else _unknown(call)
    if len(call.shapes) == 1 and not isinstance(call.node.meta["val"], list | tuple):
        return found[0] if isinstance(found, list) else found
    several = found if isinstance(found, list) else [found]
    return [*several, *(call.lost(output=place) for place in range(len(several), len(call.shapes)))]


def _unknown(call: Call) -> Value:
    """What an operator without a rule gives; what was lost before keeps the name of what lost it."""
    values = call.values()
    before = next((one.operator for one in values if isinstance(one, Unfollowed) and one.operator != "input"), None)
    return call.lost(operator=None if any(isinstance(one, Channels) for one in values) else before)


def _behind(walk: Walk, node: fx.Node, value: Any) -> None:  # noqa: ANN401
    """Write down a batch norm that is the only one to read a layer."""
    source = node.args[0]
    if not isinstance(source, fx.Node) or not isinstance(value, Channels) or len(source.users) != 1:
        return
    read = next((one for one in reversed(walk.reads) if one.step == value.step), None)
    if read is not None:
        read.norm = walk.paths[-1] or None


def _step(walk: Walk, node: fx.Node, name: str, values: Sequence[Value]) -> int:
    above = 0
    for value in values:
        if not isinstance(value, Constant):
            above |= walk.ancestors[value.step] | 1 << value.step
    walk.operators.append(name)
    walk.ancestors.append(above)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    walk.paths.append(str(stack[-1][0]) if stack else "")
    return len(walk.ancestors) - 1


def _values(tree: Any) -> Any:  # noqa: ANN401 - an iterator over a tree
    for one in tree if isinstance(tree, list | tuple) or not isinstance(tree, dict) else tree.values():
        if isinstance(one, Channels | Constant | Unfollowed):
            yield one
        elif isinstance(one, list | tuple | dict):
            yield from _values(one)
