from __future__ import annotations

import pytest
import torch

from tests.nn.norms import values
from weightatlas.nn.batch_channel.map_moments import is_channels_last, map_moments, map_products, over_maps, scaled

LAYOUTS = {
    "contiguous": (torch.contiguous_format, (3, 4, 5, 6)),
    "channels last": (torch.channels_last, (3, 4, 5, 6)),
    "sequences": (torch.contiguous_format, (3, 4, 7)),
    "volumes, channels last": (torch.channels_last_3d, (2, 4, 3, 2, 5)),
    "one position": (torch.contiguous_format, (3, 4, 1, 1)),
    "no sample": (torch.contiguous_format, (0, 4, 5, 6)),
}
CASES = pytest.mark.parametrize("layout", LAYOUTS)


def laid_out(layout: str, *, seed: int = 1) -> torch.Tensor:
    memory_format, shape = LAYOUTS[layout]
    return values(*shape, seed=seed).contiguous(memory_format=memory_format)


@CASES
def test_moments_are_those_of_each_map(layout: str) -> None:
    inputs = laid_out(layout)
    found = map_moments(inputs, 1e-5)
    flat = inputs.flatten(2)
    torch.testing.assert_close(found.mean, flat.mean(2), rtol=1e-12, atol=1e-12)
    spread = (flat - flat.mean(2, keepdim=True)).square().mean(2)
    torch.testing.assert_close(found.variance, spread, rtol=1e-12, atol=1e-12)
    if found.centred is not None:
        expected = (inputs - over_maps(found.mean, inputs)) * over_maps((found.variance + 1e-5).rsqrt(), inputs)
        torch.testing.assert_close(found.centred, expected, rtol=1e-12, atol=1e-12)


@CASES
def test_products_are_the_sums_of_each_map(layout: str) -> None:
    inputs, gradient = laid_out(layout), laid_out(layout, seed=2)
    mean = inputs.flatten(2).mean(2)
    sums, products = map_products(gradient, inputs, mean)
    torch.testing.assert_close(sums, gradient.flatten(2).sum(2), rtol=1e-12, atol=1e-12)
    expected = (gradient * (inputs - over_maps(mean, inputs))).flatten(2).sum(2)
    torch.testing.assert_close(products, expected, rtol=1e-12, atol=1e-11)


@CASES
def test_scaling_keeps_the_memory_format(layout: str) -> None:
    inputs = laid_out(layout)
    scale, shift = values(2, *inputs.shape[:2], seed=3)
    found = scaled(inputs, scale, shift)
    torch.testing.assert_close(found, inputs * over_maps(scale, inputs) + over_maps(shift, inputs))
    assert found.stride() == inputs.stride()


def test_formats_are_told_apart() -> None:
    assert [is_channels_last(laid_out(layout)) for layout in LAYOUTS][:4] == [False, True, False, True]


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_a_variance_survives_a_mean_far_from_zero(layout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, 32, 32, generator=generator) + 1e4
    inputs = inputs.contiguous(memory_format=LAYOUTS[layout][0])
    exact = inputs.double().var((2, 3), correction=0)
    torch.testing.assert_close(map_moments(inputs, 1e-5).variance.double(), exact, rtol=1e-3, atol=0)
