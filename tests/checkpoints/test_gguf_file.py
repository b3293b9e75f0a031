from __future__ import annotations

import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import gguf
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightatlas.checkpoints import gguf_file, open_checkpoint
from weightatlas.checkpoints.gguf_file import METADATA_LENGTH
from weightatlas.checkpoints.gguf_types import PLAIN, QUANTISED
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, np.dtype[Any]]

EVERYTHING = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, tensors: dict[str, Array], *, big: bool = False, alignment: int | None = None) -> Path:
    """A file as the gguf package writes it, with a vocabulary and values of every type."""
    order = gguf.GGUFEndian.BIG if big else gguf.GGUFEndian.LITTLE
    writer = gguf.GGUFWriter(path, "llama", endianess=order)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_name("small")
    writer.add_chat_template("x" * 10_000)
    writer.add_context_length(2048)
    writer.add_rope_freq_base(0.5)
    writer.add_bool("tokenizer.ggml.add_bos_token", val=True)
    writer.add_int64("least", -(2**40))
    writer.add_token_list([f"word{number}" for number in range(300)])
    writer.add_token_scores([float(number) for number in range(300)])
    writer.add_array("nested", [[1, 2], [3]])
    for name, array in tensors.items():
        if array.dtype == ml_dtypes.bfloat16:
            raw = array.view(np.uint8)
            writer.add_tensor(name, raw, raw_shape=raw.shape, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(name, array.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def plain_arrays() -> dict[str, Array]:
    generator = np.random.default_rng(0)
    dtypes = {name: ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name) for name in PLAIN.values()}
    return {
        f"blk.{number}.{name}.weight": (generator.standard_normal((3, 2 * number + 2)) * 50).astype(dtype)
        for number, (name, dtype) in enumerate(dtypes.items())
    }


@pytest.mark.parametrize("big", [False, True])
def test_every_plain_type_comes_out_as_it_was_written(tmp_path: Path, *, big: bool) -> None:
    arrays = plain_arrays()
    if big:
        del arrays["blk.7.bfloat16.weight"]  # the package does not swap the bytes it is given
    checkpoint = open_checkpoint(write(tmp_path / "x.gguf", arrays, big=big))
    assert list(checkpoint) == list(arrays)
    for name, array in arrays.items():
        found = checkpoint[name]
        assert str(found.dtype) == f"torch.{name.split('.')[2]}"
        assert found.shape == array.shape
        assert bytes(found.contiguous().view(torch.uint8).numpy()) == array.tobytes()


def test_listing_agrees_with_the_gguf_package(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf", plain_arrays(), alignment=64)
    checkpoint = open_checkpoint(tmp_path / "x.gguf")
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    assert {name: (info.shape, info.nbytes) for name, info in checkpoint.info.items()} == {
        name: (tuple(int(size) for size in reversed(tensor.shape)), tensor.n_bytes) for name, tensor in theirs.items()
    }
    assert checkpoint.file_format == "gguf"
    assert (checkpoint.info["blk.0.float32.weight"].layer, checkpoint.notes) == ("blk.0.float32", ())


def test_texts_and_numbers_are_metadata_and_lists_are_not(tmp_path: Path) -> None:
    metadata = open_checkpoint(write(tmp_path / "x.gguf", plain_arrays())).metadata
    expected = {
        "general.architecture": "llama",
        "general.name": "small",
        "llama.context_length": "2048",
        "llama.rope.freq_base": "0.5",
        "tokenizer.ggml.add_bos_token": "True",
        "least": str(-(2**40)),
        "tokenizer.chat_template": "x" * METADATA_LENGTH,
    }
    assert metadata == expected


@pytest.mark.parametrize("kind", sorted(QUANTISED))
def test_a_quantised_tensor_is_a_skipped_entry(kind: int, tmp_path: Path) -> None:
    name, block, size = QUANTISED[kind]
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    raw = np.zeros((3, 2 * size), np.uint8)
    writer.add_tensor("q.weight", raw, raw_shape=raw.shape, raw_dtype=gguf.GGMLQuantizationType(kind))
    writer.add_tensor("norm.weight", np.arange(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    checkpoint = open_checkpoint(tmp_path / "x.gguf")
    assert checkpoint["norm.weight"].tolist() == [0, 1, 2, 3]
    reason = f"quantised as {name}, which is not unpacked"
    assert [(row.name, row.reason) for row in checkpoint.skipped] == [("q.weight", reason)]
    assert block > 1


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: bytes = b"a.weight", sizes: tuple[int, ...] = (2, 3), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def file(*tensors: bytes, entries: tuple[bytes, ...] = (), data: int = 24, version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join((*entries, *tensors))
    return head + bytes(-len(head) % 32 + data)


def numbers(count: int, kind: int = 5) -> bytes:
    return struct.pack("<IQ", kind, count)


GOOD = file(tensor(), entries=(entry(b"k", 8, text(b"v")), entry(b"words", 9, numbers(2, 8) + text(b"a") + text(b""))))


def test_the_shortest_files_are_read(tmp_path: Path) -> None:
    for version in (2, 3):
        (tmp_path / "x.gguf").write_bytes(file(tensor(), tensor(b"one", (), 24, 32), version=version, data=33))
        checkpoint = open_checkpoint(tmp_path / "x.gguf")
        assert (checkpoint["a.weight"].shape, checkpoint["one"].shape) == ((3, 2), ())
    (tmp_path / "x.gguf").write_bytes(GOOD)
    assert open_checkpoint(tmp_path / "x.gguf").metadata == {"k": "v"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (file(tensor(), version=1), "version 1"),
        (file(tensor(), version=4), "version 4"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "claims 1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "claims 1152921504606846976 entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 5, 0), "claims 5 tensors"),
        (b"GGUF" + struct.pack("<I", 3), "ends at byte"),
        (file(tensor(), data=20), "truncated"),
        (file(tensor(offset=2**60)), "truncated"),
        (file(tensor(offset=8), data=64), "no multiple of 32"),
        (file(tensor(), tensor(b"b", offset=0), data=64), "overlaps"),
        (file(tensor(sizes=(16,)), tensor(b"b", offset=32), data=80), "overlaps"),
        (file(tensor(), tensor(offset=32), data=64), "two of its tensors"),
        (file(tensor(sizes=(2**62, 2**62))), "truncated"),
        (file(tensor(sizes=(0, 2**63))), "has the shape"),
        (file(tensor(sizes=(1,) * 9)), "9 dimensions"),
        (file(tensor(b"\xff\xfe")), "UnicodeDecodeError"),
        (file(tensor(b"n" * 70_000)), "a name of 70000 bytes"),
        (file(struct.pack("<Q", 2**60) + bytes(30)), "a name of 1152921504606846976 bytes"),
        (file(tensor(sizes=(33,), kind=12)), "rows of 33"),
        (file(entries=(entry(b"k", 8, text(b"v")),) * 2), "stands twice"),
        (file(entries=(entry(b"k", 13, b""),)), "a value of type 13"),
        (file(entries=(entry(b"k", 8, struct.pack("<Q", 2**60)),)), "ends at byte"),
        (file(entries=(entry(b"k", 9, numbers(2**60)),)), "ends at byte"),
        (file(entries=(entry(b"k", 9, numbers(2**60, 8)),)), "a list of 1152921504606846976 elements"),
        (file(entries=(entry(b"k", 9, numbers(1, 9) * 3 + numbers(0)),)), "deep"),
        (file(entries=(entry(b"k", 9, numbers(0, 77)),)), "a list of type 77"),
        (file(entries=(entry(b"general.alignment", 4, struct.pack("<I", 0)),)), "an alignment of 0"),
        (file(entries=(entry(b"general.alignment", 4, struct.pack("<I", 24)),)), "an alignment of 24"),
        (file(), "holds no tensors"),
        (file(tensor(kind=12, sizes=(256,)), data=144), "quantised as Q4_K"),
        (file(tensor(kind=4, sizes=(256,)), data=144), "quantised as Q4_2"),
        (file(tensor(kind=99, sizes=(256,)), data=144), "number 99"),
    ],
)
def test_a_header_that_lies_is_refused_with_what_is_wrong(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(SourceError, match=words) as caught:
        open_checkpoint(tmp_path / "x.gguf")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_more_than_fits_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "NAMES_LIMIT", 20)
    (tmp_path / "x.gguf").write_bytes(file(*(tensor(b"name%d" % number) for number in range(5))))
    with pytest.raises(SourceError, match="a name of 5 bytes"):
        open_checkpoint(tmp_path / "x.gguf")


def read_all(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        checkpoint = open_checkpoint(path)
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        return
    for name, info in checkpoint.info.items():
        try:
            assert tuple(checkpoint[name].shape) == info.shape
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017


@EVERYTHING
@given(data=st.binary(max_size=400), version=st.sampled_from([2, 3, 3 << 24]))
def test_any_bytes_end_in_tensors_or_one_sentence(data: bytes, version: int, tmp_path: Path) -> None:
    read_all(tmp_path / "x.gguf", b"GGUF" + struct.pack("<I", version) + data)
    read_all(tmp_path / "x.gguf", b"GGUF" + struct.pack("<IQQ", version, 1, 1) + data)


@EVERYTHING
@given(
    changes=st.lists(st.tuples(st.integers(4, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    end=st.integers(5, len(GOOD)) | st.just(len(GOOD)),
)
def test_a_damaged_file_ends_in_tensors_or_one_sentence(
    changes: list[tuple[int, int]], end: int, tmp_path: Path
) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    read_all(tmp_path / "x.gguf", bytes(data[:end]))


@EVERYTHING
@given(
    infos=st.lists(
        st.tuples(
            st.binary(max_size=6),
            st.lists(st.integers(0, 9) | st.integers(0, 2**64 - 1), max_size=9),
            st.integers(0, 45),
            st.integers(0, 8).map(lambda number: 32 * number) | st.integers(0, 2**64 - 1),
        ),
        max_size=4,
    )
)
def test_any_headers_end_in_tensors_or_one_sentence(
    infos: list[tuple[bytes, list[int], int, int]], tmp_path: Path
) -> None:
    tensors = [tensor(name, tuple(sizes), kind, offset) for name, sizes, kind, offset in infos]
    read_all(tmp_path / "x.gguf", file(*tensors, data=256))


def test_a_huge_file_is_listed_and_read_in_part(tmp_path: Path) -> None:
    last = 2**36
    head = file(tensor(sizes=(2**34,)), tensor(b"last.weight", (2,), 0, last), data=0)
    with (tmp_path / "x.gguf").open("wb") as opened:
        opened.write(head)
        opened.truncate(len(head) + last)  # 64 GB, sparse
        opened.seek(0, 2)
        opened.write(struct.pack("<2f", 1.5, -2))
    assert open_checkpoint(tmp_path / "x.gguf")["last.weight"].tolist() == [1.5, -2]


def test_listing_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(GOOD)
    code = (
        "import sys; from pathlib import Path; from weightatlas.checkpoints.places.blob import LocalBlob;"
        "from weightatlas.checkpoints.gguf_file import open_gguf;"
        f"assert len(open_gguf(LocalBlob(Path({str(tmp_path / 'x.gguf')!r}))).headers) == 1;"
        "assert not {'torch', 'numpy', 'gguf'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
