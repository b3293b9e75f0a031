"""Which layer of the torch network an ONNX initialiser belongs to, and how to turn it into torch's order.

Exporters keep the names of parameters, but what they compute while exporting (a transposed matrix, a kernel with its
normalisation folded in) is called `onnx::Conv_497` or `val_12`. The node that uses it says the module it came from.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.onnx.onnx_graph import Node, is_anonymous

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

PARAMETERS: Final[dict[str, dict[int, str]]] = {
    "Conv": {1: "weight", 2: "bias"},
    "ConvTranspose": {1: "weight", 2: "bias"},
    "Gemm": {1: "weight", 2: "bias"},
    "MatMul": {1: "weight"},
    "BatchNormalization": {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    "LayerNormalization": {1: "weight", 2: "bias"},
    "InstanceNormalization": {1: "weight", 2: "bias"},
    "GroupNormalization": {1: "weight", 2: "bias"},
    "RMSNormalization": {1: "weight"},
    "PRelu": {1: "weight"},
    "Gather": {0: "weight"},
    "LSTM": {1: "W", 2: "R", 3: "B"},
    "GRU": {1: "W", 2: "R", 3: "B"},
    "RNN": {1: "W", 2: "R", 3: "B"},
}
"""What torch calls the inputs of an operator, by place; recurrent layers keep ONNX's names and order of gates."""

PATH_LIMIT: Final = 1000
"""The most letters of a node's name that are looked at, from its end where that says the module."""
_BESIDE: Final = 8  # inputs of a node among which a name is looked for
_FOLDED_BIAS: Final = re.compile(r"(.+\.)weight_bias")
_TARGET: Final = re.compile(r"target='([^']*)'")
_AFFINE: Final = {"Mul": "weight", "Add": "bias"}
_PASSING: Final = frozenset({"Cast", "DequantizeLinear"})


@dataclass(frozen=True, slots=True)
class Named:
    """What is known of an initialiser.

    Attributes:
        key: module path and parameter, or its own name where nothing better is known.
        place: of its first use in the graph: the number of the node and of its input.
        axes: the permutation to torch's order, or None.
        merge: the shape to take after the permutation, or None.
        constant: why it is no parameter but a constant of the graph, or None.
        derived: whether the key was told from the node that uses it.
    """

    key: str
    place: tuple[int, int]
    axes: tuple[int, ...] | None = None
    merge: tuple[int, ...] | None = None
    constant: str | None = None
    derived: bool = False


@dataclass(frozen=True, slots=True)
class _Use:
    """An input of a node."""

    node: Node
    number: int
    index: int

    @property
    def parameter(self) -> str | None:
        """What torch calls it, if the operator says."""
        return PARAMETERS.get(self.node.operator, {}).get(self.index)


@dataclass(frozen=True, slots=True)
class _Graph:
    """Where values come from and go to.

    Attributes:
        shapes: of the initialisers, by name.
        uses: of every value, in the graph's order; a weight that is cast or dequantised is used where that goes.
        makers: the node that makes a value.
        kept: names of initialisers that are no exporter's invention.
    """

    shapes: Mapping[str, tuple[int, ...]]
    uses: Mapping[str, Sequence[_Use]]
    makers: Mapping[str, Node]
    kept: frozenset[str]


def module_path(node: Node) -> str:
    """The module that a node came from, from its scopes or its name; "" where neither says.

    torch's older exporter writes a container and its child as two steps, `/layer1/layer1.0/conv1/Conv`.

    Example:
        >>> module_path(Node("Conv", "/layer1/layer1.0/conv1/Conv", (), ()))
        'layer1.0.conv1'
        >>> module_path(Node("MatMul", "node_linear", (), (), "['', 'blocks.0', 'blocks.0.q', 'linear']"))
        'blocks.0.q'
    """
    if node.scopes:
        parts = node.scopes[-PATH_LIMIT:].rsplit("'", 4)
        return parts[1] if len(parts) == 5 else ""
    *steps, _ = node.name[:PATH_LIMIT].split("/")
    path: list[str] = []
    for step in steps:
        if path and step.startswith(f"{path[-1]}."):
            path.pop()
        if step:
            path.append(step)
    return ".".join(path)


def parameters_of(signature: str, names: Iterable[str]) -> frozenset[str]:
    """The initialisers that are parameters or buffers of the torch network.

    Args:
        signature: what torch's newer exporter says of the network's inputs, or "": then all are that have a name.
        names: of the initialisers.

    Example:
        >>> sorted(parameters_of("p_fc_weight: PARAMETER target='fc.weight'", ["fc.weight", "expand_1"]))
        ['fc.weight']
    """
    named = frozenset(name for name in names if not is_anonymous(name))
    return named & set(_TARGET.findall(signature)) or named


def name_initialisers(
    nodes: Sequence[Node],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    kept: frozenset[str],
    whole: AbstractSet[str],
    inline: AbstractSet[str],
    from_torch: bool,
) -> dict[str, Named]:
    """Name every initialiser as the torch network has it.

    A name that an exporter kept is the key. One that it made up is replaced by the module path of the first node that
    uses it and the parameter that this use makes of it. Names that would collide stay as they are in the file.

    Matrices that every use multiplies from the right are turned to (out, in); a matrix whose name torch kept lies as
    torch has it, and so do kernels, those of transposed convolutions as (in, out / groups, ...).

    Args:
        nodes: the graph, in its order.
        shapes: of the initialisers, by name.
        kept: names that are the network's own.
        whole: names of those that hold whole numbers or truth values.
        inline: names of those that constant nodes hold.
        from_torch: whether torch made the file.
    """
    graph = _connect(nodes, shapes, kept)
    derived = _derive(graph, nodes)
    counts = Counter([*kept, *derived.values()])
    named = {}
    for name, shape in shapes.items():
        uses = graph.uses.get(name, ())
        place = (uses[0].number, uses[0].index) if uses else (len(nodes), 0)
        axes = _axes(uses, shape, may_turn=not from_torch or name not in kept)
        key = derived.get(name)
        if key is not None and counts[key] == 1:
            flat = _flat(uses[0], shape)
            axes, merge = flat or (axes, None)
            named[name] = Named(key, place, axes, merge, derived=True)
        elif name in kept or name in derived or not _is_constant(name, uses, shape, whole, inline):
            named[name] = Named(name, place, axes)
        else:
            reason = f"a constant of the graph, for {uses[0].node.operator[:40]}" if uses else "no node uses it"
            named[name] = Named(name, place, axes, constant=reason)
    return named


def _connect(nodes: Sequence[Node], shapes: Mapping[str, tuple[int, ...]], kept: frozenset[str]) -> _Graph:
    uses: dict[str, list[_Use]] = {}
    for number, node in enumerate(nodes):
        for index, value in enumerate(node.inputs):
            uses.setdefault(value, []).append(_Use(node, number, index))
    for name in shapes:
        uses[name] = [
            beyond
            for use in uses.get(name, ())
            for beyond in (
                uses.get(use.node.outputs[0], [])[:1]
                if use.node.operator in _PASSING and use.index == 0 and use.node.outputs
                else [use]
            )
        ]
    makers = {output: node for node in nodes for output in node.outputs}
    return _Graph(shapes, uses, makers, kept)


def _derive(graph: _Graph, nodes: Sequence[Node]) -> dict[str, str]:
    """Keys for what has no name of its own: weights first, then the biases that are added to what they make."""
    derived = dict(_scales(graph, nodes))
    normal = set(derived.values())
    for name, shape in graph.shapes.items():
        uses = graph.uses[name]
        if name in graph.kept or name in derived or not uses or uses[0].parameter is None:
            continue
        if uses[0].node.operator in {"MatMul", "Gather"} and len(shape) < 2:
            continue
        key = _key(graph, uses[0].node, uses[0].parameter)
        if key is not None and not (uses[0].node.operator == "InstanceNormalization" and key in normal):
            derived[name] = key
    for name in graph.shapes:
        folded = _FOLDED_BIAS.fullmatch(name)
        if folded and f"{folded[1]}weight" in graph.kept and f"{folded[1]}bias" not in graph.kept:
            derived[name] = f"{folded[1]}bias"
    return derived | dict(_added(graph, nodes, derived))


def _key(graph: _Graph, node: Node, parameter: str) -> str | None:
    """The key of a parameter without a name, from a named one beside it or from the node."""
    path = module_path(node)
    beside: Sequence[str] = node.inputs
    if node.operator == "MatMul":
        takers = [use.node for value in node.outputs[:1] for use in graph.uses.get(value, ())]
        beside = takers[0].inputs if takers and takers[0].operator == "Add" else ()
    for value in beside[:_BESIDE] if parameter in {"weight", "bias"} else ():
        owner, _, last = value.rpartition(".")
        other = next((other for other in ("weight", "bias") if last.endswith(other)), None)
        if value not in graph.kept or other is None:
            continue
        if other == "bias" and f".{path}." not in f".{owner}.":
            owner = path or owner  # equal biases, all zeros say, are kept once, under the first one's name
        return ".".join(part for part in (owner, f"{last.removesuffix(other)}{parameter}") if part)
    return f"{path}.{parameter}" if path else None


def _scales(graph: _Graph, nodes: Sequence[Node]) -> Iterator[tuple[str, str]]:
    """Scale and shift of a group norm, which exporters write as an instance norm, a product and a sum."""
    normalised = {module_path(node) for node in nodes if node.operator == "InstanceNormalization"} - {""}
    for node in nodes if normalised else ():
        if node.operator not in _AFFINE or module_path(node) not in normalised:
            continue
        constants = [value for value in node.inputs if value in graph.shapes and value not in graph.kept]
        before = {graph.makers[value].operator for value in node.inputs if value in graph.makers}
        if len(constants) == 1 and before <= {"Reshape", "Mul", "InstanceNormalization"}:
            yield constants[0], f"{module_path(node)}.{_AFFINE[node.operator]}"


def _added(graph: _Graph, nodes: Sequence[Node], derived: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Biases that are added to what a matrix makes."""
    for node in nodes:
        if node.operator != "Add":
            continue
        constants = [
            value
            for value in node.inputs
            if len(graph.shapes.get(value, ())) == 1 and value not in graph.kept and value not in derived
        ]
        makers = [graph.makers[value] for value in node.inputs if value in graph.makers]
        if len(constants) == len(makers) == 1 and makers[0].operator == "MatMul" and len(makers[0].inputs) == 2:
            weight = makers[0].inputs[1]
            key = weight if weight in graph.kept else derived.get(weight, "")
            if key.endswith("weight"):
                yield constants[0], f"{key.removesuffix('weight')}bias"


def _axes(uses: Sequence[_Use], shape: tuple[int, ...], *, may_turn: bool) -> tuple[int, ...] | None:
    """The permutation to torch's order, if every use agrees."""
    wanted = {_wanted(use, shape, may_turn=may_turn) for use in uses}
    return wanted.pop() if len(wanted) == 1 else None


def _wanted(use: _Use, shape: tuple[int, ...], *, may_turn: bool) -> tuple[int, ...] | None:
    node, dimensions = use.node, len(shape)
    if use.index != 1 or dimensions < 2:
        return None
    is_plain = node.operator == "MatMul" or (node.operator == "Gemm" and not node.numbers.get("transB", 0))
    return (1, 0) if may_turn and is_plain and dimensions == 2 else None


def _flat(use: _Use, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Axes and shape that merge (1, channels, 1, 1), as a scale of channels is written, to torch's vector."""
    count = math.prod(shape)
    if use.node.operator in {"PRelu", *_AFFINE} and len(shape) > 1 and max(shape) == count:
        return tuple(range(len(shape))), (count,)
    return None


def _is_constant(
    name: str, uses: Sequence[_Use], shape: tuple[int, ...], whole: AbstractSet[str], inline: AbstractSet[str]
) -> bool:
    """Whether an array without a name is no parameter: a shape, an index, a factor, a state to begin with."""
    if len(shape) < 2 and (name in whole or math.prod(shape) <= 1):
        return True
    if not uses or (uses[0].parameter is None and name in inline):
        return name in inline
    node = uses[0].node
    if node.operator == "InstanceNormalization":
        return bool(module_path(node))  # the ones and zeros of a group norm, whose scale and shift have the path
    return node.operator in PARAMETERS and uses[0].parameter is None and uses[0].index > 0
