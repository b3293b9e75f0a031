"""Axes through a reshape: factors are laid out anew, and split where a boundary falls inside one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Term, leaves_of, resolved, size_of
from weightatlas.anatomy.symmetries.unification import is_pinned, pin, split

MIXED: Final = "a reshape runs across it"


def reshaped(axes: Sequence[Term], shape: Sequence[int]) -> list[Term]:
    """The axes of a value with the same elements in the same order and another shape.

    Args:
        axes: of the value as it was.
        shape: as it is then, with as many elements.

    Returns:
        One term for each length. Where no factors give the lengths all axes are pinned.
    """
    parts = [part for axis in axes for part in _parts(axis)]
    made = _laid_out(parts, shape) or _laid_out(_together(parts), shape)
    if made is not None:
        return made
    for axis in axes:
        pin(axis, MIXED)
    return [Leaf(one, MIXED) for one in shape]


def _laid_out(parts: Sequence[Term], shape: Sequence[int]) -> list[Term] | None:
    waiting = list(parts)
    made = [_taken(waiting, length) for length in shape]
    found = [one for one in made if one is not None]
    return found if len(found) == len(made) else None


def _together(parts: Sequence[Term]) -> list[Term]:
    """Factors with those beside one another that all stay as one: any boundary may fall inside it."""
    made: list[Term] = []
    for part in parts:
        if made and is_pinned(made[-1]) and is_pinned(part):
            made[-1] = Leaf(size_of(made[-1]) * size_of(part), leaves_of(made[-1])[0].reason)
        else:
            made.append(part)
    return made


def _taken(waiting: list[Term], length: int) -> Term | None:
    """Take factors of a length from the front of a list; None where they do not come to it."""
    taken: list[Term] = []
    while length > 1 and waiting:
        part = waiting.pop(0)
        size = size_of(part)
        if length % size == 0:
            taken.append(part)
            length //= size
            continue
        halves = split(part, length) if size % length == 0 else None
        if halves is None:
            return None
        waiting.insert(0, halves[1])
        taken.append(halves[0])
        length = 1
    if length != 1:
        return None
    return resolved(Product(tuple(taken))) if taken else UNIT


def _parts(axis: Term) -> tuple[Term, ...]:
    known = resolved(axis)
    return known.parts if isinstance(known, Product) else (known,)
