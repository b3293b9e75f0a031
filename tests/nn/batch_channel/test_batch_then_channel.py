from __future__ import annotations

import pytest
import torch

from tests.nn.norms import CHANNELS, GROUPS, norm, torch_norms, values
from weightatlas.nn.batch_channel.batch_then_channel import (
    Affines,
    Rule,
    batch_statistics,
    by_torch,
    pooled_statistics,
    unfused,
)
from weightatlas.nn.batch_channel.map_moments import map_moments

RULE = Rule(GROUPS, 1e-5, follows=True)
NONE = Affines(None, None, None, None)


def affines() -> Affines:
    made = norm()
    return Affines(made.weight, made.bias, made.channel_weight, made.channel_bias)


@pytest.mark.parametrize("shape", [(4, CHANNELS), (4, CHANNELS, 5), (4, CHANNELS, 3, 2)])
def test_statistics_are_those_of_each_channel(shape: tuple[int, ...]) -> None:
    inputs = values(*shape)
    flat = inputs.transpose(0, 1).flatten(1)
    found = batch_statistics(inputs, RULE)
    assert float(found.size) == flat.shape[1]
    torch.testing.assert_close(found.mean, flat.mean(1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.variance, flat.var(1, correction=0), rtol=1e-12, atol=1e-12)
    pooled = pooled_statistics(map_moments(inputs[..., None], 1e-5), inputs[..., None], RULE)
    torch.testing.assert_close(tuple(pooled), tuple(found), rtol=1e-12, atol=1e-12)


def test_an_empty_share_has_zeros_that_take_part_in_the_gradient() -> None:
    inputs = values(0, CHANNELS, 3, 2).requires_grad_()
    found = batch_statistics(inputs, RULE)
    assert float(found.size) == 0
    assert found.mean.requires_grad
    assert found.variance.requires_grad
    assert not bool(found.mean.any() or found.variance.any())


def test_plain_operators_are_torch_s_two_norms() -> None:
    inputs = values(4, CHANNELS, 3, 2)
    statistics = batch_statistics(inputs, RULE)
    expected = torch_norms(norm())(inputs)
    torch.testing.assert_close(unfused(inputs, statistics, affines(), RULE), expected, rtol=1e-12, atol=1e-12)
    answer, found = by_torch(inputs, None, affines(), RULE)
    torch.testing.assert_close(answer, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tuple(found), tuple(statistics), rtol=1e-12, atol=1e-12)


def test_statistics_that_are_given_are_gone_by() -> None:
    inputs = values(4, CHANNELS, 3, 2)
    statistics = batch_statistics(inputs * 2 + 1, RULE)
    answer, found = by_torch(inputs, statistics, NONE, RULE)
    assert found is statistics
    torch.testing.assert_close(answer, unfused(inputs, statistics, NONE, RULE), rtol=1e-12, atol=1e-12)
    scaled = (inputs - statistics.mean[:, None, None]) / (statistics.variance[:, None, None] + 1e-5).sqrt()
    grouped = scaled.view(4, GROUPS, -1)
    spread = grouped.var(2, correction=0, keepdim=True)
    expected = ((grouped - grouped.mean(2, keepdim=True)) / (spread + 1e-5).sqrt()).view_as(inputs)
    torch.testing.assert_close(answer, expected, rtol=1e-12, atol=1e-12)
