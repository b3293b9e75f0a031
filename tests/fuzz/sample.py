"""What a fuzzer makes, and the pieces that its strategies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

Value = TypeVar("Value")
Draw = Callable[[st.SearchStrategy[Value]], Value]
AnyDraw = Callable[[st.SearchStrategy[Any]], Any]

NUMBERS: Final = st.one_of(
    st.integers(0, 300),
    st.sampled_from(
        [-1, -(2**31), 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**60, 2**63 - 1, 2**63, 2**64 - 1]
    ),
)
"""Sizes, counts and offsets that a parser may believe."""

NAMES: Final = st.one_of(
    st.sampled_from(
        ["conv1.weight", "conv1.bias", "bn1.running_mean", "fc.weight", "layer1.0.conv1.weight", "module.w"]
    ),
    st.text(max_size=12),
    st.sampled_from(
        ["", "..", "../x", "/etc/passwd", "a" * 5000, "\x1b[2J", "\ud800", "a\0b", "<script>", "1\n1", "." * 99]
    ),
)
"""Names of tensors, most of them a network's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file or a folder of files.

    Attributes:
        files: their contents by name.
        opened: the name of the one to open; "" is the folder.
    """

    files: Mapping[str, bytes]
    opened: str

    def write(self, folder: Path) -> Path:
        """Write all; gives the path to open."""
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        return folder / self.opened


def lie(draw: AnyDraw, honest: Value, liar: st.SearchStrategy[Value], *, one_in: int = 16) -> Value:
    """The honest value, or now and then another."""
    return draw(liar) if draw(st.integers(1, one_in)) == one_in else honest


@st.composite
def mutated(draw: Draw[int], whole: bytes, marks: Sequence[bytes] = ()) -> bytes:
    """A file with bytes overwritten, removed, inserted or cut off, near its ends and near marks more often."""
    data = bytearray(whole)
    places = [0, len(data) - 1, *_places(whole, marks)]
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1)) if draw(st.booleans()) else _near(draw, places, len(data))
        _damage(draw, data, place)
        if not data:
            return b""
    return bytes(data)


def _damage(draw: Draw[int], data: bytearray, place: int) -> None:
    kind = draw(st.integers(0, 9))
    if kind < 5:
        data[place] = draw(st.integers(0, 255))
    elif kind < 7:
        width = draw(st.sampled_from([2, 4, 8]))
        value = draw(NUMBERS) % 2 ** (8 * width)
        data[place : place + width] = value.to_bytes(width, "little")
    elif kind == 7:
        del data[place : place + draw(st.integers(1, 40))]
    elif kind == 8:
        data[place:place] = bytes(draw(st.integers(1, 40)))
    else:
        del data[place:]


def _places(whole: bytes, marks: Sequence[bytes]) -> list[int]:
    found = []
    for mark in marks:
        place = whole.find(mark)
        while place >= 0:
            found.append(place)
            place = whole.find(mark, place + 1)
    return found


def _near(draw: Draw[int], places: Sequence[int], size: int) -> int:
    chosen = draw(st.sampled_from(places))
    return min(max(0, chosen + draw(st.integers(-8, 60))), size - 1)
