"""Strategies of GGUF, ONNX and HDF5."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.sample import NAMES, NUMBERS, Draw, Sample, lie, mutated
from tests.hostile import gguf_lies, onnx_lies
from tests.hostile.valid_files import valid

LARGEST: Final = 2**64 - 1
HDF5_MARKS: Final = (
    b"\x89HDF",
    b"TREE",
    b"HEAP",
    b"SNOD",
    b"OHDR",
    b"GCOL",
    b"layer_names",
    b"weight_names",
    b"vars",
    b"\x00\x00\x11",
)
GGUF_MARKS: Final = (b"GGUF", b"conv1", b"general", b"tokens")
GGUF_KINDS: Final = {0: 4, 1: 2, 24: 1, 25: 2, 26: 4, 27: 8, 28: 8, 30: 2}


@st.composite
def gguf(draw: Draw[Any]) -> bytes:
    """A GGUF file that is true but for a field or two."""
    infos, data = [], b""
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(sorted(GGUF_KINDS)))
        sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
        size = GGUF_KINDS[kind]
        for length in sizes:
            size *= length
        infos.append(
            gguf_lies.info(
                draw(NAMES).encode("utf-8", "surrogatepass"),
                [length & LARGEST for length in lie(draw, sizes, st.lists(NUMBERS, max_size=6))],
                lie(draw, kind, st.integers(0, 60)),
                lie(draw, len(data), NUMBERS) & LARGEST,
            )
        )
        data += bytes(size + -size % gguf_lies.ALIGNMENT)
    pairs = draw(st.lists(gguf_pair(), max_size=3))
    return gguf_lies.packed(
        infos,
        pairs,
        data=lie(draw, data, st.binary(max_size=40)),
        tensors=lie(draw, len(infos), NUMBERS, one_in=30) & LARGEST,
        keys=lie(draw, len(pairs), NUMBERS, one_in=30) & LARGEST,
        version=lie(draw, 3, st.integers(0, 5), one_in=30),
    )


@st.composite
def gguf_pair(draw: Draw[Any]) -> bytes:
    """A key and a value of any type, whose lengths may lie."""
    key = draw(st.sampled_from(["general.architecture", "general.alignment", "tokens", "a", "", "x" * 200]))
    kind = draw(st.integers(0, 13))
    value = draw(st.binary(min_size=8, max_size=8))
    if kind == gguf_lies.STRING:
        value = gguf_lies.text(
            draw(st.binary(max_size=8)), length=lie(draw, None, NUMBERS.map(lambda size: size & LARGEST))
        )
    elif kind == gguf_lies.ARRAY:
        inner, count = draw(st.integers(0, 13)), lie(draw, 1, NUMBERS, one_in=4) & LARGEST
        value = inner.to_bytes(4, "little") + count.to_bytes(8, "little") + value
    else:
        value = value[: {0: 1, 1: 1, 2: 2, 3: 2, 7: 1, 10: 8, 11: 8, 12: 8}.get(kind, 4)]
    return gguf_lies.pair(key, kind, value)


@st.composite
def onnx_tensor(draw: Draw[Any]) -> bytes:
    """A TensorProto that is true but for a field or two."""
    sizes = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    size = 4
    for length in sizes:
        size *= length
    raw = bytes(lie(draw, size, st.integers(0, 300)))
    more = lie(draw, b"", st.binary(max_size=12), one_in=8)
    if draw(st.integers(0, 7)) == 7:
        pairs = {"location": draw(NAMES).encode("utf-8", "replace").decode(), "offset": str(draw(NUMBERS))}
        pairs["length"] = str(lie(draw, size, NUMBERS))
        entries = (
            onnx_lies.block(1, key.encode()) + onnx_lies.block(2, value.encode()) for key, value in pairs.items()
        )
        more += b"".join(onnx_lies.block(13, entry) for entry in entries) + onnx_lies.number(14, 1)
        raw = b""
    told = lie(draw, sizes, st.lists(NUMBERS, max_size=4).map(tuple))
    name = draw(NAMES).encode("utf-8", "replace").decode()
    return onnx_lies.tensor(told, lie(draw, 1, st.integers(0, 30)), name, raw, more)


@st.composite
def onnx(draw: Draw[Any]) -> bytes:
    """A ModelProto of some initialisers and nodes."""
    tensors = draw(st.lists(onnx_tensor(), max_size=3))
    nodes = b"".join(
        onnx_lies.block(
            1,
            b"".join(onnx_lies.block(1, draw(st.sampled_from([b"x", b"conv1.weight", b"fc.weight"]))) for _ in range(2))
            + onnx_lies.block(2, b"y")
            + onnx_lies.block(3, b"/conv1/Conv")
            + onnx_lies.block(4, draw(st.sampled_from([b"Conv", b"Gemm", b"MatMul", b"LSTM", b"Identity"]))),
        )
        for _ in range(draw(st.integers(0, 2)))
    )
    more = lie(draw, b"", st.binary(max_size=12), one_in=6)
    return onnx_lies.model(*tensors, graph=nodes + lie(draw, b"", st.binary(max_size=6), one_in=8), more=more)


def gguf_files() -> st.SearchStrategy[Sample]:
    """Made field by field, and honest ones damaged."""
    return st.one_of(gguf(), gguf(), mutated(valid("model.gguf"), GGUF_MARKS)).map(
        lambda data: Sample({"model.gguf": data}, "model.gguf")
    )


def onnx_files() -> st.SearchStrategy[Sample]:
    """Made field by field, and honest ones damaged."""
    return st.one_of(onnx(), onnx(), mutated(valid("model.onnx"), (b"conv1", b"fc"))).map(
        lambda data: Sample({"model.onnx": data}, "model.onnx")
    )


def hdf5_files() -> st.SearchStrategy[Sample]:
    """What Keras 2 and 3 write, damaged."""
    damaged = [mutated(valid(name), HDF5_MARKS) for name in ("keras.h5", "keras3.weights.h5")]
    return st.one_of(*damaged).map(lambda data: Sample({"model.h5": data}, "model.h5"))
