from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.onnx.onnx_file import METADATA_LENGTH, METADATA_LIMIT, detect_onnx, open_onnx
from weightatlas.checkpoints.onnx.protobuf import varint
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def varint_bytes(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits[-1] |= 0x80
        digits.append(value & 0x7F)
    return bytes(digits)


def delimited(number: int, payload: bytes) -> bytes:
    return varint_bytes(number << 3 | 2) + varint_bytes(len(payload)) + payload


def small_model() -> onnx.ModelProto:
    """A bit of everything: raw and typed elements, nodes with attributes, scopes, metadata."""
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((4, 3)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(generator.standard_normal((4, 3, 5, 5)).astype(np.float32), "onnx::Conv_1"),
        helper.make_tensor("conv.bias", onnx.TensorProto.FLOAT16, (4,), [1, 2, 3, 4]),
        helper.make_tensor("steps", onnx.TensorProto.INT64, (2, 2), [1, -2, 3, 2**40]),
        numpy_helper.from_array(matrix, "val_3"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "onnx::Conv_1", "conv.bias"], ["y"], name="/conv/Conv", group=1),
        helper.make_node("MatMul", ["y", "val_3"], ["z"], name="node_linear", doc_string="why"),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(matrix)),
    ]
    nodes[1].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'fc', 'linear']")
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], tensors), producer_name="pytorch")
    model.metadata_props.add(key="author", value="nobody")
    return model


WHOLE = small_model().SerializeToString()


def test_what_the_file_says_of_itself_is_kept_within_bounds(tmp_path: Path) -> None:
    model = small_model()
    model.producer_version = "2.13"
    model.opset_import.add(domain="ai.onnx.ml", version=3)
    model.metadata_props.add(key="producer_name", value="someone else")
    model.metadata_props.add(key="long", value="x" * 100_000)
    onnx.save(model, tmp_path / "x.onnx")
    checkpoint = open_checkpoint(tmp_path / "x.onnx")
    expected = {"producer_name": "pytorch", "producer_version": "2.13", "opset ai.onnx.ml": "3", "author": "nobody"}
    assert expected.items() <= checkpoint.metadata.items()
    assert checkpoint.metadata["opset"] == str(model.opset_import[0].version)
    assert len(checkpoint.metadata["long"]) == METADATA_LENGTH
    for number in range(2 * METADATA_LIMIT):
        model.metadata_props.add(key=f"{number}", value="")
    onnx.save(model, tmp_path / "x.onnx")
    assert len(open_checkpoint(tmp_path / "x.onnx").metadata) <= METADATA_LIMIT + 4
    assert checkpoint.file_format == "onnx"
    assert "2 tensors have their names from the nodes that use them" in checkpoint.notes


def test_a_file_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "nameless").write_bytes(WHOLE)
    assert set(open_checkpoint(tmp_path / "nameless")) == {"onnx::Conv_1", "conv.bias", "steps", "val_3", "c"}
    blob = LocalBlob(tmp_path / "nameless")
    assert detect_onnx(blob, WHOLE)
    for other in (b"GGUF\x03", b"PK\x03\x04", b"\x80\x02}", b"\x89HDF\r\n", b"<html>", b": a colon", b"", bytes(64)):
        assert not detect_onnx(blob, other)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x08\x08" + delimited(2, b"pytorch"), "without a graph"),
        (b"\x08\x08" + delimited(7, b"") * 2, "two graphs"),
        (b"\x08\x08" + delimited(7, b""), "holds no tensors"),
        (b"\x08\x08" + delimited(7, b"\x08\x01"), "a part of the graph"),
        (b"\x08\x08" + delimited(7, delimited(1, b"\x08\x01")), "wire type 0, not 2"),
        (b"\x08\x08" + delimited(7, delimited(5, delimited(5, delimited(5, b"\x0b")))), "wire type|a tensor"),
        (
            b"\x08\x08" + delimited(7, delimited(5, b"\x08\x01" + b"\x4a" + varint_bytes(2**60))) + b"\x42\x00",
            "beyond its message",
        ),
        (b"\x08\x08" + delimited(7, delimited(5, delimited(8, b"\xff\xfe")))[:-1] + b"\xff", "no text"),
        (b"\x08\x08\x3a" + varint_bytes(2**60) + b"\x0a", "truncated"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (b"\x20\x00\x00\x00ORTM" + bytes(60), "ONNX Runtime's own format"),
    ],
)
def test_a_file_that_lies_is_refused_with_what_is_wrong(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(SourceError, match=words) as caught:
        open_checkpoint(tmp_path / "x.onnx")
    assert len(str(caught.value)) < 500


def read_all(path: Path, data: bytes) -> bool:
    """Whether a file opens; what it lists is read, and each tensor is as listed or refused."""
    path.write_bytes(data)
    try:
        checkpoint = open_checkpoint(path)
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        return False
    for name, info in checkpoint.info.items():
        try:
            assert tuple(checkpoint[name].shape) == info.shape
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017
    return True


@EVERYTHING
@given(data=st.binary(max_size=300))
def test_any_bytes_end_in_tensors_or_one_sentence(data: bytes, tmp_path: Path) -> None:
    read_all(tmp_path / "x.onnx", b"\x08\x08" + delimited(7, data))
    read_all(tmp_path / "x.onnx", b"\x08\x08" + delimited(7, delimited(5, data)))


@EVERYTHING
@given(
    changes=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    end=st.integers(1, len(WHOLE)) | st.just(len(WHOLE)),
)
def test_a_damaged_file_ends_in_tensors_or_one_sentence(
    changes: list[tuple[int, int]], end: int, tmp_path: Path
) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    read_all(tmp_path / "x.onnx", bytes(data[:end]))


FIELDS = st.integers(1, 16)
MESSAGES = st.recursive(
    st.builds(lambda n, value: varint_bytes(n << 3) + varint_bytes(value), FIELDS, st.integers(0, 2**64 - 1))
    | st.builds(delimited, FIELDS, st.sampled_from([b"", b"a.weight", b"MatMul", b"Conv"])),
    lambda inner: st.builds(lambda n, parts: delimited(n, b"".join(parts)), FIELDS, st.lists(inner, max_size=5)),
    max_leaves=12,
)


@EVERYTHING
@given(parts=st.lists(MESSAGES, max_size=8))
def test_any_messages_end_in_tensors_or_one_sentence(parts: list[bytes], tmp_path: Path) -> None:
    read_all(tmp_path / "x.onnx", b"\x08\x08" + delimited(7, b"".join(parts)) + delimited(14, b"".join(parts)))


class CountedBlob(LocalBlob):
    """A file as if behind a URL: it keeps count of what is read."""

    is_local = False
    bytes_read = 0

    def read(self, offset: int, length: int) -> bytes:
        self.bytes_read += length
        return super().read(offset, length)


def test_a_huge_file_is_listed_without_its_weights(tmp_path: Path) -> None:
    size = 2**34
    head = b"\x08\x01\x10\x01" + b"\x42\x08a.weight" + b"\x4a" + varint_bytes(size)
    dims = b"\x08" + varint_bytes(size // 4)
    tensor = dims + head[2:]
    begin = b"\x2a" + varint_bytes(len(tensor) + size) + tensor
    last = delimited(5, numpy_helper.from_array(np.array([1.5, -2], np.float32), "z.weight").SerializeToString())
    graph = b"\x08\x08\x3a" + varint_bytes(len(begin) + size + len(last))
    with (tmp_path / "x.onnx").open("wb") as file:
        file.write(graph + begin)
        file.truncate(len(graph + begin) + size)  # 16 GB, sparse
        file.seek(0, 2)
        file.write(last + b"\x42\x02\x10\x0d")
    blob = CountedBlob(tmp_path / "x.onnx")
    contents = open_onnx(blob)
    assert [(header.name, header.nbytes) for header in contents.headers] == [("a.weight", size), ("z.weight", 8)]
    assert blob.bytes_read < 20_000
    assert open_checkpoint(tmp_path / "x.onnx")["z.weight"].tolist() == [1.5, -2]


def test_listing_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(WHOLE)
    code = (
        "import sys; from pathlib import Path; from weightatlas.checkpoints.places.blob import LocalBlob;"
        "from weightatlas.checkpoints.onnx.onnx_file import open_onnx;"
        f"assert len(open_onnx(LocalBlob(Path({str(tmp_path / 'x.onnx')!r}))).headers) == 5;"
        "assert not {'torch', 'numpy', 'onnx'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def test_varints_here_are_those_of_the_reader() -> None:
    assert varint(varint_bytes(2**60), 0) == (2**60, 9)
