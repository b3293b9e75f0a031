"""Factors that stand beside another one wherever they stand: each of its entries could move them on its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Final

from weightatlas.anatomy.symmetries.terms import Leaf, Product, Segments, Term, resolved

if TYPE_CHECKING:
    from weightatlas.anatomy.symmetries.instances import Instances

MOST: Final = 256
"""Entries that an axis may have for each of them to have groups of its own: a layer has up to some hundred heads."""

Axes = Sequence[Term]


def owners_of(stored: Iterable[Axes], values: Iterable[Axes], instances: Instances) -> dict[Leaf, tuple[Leaf, ...]]:
    r"""For each leaf those others of which every entry could have a copy of it that moves on its own.

    The width of a head stands beside the heads in all matrices and in every step between. A permutation $\pi_h$ for
    each head h then does what one for all does: each operator treats the heads apart, or sums over heads and widths
    at once. So a leaf has an owner where

    - in every value of the graph, those within operators included, it stands beside the owner: in one product with it,
      or else no other axis has the owner too, for which of the two would then count?
    - in every stored tensor it stands behind the owner, in one product: nothing else is an order of that axis alone.

    Args:
        stored: the axes of every parameter and buffer, copies beside entries written out.
        values: the axes of every value.
        instances: copies of leaves beside entries of others; values have the originals.
    """
    found: dict[Leaf, list[Leaf]] = {}
    for axes in stored:
        for leaf, before in (one for axis in axes for one in _behind(axis, ())):
            found[leaf] = [one for one in found.get(leaf, before) if one in before and 1 < one.size <= MOST]
    found = {leaf: several for leaf, several in found.items() if several and leaf.reason is None}
    for axes in values if found else ():
        for copied in instances.by_entry(axes):
            _narrow(found, [_branches(axis) for axis in copied])
    return {leaf: tuple(several) for leaf, several in found.items() if several}


def _behind(term: Term, before: tuple[Leaf, ...]) -> Iterator[tuple[Leaf, tuple[Leaf, ...]]]:
    """Each leaf of an axis with those before it in the products that it stands in."""
    known = resolved(term)
    if isinstance(known, Leaf):
        yield known, before
        return
    for part in known.parts:
        yield from _behind(part, before)
        one = resolved(part)
        if isinstance(known, Product) and isinstance(one, Leaf):
            before = (*before, one)


def _branches(term: Term) -> list[tuple[Leaf, ...]]:
    """The leaves that an entry of an axis may be a combination of: one set for each segment."""
    known = resolved(term)
    if isinstance(known, Leaf):
        return [(known,)]
    several = [_branches(part) for part in known.parts]
    if isinstance(known, Segments):
        return [branch for branches in several for branch in branches]
    return [tuple(leaf for branch in one for leaf in branch) for one in product(*several)]


def _narrow(found: dict[Leaf, list[Leaf]], axes: Sequence[Sequence[tuple[Leaf, ...]]]) -> None:
    """Drop the owners beside which a leaf does not stand in a value, or not clearly."""
    possible = [{leaf for branch in branches for leaf in branch} for branches in axes]
    certain = [set(branches[0]).intersection(*branches) if branches else set() for branches in axes]
    for place, branches in enumerate(axes):
        elsewhere = [number for number in range(len(axes)) if number != place]
        for branch in branches:
            for leaf in set(branch) & found.keys():
                found[leaf] = [
                    one
                    for one in found[leaf]
                    if branch.count(one) == 1
                    or (
                        one not in branch
                        and sum(one in possible[number] for number in elsewhere) == 1
                        and any(one in certain[number] and _once(one, axes[number]) for number in elsewhere)
                    )
                ]


def _once(leaf: Leaf, branches: Sequence[tuple[Leaf, ...]]) -> bool:
    return all(branch.count(leaf) == 1 for branch in branches)
