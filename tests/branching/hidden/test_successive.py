from __future__ import annotations

import numpy as np
import pytest

from weightatlas.branching.hidden.kernel_norms import Norm, kernel_norms
from weightatlas.branching.hidden.successive import connection_sizes

GENERATOR = np.random.default_rng(0)


def test_units_of_the_first_layer_are_rows() -> None:
    second = GENERATOR.normal(size=(5, 3, 2, 2))
    np.testing.assert_array_equal(connection_sizes(3, second), kernel_norms(second).T)


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_positions_of_a_flattened_map_are_one_kernel(norm: Norm) -> None:
    kernels = GENERATOR.normal(size=(5, 3, 2, 2))
    np.testing.assert_allclose(
        connection_sizes(3, kernels.reshape(5, 12), norm=norm), connection_sizes(3, kernels, norm=norm)
    )


def test_transposed_convolutions_are_stored_the_other_way() -> None:
    second = GENERATOR.normal(size=(3, 5, 2, 2))
    np.testing.assert_array_equal(connection_sizes(3, second, transposed=True), kernel_norms(second))


def test_a_group_is_looked_at_alone() -> None:
    second = GENERATOR.normal(size=(6, 2, 3, 3))  # 4 units in two groups
    table = connection_sizes(4, second, group=1)
    np.testing.assert_array_equal(table[2:, 3:], kernel_norms(second[3:]).T)
    assert not table[:2].any()
    assert not table[:, :3].any()


@pytest.mark.parametrize(
    ("units", "shape", "group", "problem"),
    [
        (4, (6, 2, 3, 3), None, "2 groups, which are branches already"),
        (4, (6, 2, 3, 3), 2, "group must be 0 to 1"),
        (4, (5, 2, 3, 3), 0, "do not divide"),
        (4, (4, 1, 3, 3), None, "depthwise"),
        (4, (8, 1, 3, 3), 0, "depthwise"),
        (4, (6, 3, 3, 3), None, "not the 4 units"),
        (4, (6, 6), None, "not the 4 units"),
        (4, (6, 4), 0, "no groups"),
        (4, (6, 8), 0, "no groups"),
    ],
)
def test_what_does_not_follow_is_refused_with_a_reason(
    units: int, shape: tuple[int, ...], group: int | None, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        connection_sizes(units, np.ones(shape), group=group)


def test_a_transposed_layer_of_other_units_is_refused() -> None:
    with pytest.raises(ValueError, match="5 channels"):
        connection_sizes(4, np.ones((5, 4, 2, 2)), transposed=True)
