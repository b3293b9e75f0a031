from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.window import SMALLEST, Window

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 100_000


class CountedBlob(LocalBlob):
    """A file that keeps what was asked of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.requests: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.requests.append((offset, length))
        return super().read(offset, length)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("window") / "x.bin"
    path.write_bytes(bytes(number * number % 251 for number in range(SIZE)))
    return path


@given(places=st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 9000)), max_size=20))
def test_any_reads_give_what_lies_there(places: list[tuple[int, int]], file: Path) -> None:
    whole = file.read_bytes()
    window = Window(LocalBlob(file))
    for position, length in places:
        if position + length <= SIZE:
            assert window.read(position, length) == whole[position : position + length]
        else:
            with pytest.raises(ValueError, match="ends at byte"):
                window.read(position, length)


def test_a_jump_costs_one_small_read_and_going_on_costs_few(file: Path) -> None:
    blob = CountedBlob(file)
    window = Window(blob)
    for position in (0, 50_000, 90_000):
        window.read(position, 10)
    assert blob.requests == [(0, 2 * SMALLEST), (50_000, SMALLEST), (90_000, SMALLEST)]
    blob.requests.clear()
    window = Window(blob)
    for position in range(0, SIZE, 10):
        window.read(position, 10)
    assert len(blob.requests) < 6
    assert sum(length for _, length in blob.requests) < 1.1 * SIZE
