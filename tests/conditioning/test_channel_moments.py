from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.conditioning.channel_moments import BLOCKS, ChannelMoments, Moments
from weightatlas.evaluation.origins import Affine


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def summed(*batches: torch.Tensor, axis: int = 1, by_batch: bool = False) -> Moments:
    sums = ChannelMoments(by_batch=by_batch)
    for batch in batches:
        sums.add(batch, axis=axis, examples=len(batch))
    return sums.moments()


def slowly(values: torch.Tensor) -> tuple[list[float], list[float], list[float]]:
    """Mean, deviation and share of positive values of (examples, channels, ...), one channel after the other."""
    means, stds, shares = [], [], []
    for channel in range(values.shape[1]):
        numbers = values[:, channel].double().flatten().tolist()
        mean = sum(numbers) / len(numbers)
        means.append(mean)
        stds.append((sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5)
        shares.append(sum(number > 0 for number in numbers) / len(numbers))
    return means, stds, shares


@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4), (70, 3, 2, 5), (3, 3, 2, 2, 2)])
def test_the_figures_are_those_of_a_slow_loop(shape: tuple[int, ...]) -> None:
    values = normal(*shape) * 3 + 1
    found = summed(values)
    means, stds, shares = slowly(values)
    np.testing.assert_allclose(found.mean, means, rtol=1e-12)
    np.testing.assert_allclose(found.std, stds, rtol=1e-12)
    np.testing.assert_allclose(found.positive, shares, rtol=1e-12)
    assert (found.examples, found.units, len(found.weights)) == (shape[0], shape[0], min(shape[0], BLOCKS))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_how_examples_are_cut_into_batches_does_not_matter(sizes: list[int]) -> None:
    values = normal(sum(sizes), 4, 3)
    whole, cut = summed(values), summed(*torch.split(values, sizes))
    for field in fields(Moments):
        np.testing.assert_allclose(getattr(cut, field.name), getattr(whole, field.name), atol=1e-13)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_channels_may_lie_anywhere(axis: int) -> None:
    values = normal(6, 3, 4, 5)
    moved = summed(values.movedim(1, axis), axis=axis)
    np.testing.assert_allclose(moved.mean, summed(values).mean, atol=1e-15)


def test_examples_count_alike_whatever_their_size() -> None:
    found = summed(torch.ones(1, 1, 100), torch.zeros(1, 1, 1) - 1)
    assert (found.mean.tolist(), found.positive.tolist()) == ([0.0], [0.5])


def test_windows_of_an_example_are_one_example() -> None:
    values = normal(4, 3, 6)
    sums = ChannelMoments()
    sums.add(values.permute(0, 2, 1).reshape(8, 3, 3), axis=2, examples=4)  # two windows each
    np.testing.assert_allclose(sums.moments().mean, summed(values).mean, atol=1e-15)
    assert sums.moments().examples == 4


def test_in_training_a_batch_is_one_unit() -> None:
    found = summed(*torch.split(normal(24, 2), 8), by_batch=True)
    assert (found.examples, found.units, found.weights.tolist()) == (24, 3, [8, 8, 8])


def test_sums_keep_their_digits_where_single_precision_would_not() -> None:
    values = normal(2000, 1, 500) + 1000
    assert summed(values).std[0] == pytest.approx(values.double().std(correction=0).item(), rel=1e-9)
    halves = (normal(8, 1, 70_000) * 100).half()
    assert summed(halves).std[0] == pytest.approx(halves.double().std(correction=0).item(), rel=1e-9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_an_example_that_is_not_finite_is_counted_and_left_out(bad: float) -> None:
    values = normal(5, 2, 3)
    values[3, 1, 2] = bad
    found = summed(values)
    assert (found.unusable, found.examples) == (1, 4)
    np.testing.assert_allclose(found.mean, slowly(values[[0, 1, 2, 4]])[0], rtol=1e-12)


def test_an_affine_map_is_undone_to_the_digit() -> None:
    normalised = normal(40, 3, 7).double()
    weight, bias = torch.tensor([2.0, -0.5, 0.0], dtype=torch.float64), torch.tensor([1.0, -3.0, 4.0])
    shown = normalised * weight[:, None] + bias[:, None]
    bare = summed(normalised[:, 2:])
    found = summed(shown).without(Affine(weight, bias), bare)
    np.testing.assert_allclose(found.mean, summed(normalised).mean, atol=1e-12)
    np.testing.assert_allclose(found.std, summed(normalised).std, rtol=1e-12)
    unknown = summed(shown).without(Affine(weight, bias))
    assert np.isnan(unknown.mean).tolist() == [False, False, True]


def test_nothing_and_other_channels_are_errors() -> None:
    with pytest.raises(ValueError, match="no batch"):
        ChannelMoments().moments()
    sums = ChannelMoments()
    sums.add(normal(2, 3), axis=1, examples=2)
    with pytest.raises(ValueError, match="4 channels where those before had 3"):
        sums.add(normal(2, 4), axis=1, examples=2)
