from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.degeneracy.wiring.patterns import Patterns, grouped


def patterns_of(bits: np.ndarray, sizes: list[int], *, sample: int = 0, seed: int = 0) -> Patterns:
    found = Patterns(len(bits), sample, np.random.default_rng(seed))
    for part in np.split(bits, np.cumsum(sizes)[:-1], axis=1):
        found.add(part)
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.lists(st.integers(1, 70), min_size=1, max_size=4))
def test_blocks_are_the_equal_rows(seed: int, units: int, sizes: list[int]) -> None:
    generator = np.random.default_rng(seed)
    different = generator.random((3, sum(sizes))) < 0.5
    bits = different[generator.integers(0, 3, units)]
    flips = generator.random(units) < 0.3
    bits[flips, generator.integers(0, sum(sizes), int(flips.sum()))] ^= True
    found = patterns_of(bits, sizes, seed=seed)
    _, labels = np.unique(bits, axis=0, return_inverse=True)
    assert [block.tolist() for block in found.blocks()] == [block.tolist() for block in grouped(labels.reshape(-1))]
    assert found.fired.tolist() == bits.sum(axis=1).tolist()
    assert found.points == sum(sizes)


def test_one_bit_at_the_end_or_in_another_batch_tells_units_apart() -> None:
    bits = np.zeros((4, 100), dtype=bool)
    bits[1, 99] = bits[2, 33] = bits[3, 1] = True
    assert len(patterns_of(bits, [100]).blocks()) == len(patterns_of(bits, [33, 33, 34]).blocks()) == 4


def test_the_sample_is_even_over_batches_and_within_its_size() -> None:
    counts = np.zeros(4)
    for seed in range(200):
        bits = np.repeat(np.eye(4, dtype=bool), 25, axis=1)
        found = patterns_of(bits, [10, 40, 50], sample=10, seed=seed)
        assert found.sampled == 10
        counts += found._kept.sum(axis=1)
    assert counts.sum() == 2000
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75))


def test_near_blocks_are_complete() -> None:
    bits = np.zeros((3, 10), dtype=bool)
    bits[1, :2] = bits[2, :4] = True
    found = patterns_of(bits, [10], sample=10)
    assert [block.tolist() for block in found.near_blocks(0.25)] == [[0, 1], [2]]
    assert [block.tolist() for block in found.near_blocks(0.4)] == [[0, 1, 2]]
    assert [block.tolist() for block in patterns_of(bits[:1], [10], sample=4).near_blocks(0.1)] == [[0]]


@pytest.mark.parametrize("seed", range(3))
def test_random_units_are_told_apart_at_the_stated_rate(seed: int) -> None:
    bits = np.random.default_rng(seed).random((300, 64)) < 0.5
    assert len(patterns_of(bits, [64]).blocks()) == 300
