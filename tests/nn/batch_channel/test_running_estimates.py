from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.norms import values
from weightatlas.nn.batch_channel.running_estimates import (
    BatchMoments,
    Estimates,
    averaged,
    over_processes,
    pooled,
    towards,
)

BEFORE = Estimates(torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 3.0]).double(), torch.tensor(4))


def moments(batch: torch.Tensor) -> BatchMoments:
    """Of (values, channels)."""
    size = torch.tensor(float(len(batch)), dtype=batch.dtype)
    return BatchMoments(size, batch.mean(0), batch.var(0, correction=0))


def rate(number: float) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.float64)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 100))
def test_samples_pool_to_the_moments_of_all_values(samples: int, positions: int, seed: int) -> None:
    batch = values(samples, 3, positions, seed=seed)
    found = pooled(batch.mean(2), batch.var(2, correction=0), positions)
    assert float(found.size) == samples * positions
    torch.testing.assert_close(found.mean, batch.mean((0, 2)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.variance, batch.var((0, 2), correction=0), rtol=1e-12, atol=1e-12)


def test_pooling_keeps_a_variance_far_from_zero() -> None:
    batch = (values(4, 2, 50) + 1e9).double()
    found = pooled(batch.mean(2), batch.var(2, correction=0), 50)
    torch.testing.assert_close(found.variance, batch.var((0, 2), correction=0), rtol=1e-6, atol=0)


def test_nothing_pools_to_zeros() -> None:
    assert [part.tolist() for part in pooled(torch.zeros(0, 2), torch.zeros(0, 2), 9)] == [0, [0, 0], [0, 0]]


def test_a_process_alone_keeps_its_moments() -> None:
    own = moments(values(5, 2))
    assert over_processes(own) is own


def test_the_variance_is_taken_about_the_mean_before_the_batch() -> None:
    batch = values(7, 2)
    after = towards(BEFORE, moments(batch), rate(0.25))
    torch.testing.assert_close(after.mean, 0.75 * BEFORE.mean + 0.25 * batch.mean(0))
    about = (batch - BEFORE.mean).square().mean(0)
    torch.testing.assert_close(after.variance, 0.75 * BEFORE.variance + 0.25 * about)
    assert int(after.batches) == 5


@pytest.mark.parametrize("number", [0.0, 1.0])
def test_the_extreme_rates_keep_all_or_nothing(number: float) -> None:
    batch = values(7, 2)
    after = towards(BEFORE, moments(batch), rate(number))
    assert torch.equal(after.mean, batch.mean(0) if number else BEFORE.mean)
    about = batch.var(0, correction=0) + (batch.mean(0) - BEFORE.mean).square()
    torch.testing.assert_close(after.variance, about if number else BEFORE.variance, rtol=1e-14, atol=0)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 100))
def test_a_warm_up_pools_its_batches_exactly(warmup: int, seed: int) -> None:
    batches = values(warmup, 5, 2, seed=seed)
    estimates = BEFORE._replace(batches=torch.tensor(0))  # whatever they were
    for count, batch in enumerate(batches, start=1):
        estimates = towards(estimates, moments(batch), rate(0.1), warmup=warmup)
        seen = batches[:count].flatten(0, 1)
        torch.testing.assert_close(estimates.mean, seen.mean(0), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(estimates.variance, seen.var(0, correction=0), rtol=1e-12, atol=1e-12)
    batch = values(5, 2, seed=seed + 1)
    after = towards(estimates, moments(batch), rate(0.1), warmup=warmup)
    torch.testing.assert_close(after.mean, 0.9 * estimates.mean + 0.1 * batch.mean(0))


def test_the_average_is_torch_s() -> None:
    for momentum in (0.3, None):
        norm = torch.nn.BatchNorm1d(2, momentum=momentum).double()
        estimates = Estimates(norm.running_mean.clone(), norm.running_var.clone(), torch.tensor(0))  # type: ignore[union-attr]
        for seed in range(4):
            batch = values(5, 2, seed=seed)
            norm(batch)
            estimates = averaged(estimates, moments(batch), momentum)
        torch.testing.assert_close(estimates.mean, norm.running_mean, rtol=1e-14, atol=0)
        torch.testing.assert_close(estimates.variance, norm.running_var, rtol=1e-14, atol=0)
        assert int(estimates.batches) == 4


@pytest.mark.parametrize("bad", ["no values", "no number", "endless", "too large for the estimates"])
@pytest.mark.parametrize("rule", ["towards", "averaged"])
def test_a_batch_that_cannot_be_used_changes_nothing(bad: str, rule: str) -> None:
    before = BEFORE
    batch = moments(values(7, 2))
    if bad == "no values":
        batch = batch._replace(size=torch.tensor(0.0).double())
    elif bad == "too large for the estimates":
        before = Estimates(before.mean.half(), before.variance.half(), before.batches)
        batch = batch._replace(variance=torch.tensor([1.0, 1e7]).double())
    else:
        number = torch.nan if bad == "no number" else torch.inf
        batch = batch._replace(mean=torch.tensor([0.0, number]).double())
    after = towards(before, batch, rate(0.5), warmup=9) if rule == "towards" else averaged(before, batch, 0.5)
    assert all(torch.equal(old.double(), new.double()) for old, new in zip(before, after, strict=True))
