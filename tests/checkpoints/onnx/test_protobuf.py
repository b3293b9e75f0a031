from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, StringStringEntryProto

from weightatlas.checkpoints.onnx import protobuf
from weightatlas.checkpoints.onnx.protobuf import WireReader, decode_varints, varint
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

Write = Callable[[bytes], WireReader]
NUMBERS = st.integers(0, 2**64 - 1) | st.integers(0, 300)


def encode(value: int) -> bytes:
    """Slow and obvious: seven bits a byte, the lowest first."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits[-1] |= 0x80
        digits.append(value & 0x7F)
    return bytes(digits)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(data: bytes) -> WireReader:
        (tmp_path / "x.onnx").write_bytes(data)
        return WireReader(LocalBlob(tmp_path / "x.onnx"))

    return make


def texts(wire: WireReader, end: int) -> list[str]:
    return [wire.text(field, "a name") for field in wire.fields(0, end)]


@given(value=NUMBERS)
def test_a_varint_is_what_was_written(value: int) -> None:
    assert varint(b"\x00" + encode(value) + b"\x01", 1) == (value, 1 + len(encode(value)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "without an end"),
        (b"\x80", "without an end"),
        (b"\x80" * 10 + b"\x01", "64 bits"),
        (b"\xff" * 9 + b"\x02", "64 bits"),
    ],
)
def test_a_varint_that_is_none_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        varint(data, 0)


@settings(max_examples=60)
@given(values=st.lists(NUMBERS, max_size=60), width=st.sampled_from([1, 2, 4, 8]), piece=st.integers(10, 40))
def test_packed_varints_are_the_low_bytes_of_what_was_written(values: list[int], width: int, piece: int) -> None:
    packed = bytearray(b"".join(map(encode, values)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protobuf, "_PIECE", piece)  # so that pieces end between numbers and within them
        numbers = decode_varints(packed, len(values), width)
    assert np.frombuffer(numbers, f"<u{width}").tolist() == [value % 2 ** (8 * width) for value in values]


@pytest.mark.parametrize(
    ("data", "count", "words"),
    [
        (b"\x01\x02", 1, "more"),
        (b"\x01", 2, "there are 1"),
        (b"\x01\x80", 1, "without an end"),
        (b"\x01\x80", 2, "without an end"),
        (b"\x80" * 20 + b"\x01", 1, "64 bits"),
        (b"\xff" * 9 + b"\x02", 1, "64 bits"),
    ],
)
def test_packed_varints_that_do_not_fit_are_refused(data: bytes, count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_varints(bytearray(data), count, 4)


def test_fields_are_those_of_the_library(write: Write) -> None:
    message = AttributeProto(name="größe", i=-5, f=1.5, ints=[1, -2, 3], type=AttributeProto.INT)
    data = message.SerializeToString()
    wire = write(data)
    fields = list(wire.fields(0, len(data)))
    assert [field.number for field in fields] == [1, 2, 3, 8, 8, 8, 20]
    assert wire.text(fields[0], "a name") == "größe"
    assert wire.number(fields[2], "a number") == -5
    assert [number for field in fields[3:6] for number in wire.numbers(field, "numbers")] == [1, -2, 3]
    assert wire.payload(fields[1]) == np.float32(1.5).tobytes()


def test_packed_and_single_numbers_are_gathered(write: Write) -> None:
    data = b"\x12\x03" + encode(150) + b"\x07" + b"\x1a\x01x" + b"\x10" + encode(300)
    wire = write(data)
    assert wire.gather(0, len(data), 2) == encode(150) + b"\x07" + encode(300)
    first, _, last = wire.fields(0, len(data))
    assert [*wire.numbers(first, "n"), *wire.numbers(last, "n")] == [150, 7, 300]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0e", "wire type 6"),
        (b"\x0a\x05abcd", "truncated"),
        (b"\x0a" + encode(2**60), "truncated"),
        (b"\x0a" + b"\xff" * 10, "64 bits"),
        (b"\x0d\x00\x00", "truncated"),
        (b"\x02\x00", "no number"),
        (b"\x08", "without an end"),
        (b"\x0a\x01\xff", "no text"),
        (b"\x08\x01", "wire type 0, not 2"),
    ],
)
def test_what_breaks_the_format_is_refused(data: bytes, words: str, write: Write) -> None:
    wire = write(data)
    with pytest.raises(SourceError, match=words):
        texts(wire, len(data))


def test_a_field_stays_within_its_message(write: Write) -> None:
    inner = StringStringEntryProto(key="key", value="value").SerializeToString()
    wire = write(inner + b"after")
    assert len(list(wire.fields(0, len(inner)))) == 2
    with pytest.raises(SourceError, match="beyond its message"):
        list(wire.fields(0, len(inner) - 1))


def test_too_many_fields_and_too_much_text_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = write(b"\x0a\x02ab" * 20)
    monkeypatch.setattr(protobuf, "FIELD_LIMIT", 12)
    with pytest.raises(SourceError, match="more than 12 fields"):
        list(wire.fields(0, 80))
    wire = write(b"\x0a\x02ab" * 20)
    monkeypatch.setattr(protobuf, "TEXT_LIMIT", 9)
    with pytest.raises(SourceError, match="more than 9 bytes of names"):
        texts(wire, 40)
