from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.evaluation.pooled_moments import PooledMoments, channel_moments


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 3))
def test_they_do_not_depend_on_how_values_are_dealt_into_batches(sizes: list[int], seed: int) -> None:
    values = torch.randn(sum(sizes), 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 5
    sums = PooledMoments()
    for part in torch.split(values, sizes):
        sums.add(channel_moments(part, axis=1))
    found = sums.moments()
    together = values.movedim(1, 0).flatten(1)
    assert found.count == together.shape[1]
    torch.testing.assert_close(found.mean, together.mean(1))
    torch.testing.assert_close(found.variance, together.var(1, correction=0))
    torch.testing.assert_close(found.unbiased, together.var(1))


def test_a_mean_far_above_the_deviation_does_not_cancel_in_single_precision() -> None:
    values = torch.randn(4096, 2, generator=torch.Generator().manual_seed(0)) * 0.01 + 100
    found = channel_moments(values, axis=-1)
    torch.testing.assert_close(found.deviation.double(), values.double().std(0, correction=0), rtol=1e-3, atol=0)


def test_half_precision_is_summed_in_single() -> None:
    values = torch.full((3000, 1), 30.0, dtype=torch.float16)
    assert channel_moments(values, axis=1).mean.tolist() == [30.0]


def test_nothing_has_no_moments() -> None:
    with pytest.raises(ValueError, match="no batch"):
        PooledMoments().moments()
