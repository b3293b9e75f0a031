from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch

from weightatlas.checkpoints import npz, open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAVERS = [np.savez, np.savez_compressed]


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("descriptor", ["<f2", ">f4", "<f8", ">i2", "|u1", "|b1", "<i8", ">c16", "<c8", ">u4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_and_order_comes_out_as_numpy_reads_it(
    save: Callable[..., None],
    descriptor: str,
    order: Literal["C", "F"],
    tmp_path: Path,
) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(descriptor, order=order)
    save(tmp_path / "x.npz", **{"block/conv.weight": array, "scalar": array[1, 2, 3]})
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    read = checkpoint["block/conv.weight"]
    np.testing.assert_array_equal(read.numpy(), array)
    assert checkpoint.info["block/conv.weight"].dtype == array.dtype.newbyteorder("=").name
    assert checkpoint.info["block/conv.weight"].layer == "block.conv"
    assert checkpoint["scalar"].shape == ()
    assert checkpoint["scalar"].numpy() == array[1, 2, 3]


def test_what_torch_has_no_tensor_for_is_skipped_and_objects_stay_pickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("this must not run",))

    np.savez(
        tmp_path / "x.npz",
        allow_pickle=True,
        objects=np.array([Trap()], dtype=object),
        text=np.array(["a", "b"]),
        date=np.array(["2020-01-01"], dtype="datetime64[D]"),
        record=np.zeros(3, dtype=[("a", "f4"), ("b", "i2")]),
        weight=np.ones(3, dtype="f4"),
    )
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    assert list(checkpoint) == ["weight"]
    assert {skipped.name for skipped in checkpoint.skipped} == {"objects", "text", "date", "record"}
    assert all("no torch tensor" in skipped.reason for skipped in checkpoint.skipped)


def member(header: bytes, data: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        member(b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,), }", bytes(16)),
        member(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", bytes(16)),
        member(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }", bytes(16)),
        member(b"{'descr': '<f4', 'fortran_order': False, 'shape': [4], }", bytes(16)),
        member(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 10**30), }", b""),
        member(b"{'descr': '<f3', 'fortran_order': False, 'shape': (4,), }", bytes(12)),
        member(b"{'descr': '', 'fortran_order': False, 'shape': (4,), }", bytes(12)),
        member(b"{'fortran_order': False}", bytes(12)),
        member(b"__import__('os').system('true')", bytes(12)),
        member(b"(" * 5000, bytes(12)),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(20),
        b"no array",
        b"",
    ],
)
def test_a_member_that_lies_is_skipped_and_the_others_are_read(content: bytes, tmp_path: Path) -> None:
    good = io.BytesIO()
    np.save(good, np.ones(3, dtype="f4"))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("bad.npy", content)
        archive.writestr("good.npy", good.getvalue())
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    assert list(checkpoint) == ["good"]
    assert [skipped.name for skipped in checkpoint.skipped] == ["bad"]
    assert len(checkpoint.skipped[0].reason) < 200


def test_a_bomb_is_skipped_unpacked_by_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(npz, "BOMB_SIZE", 1_000_000)  # a gigabyte takes seconds to pack
    np.savez_compressed(tmp_path / "x.npz", bomb=np.zeros(1_000_000, dtype="f4"), small=np.zeros(10, dtype="f4"))
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    assert list(checkpoint) == ["small"]
    assert "would unpack to" in checkpoint.skipped[0].reason


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.ones(3, dtype="f4"))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", array.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", array.getvalue())
    with pytest.raises(SourceError, match="two of its members"):
        open_checkpoint(tmp_path / "x.npz")


def test_an_archive_of_nothing_holds_no_tensors(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz")
    with pytest.raises(SourceError, match="holds no tensors"):
        open_checkpoint(tmp_path / "x.npz")


def test_a_shape_that_looks_like_the_other_layout_is_said_not_guessed(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", conv=np.zeros((3, 3, 16, 64), dtype="f4"))
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    assert checkpoint.info["conv"].shape == (3, 3, 16, 64)
    assert "hwio" in checkpoint.notes[0]
    assert open_checkpoint(tmp_path / "x.npz", layout="hwio")["conv"].shape == torch.Size([64, 16, 3, 3])
