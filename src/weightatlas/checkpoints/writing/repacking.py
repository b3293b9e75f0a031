"""A numpy archive whose arrays are deflated, as one whose arrays lie plainly, and back."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.npz import BOMB_RATIO, BOMB_SIZE, detect_npz
from weightatlas.checkpoints.zipped import open_archive
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.checkpoints.places.blob import Blob

PIECE: Final = 2**20


def is_deflated(blob: Blob) -> bool:
    """Whether a file is a numpy archive with members that do not lie plainly in it."""
    head = blob.read(0, min(4, blob.size))
    if not head.startswith(b"PK") or not detect_npz(blob, head):
        return False
    with open_archive(blob) as archive:
        return any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())


def unpack(blob: Blob, path: Path) -> None:
    """Write an archive's members to another archive, stored as they are.

    Raises:
        SourceError: they would unpack to very much more than the archive is, or one is encrypted.
    """
    with open_archive(blob) as archive, zipfile.ZipFile(path, "w") as plain:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > BOMB_SIZE and size > BOMB_RATIO * blob.size:
            problem = f"its members would unpack to {size} bytes from {blob.size}"
            raise SourceError(blob.name, problem, "do not use this checkpoint")
        for member in members:
            if member.flag_bits & 1:
                raise SourceError(blob.name, f"{member.filename[:80]!r} is encrypted", "write it without a password")
            _copy(archive, member, plain, zipfile.ZIP_STORED)


def repack(plain: Path, like: Blob, path: Path) -> None:
    """Write the members of an archive to another one, each compressed as it is in a third."""
    with open_archive(like) as model, zipfile.ZipFile(plain) as archive, zipfile.ZipFile(path, "w") as packed:
        for member in model.infolist():
            _copy(archive, member, packed, member.compress_type)


def _copy(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: zipfile.ZipFile, how: int) -> None:
    made = zipfile.ZipInfo(member.filename, member.date_time)
    made.compress_type, made.external_attr, made.comment = how, member.external_attr, member.comment
    made.file_size = member.file_size  # by which zipfile chooses the width of sizes
    with source.open(member.filename) as stream, target.open(made, "w") as copy:
        shutil.copyfileobj(stream, copy, PIECE)
