"""Walk an exported graph in order of execution and make the same every two axes that must move together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx

from weightatlas.anatomy.graph.operators import bound_arguments, operator_name, shape_of, shapes_of
from weightatlas.anatomy.graph.running import Runner
from weightatlas.anatomy.symmetries.calls import Call, Rule, Value, hold, values_in
from weightatlas.anatomy.symmetries.contracting import CONTRACTING
from weightatlas.anatomy.symmetries.elementwise import ELEMENTWISE, pointwise
from weightatlas.anatomy.symmetries.instances import Instances
from weightatlas.anatomy.symmetries.moving import MOVING, unknown
from weightatlas.anatomy.symmetries.normalizing import NORMALIZING
from weightatlas.anatomy.symmetries.terms import Leaf, Term
from weightatlas.anatomy.symmetries.unification import unify

if TYPE_CHECKING:
    from weightatlas.anatomy.graph.exporting import Exported

INPUT: Final = "the order of the model's inputs"
OUTPUT: Final = "the order of the model's outputs"
UNREAD: Final = "nothing in the graph reads it"
CONSTANT: Final = "numbers that the model does not learn stand along it"

RULES: Final[Mapping[str, Rule]] = {**ELEMENTWISE, **NORMALIZING, **CONTRACTING, **MOVING}


@dataclass(slots=True, eq=False)
class Walk:
    """What a walk found.

    Attributes:
        tensors: the axes of every parameter and buffer that can move, by its name in the state dict.
        values: the axes of everything in the graph, and of what operators compute on their way.
        instances: copies of axes beside others.
    """

    tensors: dict[str, tuple[Term, ...]] = field(default_factory=dict)
    values: list[tuple[Term, ...]] = field(default_factory=list)
    instances: Instances = field(default_factory=Instances)


def walk_symmetries(exported: Exported, movable: Collection[str]) -> Walk:
    """Find which axes of which tensors move together.

    Args:
        exported: the graph.
        movable: names of the tensors that may be permuted; others are constants.
    """
    walk = Walk()
    nodes = exported.module.graph.find_nodes(op="placeholder")
    read = {name for node in nodes if node.users for name in _names(exported, node)}
    given = [_given(walk, exported, node, movable, read) for node in nodes]
    for names in exported.aliases.values():
        _tie([walk.tensors[name] for name in names if name in walk.tensors])
    results = Runner(partial(_held, walk), partial(_called, walk)).run(exported.module, given)
    for value in values_in([results]):
        hold(value.axes, OUTPUT)
    walk.instances.settle(walk.values, walk.tensors.values())
    return walk


def _tie(several: Sequence[tuple[Term, ...]]) -> None:
    """Make the axes of one parameter that has several names the same."""
    for axes in several[1:]:
        for ours, theirs in zip(several[0], axes, strict=True):
            unify(ours, theirs)


def _names(exported: Exported, node: fx.Node) -> tuple[str, ...]:
    """All names of the tensor that an input of the graph is."""
    name = exported.names.get(node.name, "")
    return exported.aliases.get(name, (name,))


def _given(
    walk: Walk, exported: Exported, node: fx.Node, movable: Collection[str], read: Collection[str]
) -> Value | None:
    """The value of an input of the graph: a tensor that may move, a constant, or what the model is called with."""
    shape = shape_of(node.meta.get("val"))
    if shape is None:
        return None
    name = exported.names.get(node.name)
    if node.name in exported.inputs:
        axes = tuple(Leaf(length, INPUT) for length in shape)
    elif name in movable:
        axes = tuple(Leaf(length, None if name in read else UNREAD) for length in shape)
        walk.tensors[str(name)] = axes
    else:
        axes = _constant(exported.state.get(node.name), shape)
    walk.values.append(axes)
    return Value(axes, shape)


def _constant(value: object, shape: Sequence[int]) -> tuple[Leaf, ...]:
    """The axes of a constant: along those where it does not change, its entries may change places."""
    if not isinstance(value, torch.Tensor) or value.is_meta or not value.numel():
        return tuple(Leaf(length, CONSTANT) for length in shape)
    same = [bool((value == value.narrow(axis, 0, 1)).all()) for axis in range(len(shape))]
    return tuple(Leaf(length, None if one else CONSTANT) for length, one in zip(shape, same, strict=True))


def _held(walk: Walk, tensor: torch.Tensor) -> Value:
    """The value of a constant within the graph."""
    axes = _constant(tensor, tuple(tensor.shape))
    walk.values.append(axes)
    return Value(axes, tuple(tensor.shape))


def _called(walk: Walk, node: fx.Node, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:  # noqa: ANN401
    name = operator_name(node.target)
    shapes = shapes_of(node.meta.get("val"))
    if not shapes:
        unshaped = list(values_in([arguments, named]))
        for value in unshaped if name == "item" or "sym" in name else ():
            hold(value.axes, "a number is read off it")
        return None
    call = Call(node, name, bound_arguments(node.target, arguments, named), shapes, walk.instances, walk.values)
    found = _rule(call)(call)
    several = found if isinstance(found, list) else [found]
    walk.values += [value.axes for value in several]
    return several if isinstance(node.meta["val"], list | tuple) else several[0]


def _rule(call: Call) -> Rule:
    """The rule for an operator; one on tensors of length 0, or with lengths that are not fixed, is not followed."""
    if any(0 in value.shape for value in call.values()):
        return unknown
    rule = RULES.get(call.name)
    if call.name in {"max", "min"} and len(call.values()) > 1:
        return pointwise
    if rule is None and torch.Tag.pointwise in getattr(call.node.target, "tags", ()):
        return pointwise
    return rule or unknown
