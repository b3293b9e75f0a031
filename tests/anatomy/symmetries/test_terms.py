from __future__ import annotations

from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Segments, leaves_of, resolved, size_of


def test_products_within_products_and_segments_within_segments_are_one() -> None:
    a, b, c = Leaf(2), Leaf(3), Leaf(5)
    product = resolved(Product((Product((a, b)), UNIT, c, Leaf(1))))
    assert isinstance(product, Product)
    assert product.parts == (a, b, c)
    segments = resolved(Segments((Segments((a,)), Segments((b, c)))))
    assert isinstance(segments, Segments)
    assert segments.parts == (a, b, c)
    assert leaves_of(Segments((product, a))) == [a, b, c, a], "each as often as it stands there"


def test_a_single_part_is_that_part_and_nothing_is_an_axis_of_length_1() -> None:
    leaf = Leaf(4)
    assert resolved(Product((UNIT, leaf))) is leaf
    assert resolved(Segments((leaf,))) is leaf
    assert resolved(Product((Leaf(1),))) is UNIT
    assert resolved(Leaf(1)) is UNIT


def test_a_bound_leaf_is_what_it_is_bound_to_all_the_way() -> None:
    first, second, outer, inner = Leaf(6), Leaf(6), Leaf(2), Leaf(3)
    first.bound = second
    second.bound = Product((outer, inner))
    found = resolved(Product((first, Leaf(4))))
    assert isinstance(found, Product)
    assert found.parts[:2] == (outer, inner)
    assert size_of(first) == size_of(second.bound) == 6
    assert leaves_of(first) == [outer, inner]


def test_segments_may_have_length_1() -> None:
    found = resolved(Segments((Leaf(1), Leaf(3))))
    assert size_of(found) == 4
    assert len(found.parts) == 2  # type: ignore[union-attr]
