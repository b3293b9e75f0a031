from __future__ import annotations

import itertools

import pytest

from weightatlas.data.seeds import derived_seed


def test_seeds_of_neighbouring_seeds_signs_and_keys_are_all_different() -> None:
    seeds = range(-5, 6)
    keys = [key for length in range(3) for key in itertools.product(range(5), repeat=length)]
    derived = [derived_seed(seed, *key) for seed in seeds for key in keys]
    assert len(set(derived)) == len(derived)
    assert all(0 <= seed < 2**63 for seed in derived)
    assert derived == [derived_seed(seed, *key) for seed in seeds for key in keys]


def test_keys_are_counted_from_0() -> None:
    with pytest.raises(ValueError, match="expected non-negative"):
        derived_seed(0, -1)
