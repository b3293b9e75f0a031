from __future__ import annotations

import string

import numpy as np
import pytest

from weightatlas.checkpoints.contents import Header
from weightatlas.checkpoints.hdf5.keras_order import AS_STORED, KernelKind, einsum_order, kernel_order, order_attention


def header(key: str, *shape: int) -> Header:
    return Header(key, key, shape, "float32", 0, "x.h5")


@pytest.mark.parametrize(
    ("equation", "inputs", "kernel"),
    [
        ("ab,bc->ac", (2, 3), (3, 4)),
        ("ab,cb->ac", (2, 3), (4, 3)),
        ("abc,cde->abde", (2, 5, 3), (3, 4, 6)),
        ("abde,dec->abc", (2, 5, 3, 4), (3, 4, 6)),
        ("...x,xy->...y", (2, 5, 3), (3, 4)),
    ],
)
def test_a_sums_kernel_becomes_the_matrix_that_gives_the_same_result(
    equation: str, inputs: tuple[int, ...], kernel: tuple[int, ...]
) -> None:
    generator = np.random.default_rng(0)
    values, weight = generator.standard_normal(inputs), generator.standard_normal(kernel)
    axes, merge = einsum_order(equation, kernel)
    matrix = weight.transpose(axes or (0, 1)).reshape(merge or -1) if merge else weight.transpose(axes or (0, 1))
    expected = np.einsum(equation, values, weight)
    flat = values.reshape(-1, matrix.shape[1])
    np.testing.assert_allclose((flat @ matrix.T).reshape(expected.shape), expected, atol=1e-12)


@pytest.mark.parametrize(
    "equation", ["", "ab", "ab,bc", "ab,bb->ab", "abc,bcd->abd", "ab,bc->", "ab,c->abc", "ab,bcd->ac"]
)
def test_a_sum_that_is_no_matrix_product_is_left_as_it_is(equation: str) -> None:
    letters = equation.partition(",")[2].partition("->")[0]
    shape = tuple(2 + string.ascii_lowercase.index(letter) for letter in letters)
    assert einsum_order(equation, shape) == AS_STORED


def test_tables_vectors_and_high_ranks_are_left_as_they_are() -> None:
    assert kernel_order("weight", (9, 4), KernelKind(table=True)) == AS_STORED
    assert kernel_order("weight", (9,), KernelKind()) == AS_STORED
    assert kernel_order("weight", (1,) * 6, KernelKind()) == AS_STORED
    assert kernel_order("kernel", (9, 4), KernelKind()) == AS_STORED


def test_attention_is_told_by_its_parts_and_their_shapes() -> None:
    parts = [
        header("a.query.weight", 5, 2, 3),
        header("a.query.bias", 2, 3),
        header("a.key.weight", 5, 2, 3),
        header("a.attention_output.weight", 2, 3, 7),
        header("b.query.weight", 5, 2, 3),
        header("c.query.weight", 5, 2, 3),
        header("c.attention_output.weight", 4, 3, 7),
    ]
    found = {one.key: (one.axes, one.merge) for one in order_attention(parts)}
    assert found == {
        "a.query.weight": ((1, 2, 0), (6, 5)),
        "a.query.bias": ((0, 1), (6,)),
        "a.key.weight": ((1, 2, 0), (6, 5)),
        "a.attention_output.weight": ((2, 0, 1), (7, 6)),
        "b.query.weight": (None, None),
        "c.query.weight": (None, None),
        "c.attention_output.weight": (None, None),
    }
