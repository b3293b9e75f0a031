"""How the steps of a run follow each other: which are missing, and whether they start again with every epoch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from weightatlas.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHOWN: Final = 8


def note_of_gaps(steps: Iterable[int], unit: str) -> str | None:
    """A sentence on the steps that are missing where the spacing is regular before and after; None where none is.

    A spacing that only grows (0, 1, 2, 4, ..., 512, 1000, 2000) has no gaps.

    Example:
        >>> note_of_gaps([0, 100, 200, 400, 500, 600], "step")
        'step 300 is missing: before and after there is one every 100'
        >>> note_of_gaps([0, 1, 2, 4, 8, 16, 100, 200, 300], "step")
    """
    gaps = list(_gaps(sorted(set(steps))))
    if not gaps:
        return None
    spacings = sorted({spacing for _, _, spacing in gaps})
    count = sum((last - first) // spacing + 1 for first, last, spacing in gaps)
    texts = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last, _ in gaps[:SHOWN]]
    if len(gaps) > SHOWN:
        texts.append(f"others ({count:,} in all)")
    nouns, verb = (unit, "is") if count == 1 else (f"{unit}s", "are")
    every = listed([f"{spacing:,}" for spacing in spacings[:SHOWN]])
    return f"{nouns} {listed(texts)} {verb} missing: before and after there is one every {every}"


def _gaps(steps: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """First and last missing step and the spacing: wide spacings between two equal ones that divide them."""
    widths = [after - before for before, after in pairwise(steps)]
    place = 0
    while place < len(widths):
        spacing, end = widths[place], place + 1
        while end < len(widths) and widths[end] > spacing and widths[end] % spacing == 0:
            end += 1
        if end < len(widths) and widths[end] == spacing:
            for wide in range(place + 1, end):
                yield steps[wide] + spacing, steps[wide + 1] - spacing, spacing
        place = max(end if end < len(widths) and widths[end] == spacing else place + 1, place + 1)


def starts_again(places: Iterable[tuple[int, int]]) -> bool:
    """Whether steps are counted anew in each epoch, from pairs of epoch and step.

    Example:
        >>> starts_again([(0, 500), (0, 1000), (1, 500)]), starts_again([(0, 500), (1, 1000)])
        (True, False)
    """
    ordered = sorted(places)
    return any(later[1] < earlier[1] for earlier, later in pairwise(ordered))
