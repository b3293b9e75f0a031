"""Axes that stand beside another one whose entries are used one by one: each entry's copy may move on its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Segments, Term, leaves_of, resolved, size_of
from weightatlas.anatomy.symmetries.unification import pin, unify

MOST: Final = 16
"""Entries that an axis may have for each of them to have copies: queries, keys and values are 3, branches a few."""


@dataclass(slots=True, eq=False)
class Instances:
    r"""For axes that are selected from entry by entry: what stands beside them, once for each entry.

    Queries, keys and values are often made by one matrix, whose rows are 3 × heads × width; then the parts are taken
    one by one. Rows of the queries and of the values need not move together, although they are one factor of one axis.
    `of(term, leaf, i)` gives the copy of a term beside entry i of a leaf. That is right as long as the term stands
    nowhere without that leaf; `settle` makes the copies of those that do the same again.
    """

    known: dict[tuple[Leaf, int, Leaf], Term] = field(default_factory=dict)

    def of(self, term: Term, chosen: Leaf, entry: int) -> Term:
        """The copy of a term beside one entry of a leaf."""
        found = resolved(term)
        if isinstance(found, Leaf):
            key = (chosen, entry, found)
            if key not in self.known:
                self.known[key] = Leaf(found.size, found.reason)
            return self.known[key]
        return type(found)(tuple(self.of(part, chosen, entry) for part in found.parts))

    def beside(self, chosen: Leaf, terms: Sequence[Term]) -> Term:
        """A term whose copies beside a leaf's entries are the given ones."""
        first = resolved(terms[0])
        if first is UNIT or all(resolved(term) is first for term in terms):
            return first
        made = Leaf(size_of(first))
        self.known |= {(chosen, entry, made): term for entry, term in enumerate(terms)}
        return made

    def settle(self, values: Iterable[Sequence[Term]], tensors: Iterable[Sequence[Term]]) -> None:
        """Bring copies in line with what became of their originals, until nothing changes.

        Args:
            values: the axes of every value.
            tensors: the axes of every parameter and buffer.
        """
        everything, stored = list(values), list(tensors)
        while self._renew() or self._merge(everything, stored):
            pass

    def expanded(self, term: Term) -> Term:
        """A term with the copies in the place of what stands behind a leaf that has them."""
        known = resolved(term)
        if isinstance(known, Leaf):
            return known
        chosen = {one for one, _, _ in self.known}
        place = next((n for n, part in enumerate(known.parts) if isinstance(part, Leaf) and part in chosen), None)
        if isinstance(known, Segments) or place is None:
            return type(known)(tuple(self.expanded(part) for part in known.parts))
        leaf, rest = known.parts[place], Product(known.parts[place + 1 :])
        assert isinstance(leaf, Leaf)  # noqa: S101 - it was found as one
        copies = [self._copied(rest, leaf, entry) for entry in range(leaf.size)]
        return Product((*(self.expanded(one) for one in known.parts[:place]), Segments(tuple(copies))))

    def by_entry(self, axes: Sequence[Term]) -> Iterator[Sequence[Term]]:
        """The axes of a value; where one is a leaf that has copies beside it, once for each entry, with the copies."""
        present = {leaf for axis in axes for leaf in leaves_of(axis)}
        chosen = [one for one in dict.fromkeys(one for one, _, _ in self.known) if one in present]
        if not chosen:
            yield axes
        for one in chosen:
            for entry in range(one.size):
                yield [self._copied(axis, one, entry) for axis in axes]

    def _copied(self, term: Term, chosen: Leaf, entry: int) -> Term:
        found = resolved(term)
        if isinstance(found, Leaf):
            return self.known.get((chosen, entry, found), found)
        return type(found)(tuple(self._copied(part, chosen, entry) for part in found.parts))

    def _renew(self) -> bool:
        """Follow originals that were bound or pinned after their copies were made."""
        changed = False
        for (chosen, entry, original), copy in list(self.known.items()):
            where, what = resolved(chosen), resolved(original)
            if what is original and where is chosen:
                if original.reason and any(not leaf.reason for leaf in leaves_of(copy)):
                    pin(copy, original.reason)
                    changed = True
                continue
            del self.known[chosen, entry, original]
            unify(self.of(what, where, entry) if isinstance(where, Leaf) else what, copy)
            changed = True
        return changed

    def _merge(self, values: Sequence[Sequence[Term]], tensors: Sequence[Sequence[Term]]) -> bool:
        """Make copies the same as their original, where that stands without the leaf whose entries they have.

        In a stored tensor it must stand behind that leaf, on the same axis: nothing else can be moved entry by entry.
        """
        pairs = {(chosen, original) for chosen, _, original in self.known}
        alone = {pair for pair in pairs if sum(one is pair[1] for _, one in pairs) > 1}
        for axes in values:
            present = {leaf for axis in axes for leaf in leaves_of(axis)}
            alone |= {(chosen, one) for chosen, one in pairs if one in present and chosen not in present}
        for axes in tensors:
            alone |= {pair for pair in pairs - alone if not all(_behind(axis, *pair) for axis in axes)}
        changed = False
        for (chosen, entry, original), copy in list(self.known.items()):
            if (chosen, original) in alone:
                del self.known[chosen, entry, original]
                unify(copy, original)
                changed = True
        return changed


def _behind(term: Term, chosen: Leaf, original: Leaf) -> bool:
    """Whether a leaf stands in a term only behind another one, within one product."""
    known = resolved(term)
    if isinstance(known, Leaf):
        return known is not original
    if isinstance(known, Product) and chosen in known.parts:
        return original not in leaves_of(Product(known.parts[: known.parts.index(chosen)]))
    return all(_behind(part, chosen, original) for part in known.parts)
