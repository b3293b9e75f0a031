from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.contents import Header
from weightatlas.checkpoints.dtypes import torch_dtype
from weightatlas.checkpoints.places.blob import Blob
from weightatlas.checkpoints.writing.pieces import Piece, overlapping


class Named(Blob):
    """A blob that is never read."""

    def __init__(self, name: str) -> None:
        self.name, self.size, self.is_local = name, 100, True

    read = memory = path = folder = None  # type: ignore[assignment]


Named.__abstractmethods__ = frozenset()


def piece(name: str, file: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> Piece:
    header = Header(name, name, shape, "float32", 4, file)
    return Piece(header, Named(file), offset, shape, strides, big_endian=False, archive=(0, 100))


@given(
    places=st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 12), st.integers(1, 4)), max_size=7),
)
def test_names_that_share_bytes_stand_together(places: list[tuple[str, int, int]]) -> None:
    pieces = {
        str(number): (piece(str(number), file, start, (length,)),)
        for number, (file, start, length) in enumerate(places)
    }
    found = overlapping(pieces)
    taken = {name: {(one.file.name, byte) for byte in range(one.offset, one.end)} for name, (one,) in pieces.items()}
    together = {(name, other) for names in found for name in names for other in names if name != other}
    meeting = {(name, other) for name in taken for other in taken if name != other and taken[name] & taken[other]}
    closed = set(meeting)
    while True:
        more = {(a, d) for a, b in closed for c, d in closed if b == c and a != d} | closed
        if more == closed:
            break
        closed = more
    assert together == closed


def test_steps_of_zero_meet_the_same_element() -> None:
    assert overlapping({"a": (piece("a", "x", 0, (3,), (0,)),)}) == [{"a"}]
    assert overlapping({"a": (piece("a", "x", 0, (2, 3), (1, 2)),)}) == []


def test_a_piece_ends_behind_its_last_element() -> None:
    turned = torch.zeros(3, 4, dtype=torch_dtype("float32")).t()
    one = piece("a", "x", 8, tuple(turned.shape), turned.stride())
    assert one.end == 8 + 4 * 12
    assert piece("a", "x", 8, (0, 3)).end == 8
