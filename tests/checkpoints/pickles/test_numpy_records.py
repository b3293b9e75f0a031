from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.pickles.numpy_records import array_record, builds_array, scalar_value
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent, Global
from weightatlas.checkpoints.pickles.pickled import read_pickle
from weightatlas.checkpoints.pickles.torch_records import Unreadable
from weightatlas.checkpoints.places.blob import LocalBlob

if TYPE_CHECKING:
    from pathlib import Path


def array_call(shape: Any = (2,), name: Any = "f4", order: Any = "<", data: Any = bytes(8)) -> Call:  # noqa: ANN401 - anything can be in a pickle
    kind = Call(Global("numpy", "dtype"), (name, False, True), state=(3, order))
    made = Call(Global("numpy.core.multiarray", "_reconstruct"), (Global("numpy", "ndarray"), (0,), b"b"))
    made.state = (1, shape, kind, False, data)
    return made


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_of_numpy_arrays_is_read_without_numpys_help(protocol: int, tmp_path: Path) -> None:
    arrays = {
        "kernel": np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32),
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "big": np.arange(6, dtype=">i4"),
        "small": np.array([True, False]),
        "scalar": np.array(3.0),
        "text": np.array(["a"]),
        "objects": np.array([{}], dtype=object),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": arrays, "author": "somebody"}, protocol))
    checkpoint = open_checkpoint(tmp_path / "x.pkl")
    assert set(checkpoint) == set(arrays) - {"text", "objects"}
    assert all(np.array_equal(checkpoint[name].numpy(), arrays[name]) for name in checkpoint)
    assert checkpoint.metadata == {"author": "somebody"}
    assert {row.name for row in checkpoint.skipped} == {"text", "objects"}


def test_tensors_pickled_without_torch_are_rows_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": torch.ones(2), "a": np.ones(3)}))
    checkpoint = open_checkpoint(tmp_path / "x.pkl")
    assert list(checkpoint) == ["a"]
    assert "without torch.save" in checkpoint.skipped[0].reason


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", "i1", "u2", "i4", "u8", "?"])
def test_scalars_are_numbers(kind: str, protocol: int, tmp_path: Path) -> None:
    value = np.array(1, dtype=kind)[()]
    (tmp_path / "x").write_bytes(pickle.dumps(value, protocol))
    assert scalar_value(read_pickle(LocalBlob(tmp_path / "x")).value) == value


@pytest.mark.parametrize(
    "value",
    [
        3,
        Call(Global("numpy.core.multiarray", "scalar"), ()),
        Call(Global("numpy.core.multiarray", "scalar"), (1, b"")),
        Call(Global("numpy.core.multiarray", "scalar"), (array_call().state[2], b"short")),
        Call(Global("numpy.core.multiarray", "scalar"), (array_call().state[2], Extent(0, 4))),
    ],
)
def test_what_is_no_scalar_has_no_value(value: object) -> None:
    assert scalar_value(value) is None


def test_an_array_says_where_its_bytes_lie() -> None:
    record = array_record(array_call(order=">", data=Extent(100, 8)))
    assert (record.dtype, record.big_endian, record.shape, record.data) == ("float32", True, (2,), Extent(100, 8))
    assert builds_array(array_call())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (array_call(data=bytes(7)), "claims 8 bytes, its pickle holds 7"),
        (array_call(shape=(2**40, 2**40)), "claims"),
        (array_call(shape=(-2,)), "nothing that makes"),
        (array_call(shape=[2]), "nothing that makes"),
        (array_call(shape=(True, 2)), "nothing that makes"),
        (array_call(name="O8", data=[1]), "no torch tensor"),
        (array_call(name="U3", data=bytes(24)), "no torch tensor"),
        (array_call(name=3), "nothing that makes"),
        (array_call(order=("<",)), "nothing that makes"),
        (array_call(data=Call(Global("_codecs", "encode"), ("text", "utf-16"))), "nothing that makes"),
        (array_call(data=Extent(0, 8, is_text=True)), "nothing that makes"),
        (Call(Global("numpy.core.multiarray", "_reconstruct"), ()), "nothing that makes"),
    ],
)
def test_what_makes_no_array_is_a_reason(call: Call, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        array_record(call)
