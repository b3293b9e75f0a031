"""What `torch.save` writes: the zip archive of today, the pickle of before 1.6, a plain pickle, TorchScript.

Nothing in the file runs, and torch is not needed to list it: its pickle is read as data, and the storages lie plainly
beside it. Classes that are pickled beside the weights are not loaded; a file whose pickle names what could run code is
refused as a whole.

**Source:** `torch.serialization` (`_save`, `_legacy_save`, `_load`, `_legacy_load`) and TorchScript's archives, of
which only `data.pkl` and its storages are read. Stricter than `torch.load(weights_only=True)` in what it admits, wider
in what it lists: unknown classes are skipped rows.
"""

from __future__ import annotations

import struct
import zipfile
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.pickles.pickled import read_pickle
from weightatlas.checkpoints.pickles.torch_listing import RESAVE, Source, contents_of_pickle
from weightatlas.checkpoints.pickles.torch_records import storage_record
from weightatlas.checkpoints.places.slice_blob import SliceBlob
from weightatlas.checkpoints.untrusted import REMEDY, untrusted
from weightatlas.checkpoints.zipped import data_offset, open_archive
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints.contents import Contents
    from weightatlas.checkpoints.pickles.pickle_records import Pickle
    from weightatlas.checkpoints.places.blob import Blob

PROTOCOLS: Final = (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")
ZIP: Final = b"PK\x03\x04"
LEGACY: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of a file of before 1.6: torch's magic number."""

OLD_PICKLES: Final = (".pkl", ".pickle", ".pt", ".pth", ".th", ".ckpt")
TAR_MEMBERS: Final = frozenset({b"storages", b"tensors", b"pickle", b"sys_info"})
COUNT: Final = 8
HEADER: Final = 1_000
BESIDE: Final = 1_000_000
"""The most opcodes of a pickle that is a header, and of one that lies beside the weights."""


def detect_torch(blob: Blob, head: bytes) -> bool:
    """Whether a file is a zip as `torch.save` writes it, a pickle, or torch's tar archive of before 0.2."""
    if head[:1] == b"\x80" and head[1:2] in PROTOCOLS:
        return True
    if _is_tar(head):
        return True
    if head.startswith(ZIP):
        with open_archive(blob) as archive:
            return any(name.endswith(("/data.pkl", "/constants.pkl")) for name in archive.namelist())
    return blob.filename.lower().endswith(OLD_PICKLES) and _is_old_pickle(blob, head)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar" and head[:100].rstrip(b"\0").removeprefix(b"./") in TAR_MEMBERS


def _is_old_pickle(blob: Blob, head: bytes) -> bool:
    """Whether a file is a pickle of protocol 0 or 1, which has no first byte of its own but ends in a stop."""
    return head[:1] in {b"(", b"}", b"]", b")", b"c"} and blob.read(blob.size - 1, 1) == b"."


def open_torch(blob: Blob) -> Contents:
    """List a file of `torch.save`: a state dict, or a training run's dictionary that holds one.

    Raises:
        SourceError: the file is truncated or corrupt, names what could run code, or holds no tensors.
    """
    with untrusted(blob.name, "a truncated or corrupt PyTorch file"):
        head = blob.read(0, min(512, blob.size))
        if head.startswith(ZIP):
            return _open_archive(blob)
        if head.startswith(LEGACY):
            return _open_legacy(blob)
        if _is_tar(head):
            problem = "a PyTorch file of before version 0.2, a tar archive that is not read"
            raise SourceError(blob.name, problem, f"load it with torch.load and {RESAVE}")
        pickled = read_pickle(blob)
        return contents_of_pickle(pickled.value, Source(blob, blob, {}), "pickle")


def _open_archive(blob: Blob) -> Contents:
    with open_archive(blob) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise SourceError(blob.name, "two members of its archive have one name", REMEDY)
        root = _root(blob, members)
        order = members.get(f"{root}byteorder")
        order_name = b"little" if order is None else archive.read(order) if order.file_size < COUNT else b""
    if order_name not in {b"little", b"big"}:
        raise SourceError(blob.name, "a PyTorch archive of an unknown byte order", REMEDY)
    storages = {
        name.removeprefix(f"{root}data/"): _stored(blob, member)
        for name, member in members.items()
        if name.startswith(f"{root}data/")
    }
    constants = members.get(f"{root}constants.pkl")
    if constants is not None:  # its code is never looked at; its pickles are, for names that mean harm
        read_pickle(_stored(blob, constants), longest=BESIDE)
    pickled = _stored(blob, members[f"{root}data.pkl"])
    source = Source(blob, pickled, storages, big_endian=order_name == b"big")
    title = "PyTorch" if constants is None else "TorchScript"
    return contents_of_pickle(read_pickle(pickled).value, source, title)


def _root(blob: Blob, members: Mapping[str, zipfile.ZipInfo]) -> str:
    """The folder of the archive that holds its pickle."""
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(roots) != 1:
        problem = f"an archive with {len(roots)} pickles called data.pkl instead of one"
        raise SourceError(blob.name, problem, f"load it with torch and {RESAVE}")
    return roots[0]


def _stored(blob: Blob, member: zipfile.ZipInfo) -> Blob:
    """A member's bytes; where they begin is asked only when they are read, so that listing costs no request each."""
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise SourceError(blob.name, "a compressed PyTorch archive, which torch never writes", RESAVE)
    if member.header_offset + member.file_size > blob.size:
        raise SourceError(blob.name, f"truncated: {member.filename[:80]!r} ends after the file", REMEDY)
    return SliceBlob(blob, lambda: data_offset(blob, member), member.file_size)


def _open_legacy(blob: Blob) -> Contents:
    protocol = read_pickle(blob, len(LEGACY), longest=HEADER)
    system = read_pickle(blob, protocol.end, longest=HEADER)
    state = read_pickle(blob, system.end)
    keys = read_pickle(blob, state.end, longest=BESIDE)
    storages = _storages_in_order(blob, state, keys)
    return contents_of_pickle(state.value, Source(blob, blob, storages), "PyTorch, legacy")


def _storages_in_order(blob: Blob, state: Pickle, keys: Pickle) -> dict[str, Blob]:
    """Where each storage lies after the pickles: in the order of the keys, a count of elements and then its bytes.

    The counts stand in the pickle as well. On this disk both are compared; behind a URL each would be a request.
    """
    counts: dict[str, tuple[int, int]] = {}
    for persistent in state.persistent:
        record = storage_record(persistent)
        if record is not None:
            counts.setdefault(record.key, (persistent.identity[4], ITEM_SIZES[record.dtype]))
    found: dict[str, Blob] = {}
    position = keys.end
    with nullcontext() if not blob.is_local else blob.open() as stream:
        for key in map(str, keys.value):
            if key in found:
                raise SourceError(blob.name, "two of its storages have one name", REMEDY)
            count, item = counts[key]
            begin = position + COUNT
            position = begin + count * item
            if position > blob.size:
                raise SourceError(blob.name, "truncated: its last tensors are missing", REMEDY)
            if stream is not None:
                stream.seek(begin - COUNT)
                if stream.read(COUNT) != struct.pack("<q", count):
                    raise SourceError(blob.name, "a storage is not where its pickle says", REMEDY)
            found[key] = SliceBlob(blob, begin, count * item)
    return found
