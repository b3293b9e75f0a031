"""The files that pickles come in: torch's of today and of before, TorchScript, distributed folders, bare ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.hostile.opcodes import call, integer, listed, mapping, named, tensor, text, whole
from tests.hostile.zip_writer import Member, archive

DATA: Final = struct.pack("<4f", 1, 2, 3, 4)
MAGIC: Final = 0x1950A86A20F9469CFC6C

Wrap = Callable[[Path, bytes, int], Path]
"""Writes a value of a pickle, in a protocol, into a folder; gives the path to open."""


def state(value: bytes) -> bytes:
    """A state dict with one honest tensor and something else beside it."""
    return mapping({"conv1.weight": tensor(), "other": value})


def torch_archive(
    pickled: bytes, *, data: bytes = DATA, root: str = "archive", extra: tuple[Member, ...] = ()
) -> bytes:
    """What `torch.save` writes, around any pickle."""
    members = [
        Member(f"{root}/data.pkl", pickled),
        Member(f"{root}/byteorder", b"little"),
        Member(f"{root}/data/0", data),
        Member(f"{root}/version", b"3\n"),
        *extra,
    ]
    return archive(members)


def zipped(folder: Path, value: bytes, protocol: int) -> Path:
    """torch's archive."""
    path = folder / "model.pt"
    path.write_bytes(torch_archive(whole(state(value), protocol)))
    return path


def legacy_file(pickled: bytes, *, information: bytes | None = None, magic: bytes | None = None) -> bytes:
    """What `torch.save` wrote before 1.6."""
    system = information or whole(mapping({"protocol_version": integer(1001), "little_endian": b"\x88"}))
    parts = (magic or whole(integer(MAGIC)), whole(integer(1001)), system, pickled, whole(listed(text("0"))))
    return b"".join(parts) + struct.pack("<q", 4) + DATA


def legacy(folder: Path, value: bytes, protocol: int) -> Path:
    """torch's file of before 1.6, in its state."""
    path = folder / "model.pth"
    path.write_bytes(legacy_file(whole(legacy_state(value), protocol)))
    return path


def legacy_state(value: bytes) -> bytes:
    """A state whose storage is kept as the legacy format has it: with a sixth part, a view's place."""
    held = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + integer(4) + b"Nt" + b"Q"
    return mapping({"conv1.weight": tensor(held=held), "other": value})


def legacy_header(folder: Path, value: bytes, protocol: int) -> Path:
    """torch's file of before 1.6, in the small pickle about the system that stands before the state."""
    path = folder / "model.pth"
    path.write_bytes(legacy_file(whole(legacy_state(b"N")), information=whole(value, protocol)))
    return path


def script(folder: Path, value: bytes, protocol: int) -> Path:
    """TorchScript, in its data."""
    path = folder / "model.pt"
    kind = named("__torch__", "Net")
    module = kind + b")\x81" + mapping({"weight": tensor(), "training": b"\x89", "other": value}) + b"b"
    extra = (
        Member("archive/constants.pkl", whole(b")")),
        Member("archive/code/__torch__.py", b"class Net(Module):\n  __parameters__ = ['weight']\n"),
    )
    path.write_bytes(torch_archive(whole(module, protocol), extra=extra))
    return path


def distributed(folder: Path, value: bytes, protocol: int) -> Path:
    """A distributed checkpoint's metadata."""
    (folder / ".metadata").write_bytes(whole(metadata(value), protocol))
    (folder / "__0_0.distcp").write_bytes(torch_archive(whole(tensor())))
    return folder


def metadata(value: bytes) -> bytes:
    """Metadata of no tensors, with something else in its state."""
    made = named("torch.distributed.checkpoint.metadata", "Metadata") + b")\x81"
    return made + mapping({"state_dict_metadata": b"}", "planner_data": value, "storage_data": b"}"}) + b"b"


def bare(folder: Path, value: bytes, protocol: int) -> Path:
    """A plain pickle."""
    path = folder / "model.pkl"
    path.write_bytes(whole(mapping({"weight": array(), "other": value}), protocol))
    return path


def array() -> bytes:
    """Numpy's array of four floats, two by two."""
    multiarray = "numpy.core.multiarray"
    empty = call(named(multiarray, "_reconstruct"), named("numpy", "ndarray"), b"(" + integer(0) + b"t", b"C\x01b")
    kind = call(named("numpy", "dtype"), text("f4"), b"\x89", b"\x88")
    less = b"(" + integer(3) + text("<") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"t"
    values = b"C" + bytes([len(DATA)]) + DATA
    return (
        empty
        + b"("
        + integer(1)
        + b"("
        + integer(2)
        + integer(2)
        + b"t"
        + kind
        + less
        + b"b"
        + b"\x89"
        + values
        + b"tb"
    )


WRAPS: Final[dict[str, Wrap]] = {
    "a torch archive": zipped,
    "a legacy torch file": legacy,
    "a legacy torch file's header": legacy_header,
    "TorchScript": script,
    "distributed metadata": distributed,
    "a plain pickle": bare,
}
