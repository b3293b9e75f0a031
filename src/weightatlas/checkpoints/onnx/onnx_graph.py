"""The graph of an ONNX file: its nodes as far as they name weights, and the tensors it starts from.

**Source:** `GraphProto` and `NodeProto` of onnx.proto. Graphs within nodes are not looked into.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.onnx.onnx_tensor import StoredTensor, parse_tensor
from weightatlas.checkpoints.onnx.protobuf import LENGTH, WireReader
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints.onnx.protobuf import Field

NODE_LIMIT: Final = 300_000
TENSOR_LIMIT: Final = 100_000
SCOPES: Final = "pkg.torch.onnx.name_scopes"
SIGNATURE: Final = "pkg.torch.export.ExportedProgram.graph_signature"
_WITH_NUMBERS: Final = frozenset({"Gemm", "ConvTranspose"})
_ANONYMOUS: Final = re.compile(
    r"onnx::\w+|_*val_\d+|_v_\d+|\d+|const_fold_opt__\d+|(.*/)?(Constant|Transpose|Identity)(_\d+)?_output_\d+"
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph.

    Attributes:
        operator: its type: "Conv", "MatMul", ...
        name: its own name.
        inputs: names of the values it takes; "" where an optional one is absent.
        outputs: names of the values it makes.
        scopes: the modules it came from, as torch's newer exporter writes them, or "".
        numbers: its attributes that are whole numbers, as far as they matter here.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scopes: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Graph:
    """What a graph says of weights.

    Attributes:
        nodes: in the order of the file, which is one in which they can run.
        tensors: those it starts from, and those that constant nodes hold.
        inline: names of the latter.
        skipped: what is no tensor that can be read.
        signature: what torch's newer exporter says of the network's inputs, or "".
    """

    nodes: list[Node] = field(default_factory=list)
    tensors: list[StoredTensor] = field(default_factory=list)
    inline: set[str] = field(default_factory=set)
    skipped: list[Skipped] = field(default_factory=list)
    signature: str = ""


def is_anonymous(name: str) -> bool:
    """Whether an exporter made a name up.

    Example:
        >>> is_anonymous("onnx::Conv_497"), is_anonymous("val_12"), is_anonymous("layer1.0.conv1.weight")
        (True, True, False)
    """
    return _ANONYMOUS.fullmatch(name) is not None


def read_graph(wire: WireReader, graph: Field) -> Graph:
    """Read the message of a graph; elements of tensors are passed by.

    Raises:
        SourceError: it breaks the format, or has more nodes or tensors than fit in memory.
    """
    found = Graph()
    for part in wire.fields(graph.start, graph.end):
        if part.number in {1, 5, 15}:
            wire.expect(part, LENGTH, "a part of the graph")
        if part.number == 1:
            node, constant = _read_node(wire, part)
            found.nodes.append(node)
            if constant is not None:
                found.tensors.append(constant)
                found.inline.add(constant.name)
        elif part.number == 5:
            found.tensors.append(parse_tensor(wire, part.start, part.end))
        elif part.number == 15:
            found.skipped.append(Skipped(_sparse_name(wire, part), "a sparse tensor"))
        elif part.number == 16:
            found.signature = found.signature or _entry(wire, part, SIGNATURE)
        for what, count, limit in (
            ("nodes", len(found.nodes), NODE_LIMIT),
            ("tensors", len(found.tensors) + len(found.skipped), TENSOR_LIMIT),
        ):
            if count > limit:
                raise SourceError(wire.name, f"has more than {limit} {what}", "do not use this checkpoint")
    return found


def _sparse_name(wire: WireReader, part: Field) -> str:
    for entry in wire.fields(part.start, part.end):
        if entry.number == 1:
            wire.expect(entry, LENGTH, "a sparse tensor's values")
            return parse_tensor(wire, entry.start, entry.end).name
    return ""


def _read_node(wire: WireReader, part: Field) -> tuple[Node, StoredTensor | None]:
    """Read a node; and the tensor it holds, if it is a constant of floating type and two or more dimensions."""
    texts = {3: "", 4: ""}
    values: dict[int, list[str]] = {1: [], 2: []}
    attributes: list[Field] = []
    scopes = ""
    for entry in wire.fields(part.start, part.end):
        if entry.number in values:
            values[entry.number].append(wire.text(entry, "a value's name"))
        elif entry.number in texts:
            texts[entry.number] = wire.text(entry, "a node's name")
        elif entry.number == 5:
            wire.expect(entry, LENGTH, "an attribute")
            attributes.append(entry)
        elif entry.number == 9 and not scopes:
            scopes = _entry(wire, entry, SCOPES)
    numbers, constant, operator = {}, None, texts[4]
    if operator in _WITH_NUMBERS:
        numbers = dict(_number(wire, attribute) for attribute in attributes)
    elif operator == "Constant" and len(attributes) == len(values[2]) == 1:
        constant = _constant(wire, attributes[0], values[2][0])
    return Node(operator, texts[3], tuple(values[1]), tuple(values[2]), scopes, numbers), constant


def _entry(wire: WireReader, part: Field, key: str) -> str:
    """The value of an entry of metadata if it has that key, else ""; others, stack traces say, are not read."""
    wire.expect(part, LENGTH, "an entry of metadata")
    entries = {entry.number: entry for entry in wire.fields(part.start, part.end)}
    if not {1, 2} <= entries.keys() or wire.text(entries[1], "a key") != key:
        return ""
    return wire.text(entries[2], "a value of metadata")


def _number(wire: WireReader, attribute: Field) -> tuple[str, int]:
    name, number = "", 0
    for entry in wire.fields(attribute.start, attribute.end):
        if entry.number == 1:
            name = wire.text(entry, "an attribute's name")
        elif entry.number == 3:
            number = wire.number(entry, "an attribute's number")
    return name, number


def _constant(wire: WireReader, attribute: Field, name: str) -> StoredTensor | None:
    for entry in wire.fields(attribute.start, attribute.end):
        if entry.number == 5:
            wire.expect(entry, LENGTH, "a constant")
            tensor = parse_tensor(wire, entry.start, entry.end)
            tensor.name = name
            is_weight = tensor.unreadable is None and "float" in tensor.dtype and len(tensor.shape) > 1
            return tensor if is_weight else None
    return None


def tensors_by_name(source: str, graph: Graph) -> tuple[dict[str, StoredTensor], list[Node]]:
    """Tensors by name, and under each name by which they are passed on, as tied parameters are; the other nodes.

    Raises:
        SourceError: two have the same name, or one has none.
    """
    tensors: dict[str, StoredTensor] = {}
    for tensor in graph.tensors:
        if not tensor.name or tensor.name in tensors:
            problem = (
                f"two of its tensors are called {tensor.name[:80]!r}" if tensor.name else "a tensor without a name"
            )
            raise SourceError(source, problem, REMEDY)
        tensors[tensor.name] = tensor
    others = []
    for node in graph.nodes:
        if node.operator == "Identity" and len(node.inputs) == len(node.outputs) == 1:
            inner, outer = node.inputs[0], node.outputs[0]
            if inner in tensors and outer not in tensors and ("." in outer or is_anonymous(outer)):
                tensors[outer] = replace(tensors[inner], name=outer)
                continue
        others.append(node)
    return tensors, others
