"""An ONNX model: the tensors it starts from, called and turned as the torch network that it was exported from has them.

The file is a protocol buffer. It is walked here rather than parsed by the `onnx` package because listing then needs no
further package, reads nothing but names and shapes, and takes files of any size.

**Source:** onnx.proto, the `ModelProto`, `GraphProto` and `NodeProto` of IR version 3 and later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.onnx.onnx_graph import Graph, read_graph, tensors_by_name
from weightatlas.checkpoints.onnx.onnx_names import Named, name_initialisers, parameters_of
from weightatlas.checkpoints.onnx.onnx_tensor import StoredTensor, decode_elements, find_elements, parse_pair
from weightatlas.checkpoints.onnx.protobuf import LENGTH, VARINT, WireReader, corrupt, varint
from weightatlas.checkpoints.untrusted import REMEDY
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.onnx.protobuf import Field
    from weightatlas.checkpoints.places.blob import Blob

METADATA_LIMIT: Final = 1000
METADATA_LENGTH: Final = 4096
"""The most entries of metadata that are kept, and the most letters of each."""
_GRAPH: Final = 7
_IR_VERSION: Final = 1
_MODEL: Final[dict[int, int]] = {
    1: VARINT,
    2: LENGTH,
    3: LENGTH,
    4: LENGTH,
    5: VARINT,
    6: LENGTH,
    7: LENGTH,
    8: LENGTH,
    14: LENGTH,
    20: LENGTH,
    25: LENGTH,
    26: LENGTH,
}
"""The fields of a `ModelProto` and how each is written."""
_TEXTS: Final = {2: "producer_name", 3: "producer_version", 4: "domain"}
_WITH_GRAPHS: Final = frozenset({"If", "Loop", "Scan"})


@dataclass(slots=True, eq=False)
class _Model:
    graph: Field | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def detect_onnx(blob: Blob, head: bytes) -> bool:
    """Whether a file starts as a `ModelProto` does: fields of a model, its version among them; there is no magic."""
    if head[4:8] == b"ORTM":
        return True
    index, seen = 0, set()
    try:
        while index < len(head):
            tag, index = varint(head, index)
            value, index = varint(head, index)
            number = tag >> 3
            if _MODEL.get(number) != tag & 7:
                return False
            seen.add(number)
            if tag & 7 == LENGTH:
                index += value
            if number == _GRAPH or index >= blob.size:
                break
    except ValueError:
        return False
    return _IR_VERSION in seen and len(seen) > 1


def open_onnx(blob: Blob) -> Contents:
    """List the initialisers of a model's graph, and the matrices and kernels among its constants.

    Graphs within nodes are not looked into, nor functions.

    Raises:
        SourceError: the file is truncated, breaks the format, or names elements outside its folder.
    """
    if blob.read(0, min(8, blob.size))[4:] == b"ORTM":
        problem = "a model in ONNX Runtime's own format, which is not read"
        raise SourceError(blob.name, problem, "give the .onnx file that it was made from")
    wire = WireReader(blob)
    model = _read_model(wire, blob)
    if model.graph is None:
        raise SourceError(blob.name, "an ONNX model without a graph", REMEDY)
    graph = read_graph(wire, model.graph)
    tensors, nodes = tensors_by_name(blob.name, graph)
    readable = {name: tensor for name, tensor in tensors.items() if tensor.unreadable is None}
    named = name_initialisers(
        nodes,
        {name: tensor.shape for name, tensor in readable.items()},
        kept=parameters_of(graph.signature, readable),
        whole={name for name, tensor in readable.items() if tensor.dtype.startswith(("int", "uint", "bool"))},
        inline=graph.inline,
        from_torch=model.metadata.get("producer_name") == "pytorch",
    )
    skipped = [Skipped(name, reason) for name, tensor in tensors.items() if (reason := tensor.unreadable)]
    skipped += [Skipped(name, entry.constant) for name, entry in named.items() if entry.constant is not None]
    headers = _headers(blob, readable, named)
    return Contents(
        "onnx",
        headers,
        lambda name: decode_elements(blob, readable[name]),
        model.metadata,
        [*graph.skipped, *skipped],
        _notes(graph, named),
        fixed_layout=True,
        in_order=True,
    )


def _read_model(wire: WireReader, blob: Blob) -> _Model:
    model = _Model()
    entries = 0
    for part in wire.fields(0, blob.size):
        if part.number == _GRAPH:
            wire.expect(part, LENGTH, "the graph")
            if model.graph is not None:
                raise corrupt(wire.name, "two graphs")
            model.graph = part
        elif part.number in _TEXTS:
            model.metadata[_TEXTS[part.number]] = wire.text(part, "the producer")[:METADATA_LENGTH]
        elif part.number == 1:
            model.metadata["ir_version"] = str(wire.number(part, "the IR version"))
        elif part.number in {8, 14} and entries < METADATA_LIMIT:
            entries += 1
            key, value = _opset(wire, part) if part.number == 8 else parse_pair(wire, part)
            model.metadata.setdefault(key[:METADATA_LENGTH], value[:METADATA_LENGTH])
    return model


def _opset(wire: WireReader, part: Field) -> tuple[str, str]:
    wire.expect(part, LENGTH, "an operator set")
    domain, version = "", 0
    for entry in wire.fields(part.start, part.end):
        if entry.number == 1:
            domain = wire.text(entry, "a domain")
        elif entry.number == 2:
            version = wire.number(entry, "a version")
    return f"opset {domain}".rstrip(), str(version)


def _headers(blob: Blob, tensors: dict[str, StoredTensor], named: dict[str, Named]) -> list[Header]:
    """Headers in the order in which the graph uses the tensors."""
    files: dict[str, Blob] = {}
    headers = []
    for name in sorted(tensors, key=lambda name: named[name].place):
        tensor, entry = tensors[name], named[name]
        span = find_elements(tensor, blob, files)
        file = blob.name if span is None else span.blob.name
        if entry.constant is None:
            headers.append(
                Header(name, entry.key, tensor.shape, tensor.dtype, tensor.nbytes, file, span, entry.axes, entry.merge)
            )
    return headers


def _notes(graph: Graph, named: dict[str, Named]) -> list[str]:
    notes = []
    derived = sum(entry.derived for entry in named.values())
    if derived:
        count = "1 tensor has its name" if derived == 1 else f"{derived} tensors have their names"
        notes.append(f"{count} from the nodes that use {'it' if derived == 1 else 'them'}")
    inner = sorted({node.operator for node in graph.nodes if node.operator in _WITH_GRAPHS})
    if inner:
        notes.append(f"the graphs within its {' and '.join(inner)} nodes were not looked into")
    return notes
