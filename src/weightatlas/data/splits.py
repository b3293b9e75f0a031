"""Which part of a data set is meant, where nothing or little is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoSplitError(SourceError):
    """The data have no such split. Data that should have it, and are half there, are another error."""


SAME: Final = (
    frozenset({"train", "training"}),
    frozenset({"test", "testing"}),
    frozenset({"val", "valid", "validation", "dev"}),
)
"""Words for one split."""

KNOWN: Final = frozenset().union(*SAME)


def choose_split(source: str, there: Sequence[str], wanted: str | None) -> str:
    """The split that is asked for under any of its names; without a wish "train", or the only one there is.

    Raises:
        NoSplitError: it is not there.
        SourceError: nothing says which is meant.

    Example:
        >>> choose_split("data", ["train", "validation"], "val"), choose_split("data", ["test"], None)
        ('validation', 'test')
    """
    if wanted is None and len(there) == 1:
        return there[0]
    word = "train" if wanted is None else wanted
    if word in there:
        return word
    synonyms = next((names for names in SAME if word in names), frozenset({word}))
    found = [name for name in there if name in synonyms]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(name[:40] for name in there[:8])
    remedy = f"there is {listed}: choose one with ?split="
    if wanted is None:
        problem = "several splits and none called train"
        raise SourceError(source, problem, remedy)
    raise NoSplitError(source, f"no split {wanted[:80]!r}", remedy)
