from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints.writing.checksums import repair_checksums

if TYPE_CHECKING:
    from pathlib import Path


class Forward(io.BytesIO):
    """A stream that zipfile cannot go back in, so that checksums stand behind the members."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation


def archive(stream: io.BytesIO) -> bytes:
    with zipfile.ZipFile(stream, "w") as file:
        for name in ("one", "two", "three"):
            file.writestr(name, name.upper().encode() * 10)
    return stream.getvalue()


@pytest.mark.parametrize("stream", [io.BytesIO, Forward])
@pytest.mark.parametrize("before", [b"", b"something else"])
def test_members_that_were_changed_have_their_checksums_again(
    stream: type[io.BytesIO], before: bytes, tmp_path: Path
) -> None:
    whole = archive(stream())
    place = whole.index(b"TWOTWO")
    changed = bytearray(before + whole)
    begin = len(before)
    changed[begin + place : begin + place + 3] = b"OWT"
    path = tmp_path / "a.zip"
    path.write_bytes(changed)
    repair_checksums(path, begin, len(whole), [(begin + place, begin + place + 3)])
    made = path.read_bytes()[begin:]
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        assert file.testzip() is None
        assert file.read("two") == b"OWT" + b"TWO" * 9
    changed[begin + place : begin + place + 3] = b"TWO"
    path.write_bytes(changed)
    repair_checksums(path, begin, len(whole), [(begin + place, begin + place + 3)])
    assert path.read_bytes() == before + whole


def test_what_is_no_archive_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"no archive at all")
    repair_checksums(path, 0, 17, [(0, 4)])
    assert path.read_bytes() == b"no archive at all"
