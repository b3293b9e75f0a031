from __future__ import annotations

import pytest

from weightatlas.anatomy.symmetries.reshaping import reshaped
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Segments, Term, leaves_of, resolved, size_of
from weightatlas.anatomy.symmetries.unification import UNEQUAL, cut, is_pinned, pin, split, unify


def text(term: Term) -> str:
    """A term's shape: 2*3 for a product, (2+3) for segments."""
    known = resolved(term)
    if isinstance(known, Leaf):
        return str(known.size)
    parts = [text(part) for part in known.parts]
    return "*".join(parts) if isinstance(known, Product) else f"({'+'.join(parts)})"


def test_products_are_refined_until_they_fit() -> None:
    first, second = Product((Leaf(2), Leaf(6))), Product((Leaf(4), Leaf(3)))
    unify(first, second)
    assert text(first) == text(second) == "2*2*3"
    assert [id(leaf) for leaf in leaves_of(first)] == [id(leaf) for leaf in leaves_of(second)]


def test_segments_are_cut_until_they_fit() -> None:
    first, second = Segments((Leaf(2), Leaf(6))), Segments((Leaf(5), Leaf(3)))
    unify(first, second)
    assert text(first) == text(second) == "(2+3+3)"
    assert [id(leaf) for leaf in leaves_of(first)] == [id(leaf) for leaf in leaves_of(second)]


def test_a_product_that_meets_segments_is_cut_at_its_slow_factor() -> None:
    slow = Leaf(5)
    first, second = Product((slow, Leaf(4))), Segments((Product((Leaf(2), Leaf(4))), Product((Leaf(3), Leaf(4)))))
    unify(first, second)
    assert text(slow) == "(2+3)"
    assert not is_pinned(first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Product((Leaf(4), Leaf(3))), Product((Leaf(6), Leaf(2)))),
        (Product((Leaf(4), Leaf(3))), Segments((Leaf(5), Leaf(7)))),
        (Leaf(4), Leaf(5)),
    ],
)
def test_what_does_not_fit_is_pinned(first: Term, second: Term) -> None:
    unify(first, second)
    assert {leaf.reason for leaf in [*leaves_of(first), *leaves_of(second)]} - {None} == {UNEQUAL}
    assert is_pinned(first) or isinstance(first, Product)


def test_a_reason_spreads_to_whatever_is_the_same_and_the_first_one_stays() -> None:
    leaf, product = Leaf(6), Product((Leaf(2), Leaf(3)))
    pin(leaf, "first")
    unify(product, leaf)
    pin(product, "second")
    assert {one.reason for one in leaves_of(product)} == {"first"}
    unify(leaf, product)
    assert text(leaf) == "2*3"


def test_cuts_and_splits_of_what_has_parts() -> None:
    whole = Segments((Product((Leaf(2), Leaf(3))), Product((Leaf(4), Leaf(3)))))
    halves = split(whole, 6)
    assert halves is not None
    assert [text(half) for half in halves] == ["(2+4)", "3"]
    pieces = cut(Product((Leaf(4), Leaf(3))), 6)
    assert pieces is not None
    assert [text(piece) for piece in pieces] == ["2*3", "2*3"]
    assert cut(Product((Leaf(4), Leaf(3))), 5) is None
    assert split(Leaf(6), 4) is None
    assert split(Segments((Leaf(2), Leaf(3))), 5) is not None


def test_reshapes_split_merge_and_skip_axes_of_length_1() -> None:
    channels, height = Leaf(6), Leaf(4, "positions")
    flat = reshaped((UNIT, channels, height), (1, 24))
    assert [text(axis) for axis in flat] == ["", "6*4"]
    assert [text(axis) for axis in reshaped(flat, (2, 1, 3, 4))] == ["2", "", "3", "4"]
    assert text(channels) == "2*3"
    assert [text(axis) for axis in reshaped((height, channels), (2, 2, 6))] == ["2", "2", "2*3"]
    assert size_of(reshaped((Leaf(4), Leaf(3)), (6, 2))[0]) == 6
