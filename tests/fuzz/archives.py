"""Strategies of zip archives of numpy arrays."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.sample import NAMES, NUMBERS, Draw, Sample, lie, mutated
from tests.hostile.archive_lies import npy
from tests.hostile.valid_files import valid
from tests.hostile.zip_writer import DEFLATED, STORED, Member, archive

MARKS: Final = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"NUMPY", b"'shape'", b"'descr'")
WORD: Final = 2**32 - 1
DESCRIPTORS: Final = ("<f4", "<f8", ">f4", "<f2", "<i8", "|u1", "|b1", "<c8", ">i2")
ODD: Final = ("|O", "<U8", "|S2147483647", "<M8[ns]", "f", "", "<f3", "|V8")
ITEMS: Final = {"<f4": 4, "<f8": 8, ">f4": 4, "<f2": 2, "<i8": 8, "|u1": 1, "|b1": 1, "<c8": 8, ">i2": 2}
EXPRESSIONS: Final = (
    "()",
    "[2, 2]",
    "(-1,)",
    "(2.0,)",
    "(True,)",
    "(2**60,)",
    "(1073741824, 1073741824)",
    "(1099511627776, 1099511627776)",
    "None",
    "'x'",
    "(" * 300 + ")" * 300,
    "(1,) * 9",
    "__import__('os').environ.__setitem__('WEIGHTATLAS_CANARY', '1')",
)


@st.composite
def member(draw: Draw[Any]) -> Member:
    """One array, whose header and directory entry are true but for a field or two."""
    kind = draw(st.sampled_from(DESCRIPTORS))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    size = ITEMS[kind]
    for length in shape:
        size *= length
    told = lie(draw, repr(shape), st.sampled_from(EXPRESSIONS))
    order = lie(draw, str(draw(st.booleans())), st.sampled_from(["1", "'x'", "None"]), one_in=30)
    descriptor = lie(
        draw, repr(kind), st.one_of(st.sampled_from(ODD).map(repr), st.sampled_from(["4", "[('a', '<f4')]"]))
    )
    header = f"{{'descr': {descriptor}, 'fortran_order': {order}, 'shape': {told}, }}"
    data = npy(
        header,
        bytes(lie(draw, size, st.integers(0, 500), one_in=30)),
        version=draw(st.sampled_from([1, 1, 2, 3])),
        length=lie(draw, len(header), st.integers(0, 65535), one_in=40),
    )
    method = draw(st.sampled_from([STORED, DEFLATED]))
    honest = draw(st.integers(0, 3))
    number = NUMBERS.map(lambda value: value & WORD)
    return Member(
        draw(NAMES).encode("utf-8", "replace").decode() + lie(draw, ".npy", st.sampled_from(["", ".txt"]), one_in=30),
        data,
        lie(draw, method, st.sampled_from([1, 9, 12, 14, 93, 99]), one_in=40),
        size=None if honest else lie(draw, None, number),
        packed_size=None if honest else lie(draw, None, number),
        crc=None if honest else lie(draw, None, number),
        offset=None if honest else lie(draw, None, number, one_in=8),
        local_name=None if honest else lie(draw, None, st.sampled_from(["x.npy", ""])),
        flags=0 if honest else lie(draw, 0, st.sampled_from([1, 8, 0x40, 0x2000])),
        extra=b"" if honest else lie(draw, b"", st.binary(max_size=24)),
    )


@st.composite
def made(draw: Draw[Any]) -> bytes:
    """An archive of some members, whose end may lie."""
    members = draw(st.lists(member(), max_size=3))
    honest = draw(st.integers(0, 3))
    word = NUMBERS.map(lambda value: value & WORD)
    return archive(
        members,
        entries=None if honest else lie(draw, None, st.integers(0, 65535), one_in=4),
        directory_size=None if honest else lie(draw, None, word, one_in=4),
        directory_offset=None if honest else lie(draw, None, word, one_in=4),
        comment=b"" if honest else draw(st.binary(max_size=40)),
    )


def npz() -> st.SearchStrategy[Sample]:
    """Archives made field by field, and honest ones damaged."""
    damaged = [mutated(valid(name), MARKS) for name in ("stored.npz", "deflated.npz")]
    return st.one_of(made(), made(), *damaged).map(lambda data: Sample({"model.npz": data}, "model.npz"))
