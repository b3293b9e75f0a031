"""Make axes the same: union-find over leaves, with products and segments that are refined until they fit."""

from __future__ import annotations

from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Segments, Term, leaves_of, resolved, size_of

UNEQUAL = "its parts do not line up with those of an axis that it meets"


def pin(term: Term, reason: str) -> None:
    """Keep all entries of an axis in their places; a leaf that is pinned already keeps its reason."""
    for leaf in leaves_of(term):
        leaf.reason = leaf.reason or reason


def is_pinned(term: Term) -> bool:
    """Whether no entry of an axis can move."""
    return all(leaf.reason for leaf in leaves_of(term))


def unify(first: Term, second: Term) -> None:
    """Make two axes of one length the same: from now on their entries move together.

    A leaf becomes whatever the other axis is. Products are refined factor by factor and segments cut by cut; where the
    parts of two axes do not fit into each other, both are pinned.
    """
    ours, theirs = resolved(first), resolved(second)
    if _same(ours, theirs):
        return
    if size_of(ours) != size_of(theirs):
        _give_up(ours, theirs)
    elif isinstance(ours, Leaf):
        _bind(ours, theirs)
    elif isinstance(theirs, Leaf):
        _bind(theirs, ours)
    elif isinstance(ours, Product) and isinstance(theirs, Product):
        _in_step(list(ours.parts), list(theirs.parts), products=True)
    else:
        _in_step(_cuttable(ours), _cuttable(theirs), products=False)


def split(term: Term, outer: int) -> tuple[Term, Term] | None:
    """An axis as the product of two, the first of length `outer`; None where its parts do not allow it.

    Segments can be split where each of them can: their inner factors are made the same.
    """
    known = resolved(term)
    size = size_of(known)
    if outer in {1, size}:
        return (UNIT, known) if outer == 1 else (known, UNIT)
    if size % outer:
        return None
    if isinstance(known, Leaf):
        made = Leaf(outer, known.reason), Leaf(size // outer, known.reason)
        known.bound = Product(made)
        return made
    if isinstance(known, Segments):
        return _split_segments(known, size // outer)
    return _split_product(known, outer)


def cut(term: Term, place: int) -> tuple[Term, Term] | None:
    """An axis as two segments, the first of length `place`; None where its parts do not allow it."""
    known = resolved(term)
    if isinstance(known, Leaf):
        made = Leaf(place, known.reason), Leaf(known.size - place, known.reason)
        if known.reason is None:
            known.bound = Segments(made)
        return made
    if isinstance(known, Segments):
        return _cut_segments(known, place)
    inner = resolved(Product(known.parts[1:]))
    if not known.parts or place % size_of(inner):
        return None
    halves = cut(known.parts[0], place // size_of(inner))
    return None if halves is None else (Product((halves[0], inner)), Product((halves[1], inner)))


def _split_product(known: Product, outer: int) -> tuple[Term, Term] | None:
    before: list[Term] = []
    after = list(known.parts)
    while outer > 1:
        part = after.pop(0)
        if outer % size_of(part) == 0:
            before.append(part)
            outer //= size_of(part)
            continue
        halves = split(part, outer) if size_of(part) % outer == 0 else None
        if halves is None:
            return None
        before.append(halves[0])
        after.insert(0, halves[1])
        outer = 1
    return resolved(Product(tuple(before))), resolved(Product(tuple(after)))


def _split_segments(known: Segments, inner: int) -> tuple[Term, Term] | None:
    if any(size_of(part) % inner for part in known.parts):
        return None
    pairs = [split(part, size_of(part) // inner) for part in known.parts]
    found = [pair for pair in pairs if pair is not None]
    if len(found) < len(pairs):
        return None
    for _, fast in found[1:]:
        unify(found[0][1], fast)
    slow = Segments(tuple(pair[0] for pair in found))
    return resolved(slow), resolved(found[0][1])


def _cut_segments(known: Segments, place: int) -> tuple[Term, Term] | None:
    before: list[Term] = []
    for number, part in enumerate(known.parts):
        size = size_of(part)
        if place == 0:
            return Segments(tuple(before)), Segments(known.parts[number:])
        if place < size:
            halves = cut(part, place)
            if halves is None:
                return None
            return Segments((*before, halves[0])), Segments((halves[1], *known.parts[number + 1 :]))
        before.append(part)
        place -= size
    return None


def _bind(leaf: Leaf, term: Term) -> None:
    """Let a leaf be another term, which takes over its reason."""
    if leaf.reason:
        pin(term, leaf.reason)
    leaf.bound = term


def _in_step(ours: list[Term], theirs: list[Term], *, products: bool) -> None:
    """Unify two lists of factors or of segments from the left, refining the larger of the two that meet."""
    divide = split if products else cut
    while ours and theirs:
        left, right = ours.pop(0), theirs.pop(0)
        sizes = size_of(left), size_of(right)
        if sizes[0] == sizes[1]:
            unify(left, right)
            continue
        smaller, larger, rest = (left, right, theirs) if sizes[0] < sizes[1] else (right, left, ours)
        parts = divide(larger, min(sizes))
        if parts is None:
            _give_up(Segments((left, *ours)), Segments((right, *theirs)))
            return
        unify(smaller, parts[0])
        rest.insert(0, parts[1])


def _cuttable(term: Term) -> list[Term]:
    return list(term.parts) if isinstance(term, Segments) else [term]


def _give_up(first: Term, second: Term) -> None:
    pin(first, UNEQUAL)
    pin(second, UNEQUAL)


def _same(first: Term, second: Term) -> bool:
    """Whether two resolved terms are made of the very same leaves in the same way."""
    if first is second or isinstance(first, Leaf) or isinstance(second, Leaf) or type(first) is not type(second):
        return first is second
    if len(first.parts) != len(second.parts):
        return False
    return all(_same(resolved(ours), resolved(theirs)) for ours, theirs in zip(first.parts, second.parts, strict=True))
