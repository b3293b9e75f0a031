from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.places.slice_blob import SliceBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def whole(tmp_path: Path) -> LocalBlob:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    return LocalBlob(tmp_path / "x")


def test_a_part_reads_maps_and_streams_its_own_bytes(whole: LocalBlob) -> None:
    part = SliceBlob(SliceBlob(whole, 10, 50), 5, 20)
    assert part.read(2, 3) == bytes([17, 18, 19])
    memory, offset = part.memory(0, 20)
    assert bytes(memoryview(memory)[offset : offset + 20]) == bytes(range(15, 35))
    with part.open() as stream:
        assert stream.read() == bytes(range(15, 35))
    assert (part.name, part.size, part.is_local) == (whole.name, 20, True)
    assert part.folder().name == whole.folder().name


@pytest.mark.parametrize(("offset", "length"), [(0, 21), (20, 1), (-1, 2), (5, -1), (2**62, 2**62)])
def test_a_part_gives_nothing_outside_itself(offset: int, length: int, whole: LocalBlob) -> None:
    part = SliceBlob(whole, 10, 20)
    with pytest.raises(ValueError, match="shorter"):
        part.read(offset, length)
    with pytest.raises(ValueError, match="shorter"):
        part.memory(offset, length)


@pytest.mark.parametrize(("begin", "size"), [(90, 11), (-1, 5), (101, 0), (0, -1)])
def test_a_part_lies_inside_the_whole(begin: int, size: int, whole: LocalBlob) -> None:
    with pytest.raises(ValueError, match="outside"):
        SliceBlob(whole, begin, size)


def test_where_a_part_begins_is_asked_once_and_late(whole: LocalBlob) -> None:
    asked = []

    def begin() -> int:
        asked.append(True)
        return 40

    part = SliceBlob(whole, begin, 10)
    assert not asked
    assert part.read(0, 1) == part.read(0, 1) == b"\x28"
    assert len(asked) == 1
    with pytest.raises(ValueError, match="outside"):
        SliceBlob(whole, lambda: 95, 10).read(0, 1)


def test_a_part_is_no_file(whole: LocalBlob) -> None:
    with pytest.raises(SourceError, match="unpack"):
        SliceBlob(whole, 0, 5).path()
