from __future__ import annotations

import os
import random
import struct
import zlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch

from weightatlas.checkpoints.hdf5.hdf5_file import Hdf5, Part, list_hdf5
from weightatlas.checkpoints.mapped import read_span
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

MUTANTS = 250


def opened(path: Path) -> Hdf5:
    blob = LocalBlob(path)
    return list_hdf5(Part(blob, 0, blob.size))


def values(file: Hdf5, name: str) -> torch.Tensor:
    array, span = file.arrays[name], file.span(name)
    return file.read(name) if span is None else read_span(span, array.shape, str(array.dtype))


def numbers(*shape: int, dtype: str = "f4") -> np.ndarray[Any, Any]:
    return (100 * np.random.default_rng(0).standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", ">f8", "|i1", ">i2", "<u4", "<i8", "<c8", ">c16", "|b1"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (4, 3)},
        {"chunks": (4, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (1, 7), "compression": "lzf"},
    ],
    ids=["plain", "chunks", "gzip", "lzf"],
)
def test_every_type_and_storage_is_read_as_h5py_reads_it(dtype: str, options: dict[str, Any], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=numbers(9, 7, dtype=dtype), **options)
        expected = file["a"][()]
    found = opened(tmp_path / "x.h5")
    assert (found.span("a") is not None) == (not options)
    np.testing.assert_array_equal(values(found, "a").numpy(), expected.astype(expected.dtype.newbyteorder("=")))


def test_scalars_empty_compact_and_bfloat16_arrays_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scalar"] = np.float32(3)
        file["empty"] = np.zeros((0, 3), "f4")
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, plan).write(
            h5py.h5s.ALL, h5py.h5s.ALL, numbers(4)
        )
        file["half"] = np.array([1.0, -2.0, 0.5]).astype("f4").view("u4").__rshift__(16).astype("<u2").view("V2")
        file["half"].attrs["dtype"] = "bfloat16"
        file["void"] = np.zeros(3, "V2")
    found = opened(tmp_path / "x.h5")
    assert values(found, "scalar").item() == 3
    assert values(found, "empty").shape == (0, 3)
    np.testing.assert_array_equal(values(found, "compact"), numbers(4))
    assert torch.equal(values(found, "half"), torch.tensor([1, -2, 0.5], dtype=torch.bfloat16))
    assert "no torch tensor" in (found.reason("void") or "")


def test_a_users_block_and_a_stretch_of_an_archive_move_the_bytes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=512) as file:
        file["plain"] = numbers(50)
        file.create_dataset("packed", data=numbers(50), compression="gzip")
    data = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "archive").write_bytes(bytes(777) + data + bytes(99))
    within = list_hdf5(Part(LocalBlob(tmp_path / "archive"), 777, len(data)))
    for found in (opened(tmp_path / "x.h5"), within):
        for name in ("plain", "packed"):
            np.testing.assert_array_equal(values(found, name), numbers(50))


def test_an_array_in_many_pieces_is_put_together(tmp_path: Path) -> None:
    whole = numbers(700, 30, 300, dtype="i4")  # 25 MB: four pieces along two axes
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=whole, chunks=(400, 16, 170), compression="lzf")
    np.testing.assert_array_equal(opened(tmp_path / "x.h5").read("a"), whole)


def test_links_and_what_lies_in_other_files_is_named_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["real"] = numbers(4)
        file["hard"] = file["real"]
        file["soft"] = h5py.SoftLink("/real")
        file["gone"] = h5py.SoftLink("/nothing")
        file["outside"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/real")
        file.create_dataset("raw", (4,), "f4", external=[(str(tmp_path / "pipe"), 0, 16)])
        layout = h5py.VirtualLayout((1, 4), "f4", maxshape=(None, 4))
        source = h5py.VirtualSource(str(tmp_path / "pipe"), "real", (1, 4), maxshape=(None, 4))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("virtual", layout)
    found = opened(tmp_path / "x.h5")
    assert len(found.arrays) == 1
    assert found.links.keys() | found.arrays.keys() == {"real", "hard", "soft", "gone", "outside", "raw", "virtual"}
    assert all("another file" in found.links[name] for name in ("outside", "raw", "virtual"))
    assert "second name" in next(reason for name, reason in found.links.items() if name in {"real", "hard"})


def test_groups_that_hold_themselves_and_deep_ones_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("a")
        group["again"] = group
        group["root"] = file["/"]
        file["a/w"] = numbers(3)
        deep = file
        for _ in range(200):
            deep = deep.create_group("d")
        deep["w"] = numbers(3)
    found = opened(tmp_path / "x.h5")
    assert list(found.arrays) == ["a/w"]
    assert found.links["a/again"] == "a second name of 'a'"
    assert found.links["a/root"] == "a second name of '/'"
    assert "nested too deeply" in found.links["/".join("d" * 65)]


def test_a_hundred_thousand_names_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        target = file.create_group("g").id
        for number in range(100_000):
            file.id.links.create_hard(b"%d" % number, file.id, b"g")
        del target
    with pytest.raises(SourceError, match="more names than any network"):
        opened(tmp_path / "x.h5")


def test_text_where_numbers_should_be_is_a_reason(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["words"] = np.array(["one", "two"], dtype=h5py.string_dtype())
        file["ragged"] = np.array([np.arange(2), np.arange(3)], dtype=h5py.vlen_dtype("f4"))
        file["record"] = np.zeros(3, [("a", "f4"), ("b", "i4")])
        file["nothing"] = h5py.Empty("f4")
    found = opened(tmp_path / "x.h5")
    assert all(found.reason(name) for name in ("words", "ragged", "record", "nothing"))


def test_bombs_are_named_and_not_unpacked(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        packed = file.create_dataset("gzip", (25 * 10**9,), "f4", chunks=(2**20,), compression="gzip")
        packed[: 2**20] = 0
        sparse = file.create_dataset("claims", (2**60,), "u1", chunks=(1024,))
        sparse[:1024] = 1
        file.create_dataset("never", (2**60,), "u1", chunks=(1024,))
        one = file.create_dataset("chunk", (2**28,), "u1", chunks=(2**28,), compression="gzip")
        one.id.write_direct_chunk((0,), zlib.compress(bytes(10**6)))
    found = opened(tmp_path / "x.h5")
    assert "would unpack to 100000000000 bytes" in (found.reason("gzip") or "")
    assert "would unpack to 1152921504606846976 bytes" in (found.reason("claims") or "")
    assert "never written" in (found.reason("never") or "")
    assert "one of its chunks" in (found.reason("chunk") or "")


def test_a_chunk_that_unpacks_to_more_than_it_says_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    deflate = zlib.compressobj(9)
    block = deflate.compress(bytes(2**26)) + deflate.flush(zlib.Z_FULL_FLUSH)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("a", (1000,), "f4", chunks=(1000,), compression="gzip")
        dataset.id.write_direct_chunk((0,), block[:2] + 24 * block[2:])
    with pytest.raises(SourceError, match="cannot be read"):
        opened(tmp_path / "x.h5").read("a")


@pytest.mark.parametrize("shape", [(2**60,), (2**63 - 1,), (20_000,)])
def test_a_plain_array_that_claims_more_than_the_file_has_is_refused(shape: tuple[int], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.ones(12345, "f4")
    data = (tmp_path / "x.h5").read_bytes()
    assert struct.pack("<Q", 12345) in data
    (tmp_path / "x.h5").write_bytes(data.replace(struct.pack("<Q", 12345), struct.pack("<Q", *shape)))
    with pytest.raises(SourceError, match=r"does not lie within|cannot be read"):
        values(opened(tmp_path / "x.h5"), "a")


@pytest.mark.parametrize(("shift", "words"), [(8, "share bytes"), (0, "the same bytes")])
def test_arrays_that_share_bytes_are_refused(shift: int, words: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["b"] = np.ones(1000, "f4"), np.ones(1000, "f4")
        first, second = (struct.pack("<Q", file[name].id.get_offset() + shift * (name == "a")) for name in "ab")
    data = (tmp_path / "x.h5").read_bytes()
    (tmp_path / "x.h5").write_bytes(data.replace(second, first))
    if shift:
        with pytest.raises(SourceError, match=words):
            opened(tmp_path / "x.h5")
    else:
        assert words in opened(tmp_path / "x.h5").links["b"]


def test_a_file_that_changes_after_it_was_listed_is_said(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["plain"] = numbers(5)
        file.create_dataset("packed", data=numbers(5), compression="gzip")
    found = opened(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["packed"][0] = 7
        file["more"] = numbers(5)
    for name in ("plain", "packed"):
        with pytest.raises(SourceError, match="changed since it was opened"):
            values(found, name)


def mutants(whole: bytes, chance: random.Random) -> bytes:
    """Cut it short, or overwrite some bytes, in the structures rather than in the arrays."""
    data = bytearray(whole)
    if chance.random() < 0.15:
        return bytes(data[: chance.randrange(len(data))])
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(8, len(data))
        size = chance.choice((1, 1, 2, 4, 8))
        value = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size), (1 << 60).to_bytes(8, "little")))
        data[place : place + len(value)] = value
    return bytes(data[: len(whole)])


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_damaged_files_end_in_arrays_or_in_one_sentence(version: str, tmp_path: Path) -> None:
    chance = random.Random(version)  # noqa: S311 - which bytes are damaged is no secret
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=version) as file:
        file.attrs["layer_names"] = np.array([b"a", b"b"])
        for layer in "ab":
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([b"k:0", b"b:0"])
            group["k:0"] = numbers(3, 4)
            group.create_dataset("b:0", data=numbers(4), chunks=(2,), compression="gzip")
            group.attrs["note"] = "text of any length"
    whole = path.read_bytes()
    refused = 0
    for _ in range(MUTANTS):
        path.write_bytes(mutants(whole, chance))
        try:
            found = opened(path)
            for name in found.arrays:
                if found.reason(name) is None:
                    assert values(found, name).shape == found.arrays[name].shape
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017 - one line is what is promised
            refused += 1
    assert 0 < refused < MUTANTS
