"""Pickles that would eat memory or time, break rules, or describe tensors that are not there."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.hostile.case import Build, Hostile, written
from tests.hostile.containers import (
    MAGIC,
    Wrap,
    bare,
    distributed,
    legacy_file,
    legacy_state,
    state,
    torch_archive,
    zipped,
)
from tests.hostile.opcodes import call, integer, mapping, named, several, storage, tensor, text, whole
from tests.hostile.zip_writer import Member

if TYPE_CHECKING:
    from pathlib import Path

REFUSED: Final = r"corrupt|truncated|not opened|pickle|memory|too |no tensors|limit"

VALUES: Final[dict[str, bytes]] = {
    "a memo index of 2^31": b"N" + b"r" + struct.pack("<I", 2**31),
    "a memo index of ten digits": b"Np9999999999\n",
    "LONG4 of 2^31 bytes": b"\x8b" + struct.pack("<i", 2**31 - 1) + bytes(64),
    "LONG4 of a negative length": b"\x8b" + struct.pack("<i", -5) + bytes(64),
    "a decimal number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "BINUNICODE8 of 2^60 bytes": b"\x8d" + struct.pack("<Q", 2**60) + b"abc",
    "BINBYTES8 of 2^60 bytes": b"\x8e" + struct.pack("<Q", 2**60) + b"abc",
    "BYTEARRAY8 of 2^60 bytes": b"\x96" + struct.pack("<Q", 2**60) + b"abc",
    "BINUNICODE of 2^32 bytes": b"X" + struct.pack("<I", 2**32 - 1) + b"abc",
    "FRAME of 2^60 bytes": b"\x95" + struct.pack("<Q", 2**60) + b"N",
    "a buffer that is kept elsewhere": b"\x97",
    "an extension's number": b"\x82\x01",
    "an extension's number of two bytes": b"\x83\x01\x01",
    "an extension's number of four bytes": b"\x84" + struct.pack("<i", 2**31 - 1),
    "an unknown opcode": b"\xff",
    "an empty stack": b"000000",
    "a tuple without a mark": b"t",
    "a memo entry that was never made": b"h\x63",
    "APPEND to a number": integer(1) + integer(2) + b"a",
    "SETITEM on text": text("a") + integer(1) + integer(2) + b"s",
    "an odd number of items": b"}(" + integer(1) + b"u",
    "text that is no UTF-8": b"X" + struct.pack("<I", 2) + b"\xff\xfe",
    "a line without an end": b"V" + b"a" * 1000,
    "a persistent id in a line of text": b"Pposix.system\n",
    "an unhashable key": b"}]Ns",
}
HARMLESS: Final = frozenset(
    {"a memo index of 2^31", "a memo index of ten digits", "FRAME of 2^60 bytes", "a persistent id in a line of text"}
)
"""Costly or dangerous to Python's own reader; ours has a memo that is a dictionary and no frames."""

EXPENSIVE: Final[dict[str, Callable[[], bytes]]] = {
    "a hundred thousand lists in one another": lambda: b"]" * 100_000 + b"a" * 99_999,
    "a hundred thousand tuples in one another": lambda: b")" + b"\x85" * 100_000,
    "keys of tuples that double": lambda: b"}" + integer(1) + b"\x85" + b"2\x86" * 64 + b"Ns",
    "lists that double": lambda: b"]q\x000" + b"](h\x00h\x00eq\x000" * 80 + b"h\x00",
    "lists that hold themselves": lambda: b"]q\x00h\x00a",
    "a dictionary that holds itself": lambda: b"}q\x00" + text("self") + b"h\x00s",
    "a million empty lists": lambda: b"](" + b"]" * 1_000_000 + b"e",
    "a hundred thousand keys of one hash": lambda: (
        b"}(" + b"".join(integer(number * (2**61 - 1)) + b"N" for number in range(100_000)) + b"u"
    ),
    "text that doubles through the memo": lambda: text("x" * 1000) + b"q\x000](" + b"h\x00" * 1_000_000 + b"e",
}

TENSORS: Final[dict[str, bytes]] = {
    "a tensor of 2^60 elements": tensor(shape=(2**30, 2**30), strides=(2**30, 1)),
    "a tensor of 2^60 elements by strides of zero": tensor(shape=(2**30, 2**30), strides=(0, 0)),
    "a tensor whose size overflows 64 bits": tensor(shape=(2**40, 2**40), strides=(2**40, 1)),
    "a tensor with a negative size": tensor(shape=(-2, 2)),
    "a tensor with a negative stride": tensor(strides=(-2, 1)),
    "a tensor that begins after its storage": tensor(offset=4),
    "a tensor that begins before its storage": tensor(offset=-1),
    "a tensor of fewer strides than axes": tensor(strides=(1,)),
    "a tensor without strides": tensor(strides=None),
    "a tensor of ten thousand axes": tensor(shape=(1,) * 10_000, strides=(1,) * 10_000),
    "a tensor of text": call(named("torch._utils", "_rebuild_tensor_v2"), text("x"), text("y")),
    "a storage that is not there": tensor(held=storage("77")),
    "a storage by a path": tensor(held=storage("../../../etc/passwd")),
    "a storage of 2^60 elements and all of them": tensor(shape=(2**60,), strides=(1,), held=storage(count=2**60)),
    "a storage of a negative count": tensor(held=storage(count=-4)),
    "a storage of an unknown type": tensor(held=storage(kind="EvilStorage")),
    "a size that is text": tensor().replace(integer(2), text("2"), 1),
}
SKIPPED: Final = (
    r"corrupt|storage|claims|outside|beyond|strides|sizes?|shape|axes|negative|no tensor|not (there|loaded|opened)"
    r"|cannot|missing|bytes|elements|malformed|lacks"
)


def _alone(value: bytes) -> bytes:
    return whole(mapping({"conv1.weight": value}))


def _tensor_case(name: str, value: bytes) -> Hostile:
    return Hostile(name, written("model.pt", torch_archive(_alone(value))), SKIPPED)


def _sparse_archive(folder: Path) -> Path:
    path = folder / "model.pt"
    path.write_bytes(torch_archive(_alone(tensor()), data=b"1234"))
    return path


def cases() -> list[Hostile]:
    """All of them."""
    broken = [
        Hostile(f"{name}, in {wrap}", _wrapped(write, value), "" if name in HARMLESS else REFUSED)
        for wrap, write, values in (
            ("a torch archive", zipped, list(VALUES)),
            ("a plain pickle", bare, list(VALUES)[:10]),
            ("distributed metadata", distributed, list(VALUES)[:10]),
        )
        for name, value in ((name, VALUES[name]) for name in values)
    ]
    costly = [Hostile(name, _costly(value), "") for name, value in EXPENSIVE.items()]
    tensors = [_tensor_case(name, value) for name, value in TENSORS.items()]
    others = [
        Hostile("a storage shorter than its tensor", _sparse_archive, SKIPPED),
        Hostile(
            "a legacy file of another protocol",
            written("model.pth", legacy_file(_alone(tensor()), magic=whole(integer(MAGIC + 1)))),
            r"magic|corrupt|pickle|no tensors|no dictionary",
        ),
        Hostile("millions of lists in each pickle of a legacy file", _full_legacy, ""),
        Hostile("millions of lists in each pickle of TorchScript", _full_script, ""),
        Hostile("a pickle without an end", written("model.pt", torch_archive(b"\x80\x02" + mapping({}))), REFUSED),
        Hostile("an empty pickle", written("model.pt", torch_archive(b"")), REFUSED),
        Hostile(
            "a pickle of a number",
            written("model.pt", torch_archive(whole(integer(5)))),
            r"no dictionary|no tensor|holds",
        ),
        Hostile("a pickle of protocol 200", written("model.pt", torch_archive(b"\x80\xc8N.")), REFUSED),
        Hostile("a legacy file that ends before its storages", _cut_legacy, r"corrupt|truncated|storage"),
        Hostile("a legacy storage of 2^60 elements", _long_legacy, r"corrupt|truncated|storage|claims"),
    ]
    return [*broken, *costly, *tensors, *others]


def _lists(count: int) -> bytes:
    return b"](" + b"]" * count + b"e"


def _full_legacy(folder: Path) -> Path:
    """Each of the file's pickles is as large as one may be: together they must not be."""
    whole_state = whole(legacy_state(_lists(6_000_000)))
    return written("model.pth", legacy_file(whole_state, information=whole(_lists(6_000_000))))(folder)


def _full_script(folder: Path) -> Path:
    constants = Member("archive/constants.pkl", whole(_lists(6_000_000)))
    return written("model.pt", torch_archive(whole(state(_lists(6_000_000))), extra=(constants,)))(folder)


def _wrapped(write: Wrap, value: bytes) -> Build:
    return lambda folder: write(folder, value, 4)


def _costly(value: Callable[[], bytes]) -> Build:
    return lambda folder: zipped(folder, value(), 4)


def _legacy() -> bytes:
    held = several(text("storage"), named("torch", "FloatStorage"), text("0"), text("cpu"), integer(4), b"N") + b"Q"
    return legacy_file(whole(mapping({"conv1.weight": tensor(held=held)})))


def _cut_legacy(folder: Path) -> Path:
    return written("model.pth", _legacy()[:-20])(folder)


def _long_legacy(folder: Path) -> Path:
    whole_file = _legacy()
    return written("model.pth", whole_file[:-24] + struct.pack("<q", 2**60) + whole_file[-16:])(folder)
