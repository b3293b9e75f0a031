"""What an axis of a tensor is made of: leaves whose entries may change places, products of them, and segments."""

from __future__ import annotations

from dataclasses import dataclass


class Leaf:
    """Entries that may change places with one another, until a reason says that they may not.

    Leaves are compared by identity. One that turns out to be the same as another, or to have parts, is bound to that.

    Attributes:
        size: how many entries.
        reason: why they must stay where they are; None while they may move.
        bound: what it turned out to be.
    """

    __slots__ = ("bound", "reason", "size")

    def __init__(self, size: int, reason: str | None = None) -> None:
        self.size = size
        self.reason = reason
        self.bound: Term | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """Every combination of the entries of its parts, the last part running fastest; without parts a single entry."""

    parts: tuple[Term, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The entries of its parts, one part after the other."""

    parts: tuple[Term, ...]


Term = Leaf | Product | Segments

UNIT = Product(())
"""An axis of length 1."""


def size_of(term: Term) -> int:
    """How many entries an axis has.

    Example:
        >>> size_of(Segments((Leaf(3), Product((Leaf(2), Leaf(5))))))
        13
    """
    if isinstance(term, Leaf):
        return term.size
    if isinstance(term, Segments):
        return sum(size_of(part) for part in term.parts)
    size = 1
    for part in term.parts:
        size *= size_of(part)
    return size


def resolved(term: Term) -> Term:
    """A term as far as it is known.

    No bound leaf is left at its top, products within products and segments within segments are one, and nothing of
    size 1 stands in a product.
    """
    while isinstance(term, Leaf):
        if term.bound is None:
            return UNIT if term.size == 1 else term
        term = term.bound
    if isinstance(term, Segments):
        parts = [one for part in term.parts for one in _segments(resolved(part))]
        return parts[0] if len(parts) == 1 else Segments(tuple(parts))
    factors = [one for part in term.parts for one in _factors(resolved(part))]
    if not factors:
        return UNIT
    return factors[0] if len(factors) == 1 else Product(tuple(factors))


def leaves_of(term: Term) -> list[Leaf]:
    """The leaves of a term, in order, each as often as it stands there."""
    known = resolved(term)
    if isinstance(known, Leaf):
        return [known]
    return [leaf for part in known.parts for leaf in leaves_of(part)]


def _segments(term: Term) -> tuple[Term, ...]:
    return term.parts if isinstance(term, Segments) else (term,)


def _factors(term: Term) -> tuple[Term, ...]:
    return term.parts if isinstance(term, Product) else (term,)
