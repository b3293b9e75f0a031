from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import banding as slow
from weightatlas.banding.flips import EXACT_UP_TO, sign_flip_p_values
from weightatlas.banding.kernels import kernel_energies
from weightatlas.banding.score import untested_score


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=9))
def test_few_values_are_counted_exactly(values: list[float]) -> None:
    sample = np.round(np.array(values), 3)
    assert sign_flip_p_values([sample])[0] == pytest.approx(slow.exact_p_value(sample))


@pytest.mark.parametrize("size", range(1, 9))
def test_the_smallest_p_is_a_half_to_the_power_of_n_less_one(size: int) -> None:
    assert sign_flip_p_values([np.ones(size)])[0] == 2.0 ** (1 - size)


def test_random_patterns_agree_with_exact_counting() -> None:
    generator = np.random.default_rng(3)
    sample = generator.normal(0.2, 1.0, size=EXACT_UP_TO)
    exact = sign_flip_p_values([sample])[0]
    # The same sample, pushed over the limit by a value that weighs nothing.
    sampled = sign_flip_p_values([np.append(sample, 0.0)], flips=99_999)[0]
    assert sampled == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 99_999))


def test_the_smallest_sampled_p_is_one_in_one_more_than_the_flips() -> None:
    assert sign_flip_p_values([np.ones(100)], flips=999)[0] == 1 / 1000


def test_all_samples_get_the_p_they_would_get_alone() -> None:
    generator = np.random.default_rng(1)
    samples = [generator.normal(0.1, 1, size=size) for size in (5, 40, 17, 64, 200)]
    together = sign_flip_p_values(samples, flips=4999)
    alone = [sign_flip_p_values([sample], flips=4999)[0] for sample in samples]
    np.testing.assert_array_equal(together, alone)


def test_sign_and_scale_do_not_matter() -> None:
    sample = np.random.default_rng(2).normal(0.1, 1, size=50)
    p_values = sign_flip_p_values([sample, -sample, 1e-6 * sample, 1e6 * sample], flips=4999)
    assert len(set(p_values)) == 1


def test_a_sample_without_values_never_rejects() -> None:
    samples = [np.empty(0), np.zeros(30), np.full(4, np.nan)]
    np.testing.assert_array_equal(sign_flip_p_values(samples, flips=99), [1.0, 1.0, 1.0])


def test_the_seed_decides() -> None:
    sample = np.random.default_rng(5).normal(0.15, 1, size=60)
    first, again, other = (sign_flip_p_values([sample], flips=999, seed=seed)[0] for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("units", [4, 8, 12, 24, 64])
def test_each_flip_holds_its_level_on_random_kernels(units: int) -> None:
    """Rejections at 5 %: within sampling error of it from 8 units up, never more below."""
    runs = 2000
    generator = np.random.default_rng(units)
    over_units, over_inputs = [], []
    for _ in range(runs):
        score = untested_score(kernel_energies(generator.normal(size=(units, units, 3, 3))))
        over_units.append(score.unit_scores)
        over_inputs.append(score.input_scores)
    for samples in (over_units, over_inputs):
        rejected = float(np.mean(sign_flip_p_values(samples, flips=1999) <= 0.05))
        margin = 3.3 * np.sqrt(0.05 * 0.95 / runs)
        assert rejected <= 0.05 + margin
        if units >= 8:
            # Counting all patterns of 8 values can only reach 6/128 = .047.
            assert rejected >= 0.047 - margin
        if units <= 5:
            assert rejected == 0
