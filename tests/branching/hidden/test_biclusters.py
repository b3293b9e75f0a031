from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from weightatlas.branching.hidden.biclusters import biclusters, order_by

GENERATOR = np.random.default_rng(0)
ROWS, COLUMNS = np.arange(30) % 3, np.arange(21) % 3


def planted() -> np.ndarray:
    table = np.abs(GENERATOR.normal(size=(30, 21))) * (1 + 4 * (ROWS[:, None] == COLUMNS))
    sized: np.ndarray = GENERATOR.lognormal(size=(30, 1)) * table * GENERATOR.lognormal(size=(1, 21))
    return sized


def test_planted_blocks_are_found_whatever_the_size_of_units() -> None:
    found = biclusters(planted(), blocks=3)
    assert adjusted_rand_score(ROWS, found.row_labels) > 0.8
    assert adjusted_rand_score(COLUMNS, found.column_labels) > 0.8


def test_orders_are_permutations_that_bring_blocks_together() -> None:
    found = biclusters(planted(), blocks=3)
    for order, labels in ((found.row_order, found.row_labels), (found.column_order, found.column_labels)):
        assert sorted(order.tolist()) == list(range(len(labels)))
        assert (np.diff(labels[order]) >= 0).all()
    assert found.row_labels[0] == 0


def test_rows_of_zeros_are_in_no_block_and_last() -> None:
    table = planted()
    table[4] = 0
    found = biclusters(table, blocks=3)
    assert found.row_labels[4] == -1
    assert found.row_order[-1] == 4


def test_the_seed_decides() -> None:
    table = np.abs(GENERATOR.normal(size=(12, 9)))
    first, again = biclusters(table, blocks=4, seed=3), biclusters(table, blocks=4, seed=3)
    np.testing.assert_array_equal(first.row_labels, again.row_labels)


@pytest.mark.parametrize("blocks", [1, 5])
def test_an_impossible_number_of_blocks_is_refused(blocks: int) -> None:
    with pytest.raises(ValueError, match="2 to 4"):
        biclusters(np.abs(GENERATOR.normal(size=(4, 9))), blocks=blocks)


def test_order_by_puts_what_has_no_value_last() -> None:
    assert order_by(np.array([0.1, np.nan, 0.5, -1.0])).tolist() == [2, 0, 3, 1]
