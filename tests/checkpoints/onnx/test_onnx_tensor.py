from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.checkpoints.onnx.onnx_tensor import DTYPES, OTHER_TYPES
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

READABLE = sorted(DTYPES)


def write_model(path: Path, *tensors: TensorProto, **graph: Any) -> Path:  # noqa: ANN401 - fields of a GraphProto
    made = helper.make_graph([], "graph", [], [], initializer=list(tensors))
    for key, values in graph.items():
        getattr(made, key).extend(values)
    path.write_bytes(helper.make_model(made).SerializeToString())
    return path


def values_of(code: int) -> np.ndarray[Any, Any]:
    """Six values of a type, negative and large ones among them, as the onnx package holds them."""
    dtype = helper.tensor_dtype_to_np_dtype(code)
    if dtype.kind == "b":
        return np.array([[True, False, True], [False, False, True]])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([[0, 1, info.max], [info.min, info.max // 2, 77]], dtype=dtype)
    values = np.array([[0.0, 1.5, -2.0], [0.5, 4.0, 1.0]])
    if dtype.kind == "c":
        return (values + 1j * values[::-1]).astype(dtype)
    return np.abs(values).astype(dtype) if dtype == ml_dtypes.float8_e8m0fnu else values.astype(dtype)


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


@pytest.mark.parametrize("code", READABLE, ids=[DTYPES[code] for code in READABLE])
@pytest.mark.parametrize("raw", [True, False])
def test_every_type_comes_out_as_the_onnx_package_reads_it(code: int, tmp_path: Path, *, raw: bool) -> None:
    array = values_of(code)
    if raw:
        tensor = helper.make_tensor("w", code, array.shape, array.tobytes(), raw=True)
    else:
        tensor = helper.make_tensor("w", code, array.shape, array.reshape(-1))
        assert not tensor.raw_data
    expected = numpy_helper.to_array(tensor)
    checkpoint = open_checkpoint(write_model(tmp_path / "x.onnx", tensor))
    found = checkpoint["w"]
    assert str(found.dtype) == f"torch.{DTYPES[code]}"
    assert found.shape == expected.shape
    assert bits(found) == expected.tobytes()
    assert checkpoint.info["w"].nbytes == expected.nbytes
    assert bits(torch.cat(list(checkpoint.chunks("w", 4)))) == expected.tobytes()


def test_every_type_that_the_onnx_package_knows_is_known() -> None:
    assert set(TensorProto.DataType.values()) == set(DTYPES) | set(OTHER_TYPES)
    assert all(TensorProto.DataType.Name(code) == name for code, name in OTHER_TYPES.items())


@pytest.mark.parametrize(("code", "field"), [(TensorProto.FLOAT, 4), (TensorProto.INT32, 5), (TensorProto.INT64, 7)])
def test_numbers_that_are_not_packed_are_read(code: int, field: int, tmp_path: Path) -> None:
    message = TensorProto(name="w", data_type=code, dims=[3]).SerializeToString()
    if field == 4:
        message += b"".join(b"\x25" + np.float32(value).tobytes() for value in (1.5, -2, 3))
    else:
        message += b"".join(bytes([field << 3]) + value for value in (b"\x05", b"\xff" * 9 + b"\x01", b"\x96\x01"))
    tensor = TensorProto.FromString(message)
    assert tensor.SerializeToString() != message  # the library writes them packed
    data = write_model(tmp_path / "x.onnx", tensor).read_bytes()
    written = tensor.SerializeToString()
    length = data.index(written) - 1
    graph = data.rindex(b"\x3a", 0, length)
    grown = len(message) - len(written)
    changed = bytearray(data[:length]) + bytes([data[length] + grown]) + message + data[length + 1 + len(written) :]
    changed[graph + 1] += grown
    (tmp_path / "x.onnx").write_bytes(changed)
    assert onnx.load(tmp_path / "x.onnx").graph.initializer[0] == tensor
    assert open_checkpoint(tmp_path / "x.onnx")["w"].tolist() == numpy_helper.to_array(tensor).tolist()


@pytest.mark.parametrize("code", sorted(OTHER_TYPES))
def test_a_type_torch_has_not_is_a_skipped_entry(code: int, tmp_path: Path) -> None:
    odd = TensorProto(name="odd", data_type=code, dims=[2], raw_data=b"\x12")
    checkpoint = open_checkpoint(write_model(tmp_path / "x.onnx", odd, numpy_helper.from_array(np.ones(3), "w")))
    assert list(checkpoint) == ["w"]
    assert [(row.name, OTHER_TYPES[code] in row.reason) for row in checkpoint.skipped] == [("odd", True)]


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 0, 5)])
def test_shapes_without_extent_are_read(shape: tuple[int, ...], tmp_path: Path) -> None:
    checkpoint = open_checkpoint(
        write_model(tmp_path / "x.onnx", numpy_helper.from_array(np.ones(shape, np.float32), "w"))
    )
    assert checkpoint["w"].shape == shape


def test_an_empty_tensor_needs_no_data(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.INT32, dims=[0])
    assert open_checkpoint(write_model(tmp_path / "x.onnx", tensor))["w"].tolist() == []


def external(**entries: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_external_elements_are_read_where_the_onnx_package_wrote_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {f"layer{n}.weight": generator.standard_normal((3, n + 1)).astype(np.float32) for n in range(3)}
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(array, key) for key, array in arrays.items()])
    model = helper.make_model(graph)
    onnx.save(model, tmp_path / "x.onnx", save_as_external_data=True, location="x.data", size_threshold=0)
    checkpoint = open_checkpoint(tmp_path / "x.onnx")
    assert {info.file for info in checkpoint.info.values()} == {str(tmp_path / "x.data")}
    assert {key: checkpoint[key].numpy().tobytes() for key in checkpoint} == {
        key: array.tobytes() for key, array in arrays.items()
    }


def test_a_folder_below_and_no_length_will_do(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"#" * 8 + np.arange(6, dtype=np.float32).tobytes())
    path = write_model(tmp_path / "x.onnx", external(location="data/w.bin", offset="8"))
    assert open_checkpoint(path)["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "../../etc/passwd"}, "outside its folder"),
        ({"location": "/etc/passwd"}, "outside its folder"),
        ({"location": "C:\\weights.bin"}, "outside its folder"),
        ({}, "outside its folder"),
        ({"location": "link.bin"}, "link that leaves"),
        ({"location": "missing.bin"}, "missing"),
        ({"location": "."}, "outside its folder"),
        ({"location": "w.bin", "offset": "4"}, "which has 24"),
        ({"location": "w.bin", "offset": str(2**60)}, "which has 24"),
        ({"location": "w.bin", "offset": "-4"}, "no number of bytes"),
        ({"location": "w.bin", "offset": "9" * 5000}, "no number of bytes"),
        ({"location": "w.bin", "length": "20"}, "does not fill"),
        ({"location": "w.bin", "length": str(2**60)}, "does not fill"),
    ],
)
def test_external_elements_that_lie_elsewhere_are_refused(entries: dict[str, str], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    (folder / "w.bin").write_bytes(bytes(24))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(SourceError, match=words) as caught:
        open_checkpoint(write_model(folder / "x.onnx", external(**entries)))
    assert len(str(caught.value)) < 500


FLOATS: dict[str, Any] = {"name": "w", "data_type": TensorProto.FLOAT}


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"dims": [2, 4], "raw_data": bytes(24)}, "does not fill"),
        ({"dims": [2**62, 2**62], "raw_data": bytes(24)}, "does not fill"),
        ({"dims": [2**31, 2**31, 4], "raw_data": b""}, "does not fill"),
        ({"dims": [-2, -3], "raw_data": bytes(24)}, "dimension of -3|dimension of -2"),
        ({"dims": [1] * 65, "raw_data": bytes(4)}, "more than 64 dimensions"),
        ({"dims": [6]}, "does not fill 0 bytes"),
        ({"dims": [3], "float_data": [1, 2]}, "does not fill"),
        ({"dims": [2], "double_data": [1, 2]}, "cannot be in"),
        ({"dims": [2], "float_data": [1, 2], "raw_data": bytes(8)}, "elements twice"),
        ({"dims": [2], "float_data": [1, 2], "double_data": [1, 2]}, "elements twice"),
        ({"dims": [2**40], "int32_data": [1, 2], "data_type": TensorProto.INT32}, "does not fit"),
        ({"dims": [1], "int32_data": [1] * 40, "data_type": TensorProto.INT32}, "does not fit"),
        ({"dims": [2], "name": "", "raw_data": bytes(8)}, "without a name"),
    ],
)
def test_a_tensor_that_lies_is_refused_with_what_is_wrong(tensor: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        open_checkpoint(write_model(tmp_path / "x.onnx", TensorProto(**(FLOATS | tensor))))
    assert len(str(caught.value)) < 500


def test_numbers_that_do_not_fit_are_refused_when_they_are_read(tmp_path: Path) -> None:
    lying = TensorProto(name="w", data_type=TensorProto.INT32, dims=[3], int32_data=[300, 300, 300, 300])
    checkpoint: Checkpoint = open_checkpoint(write_model(tmp_path / "x.onnx", lying))
    with pytest.raises(SourceError, match="needs 3 numbers"):
        checkpoint["w"]


def test_a_segment_is_skipped(tmp_path: Path) -> None:
    part = TensorProto(**FLOATS, dims=[2], raw_data=bytes(8), segment=TensorProto.Segment(begin=0, end=2))
    whole = numpy_helper.from_array(np.ones(2), "whole")
    checkpoint = open_checkpoint(write_model(tmp_path / "x.onnx", part, whole))
    assert [(row.name, row.reason) for row in checkpoint.skipped] == [("w", "a segment of a tensor")]
