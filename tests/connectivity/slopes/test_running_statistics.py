from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.connectivity.slopes.running_statistics import DifferentiableStatistics


def values(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_the_norm_written_out_is_torchs_own(shape: tuple[int, ...], *, affine: bool) -> None:
    mean, variance = values(3).requires_grad_(), values(3).square().requires_grad_()
    weight, bias = (values(3), 2 * values(3)) if affine else (None, None)
    with DifferentiableStatistics():
        found = functional.batch_norm(values(*shape), mean, variance, weight, bias, eps=0.1)
    expected = functional.batch_norm(values(*shape), mean.detach(), variance.detach(), weight, bias, eps=0.1)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_its_derivatives_are_those_of_finite_differences() -> None:
    def norm(mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
        with DifferentiableStatistics():
            return functional.batch_norm(values(4, 3), mean, variance, values(3)).sin()

    statistics = values(3).requires_grad_(), (1 + values(3).square()).requires_grad_()
    assert torch.autograd.gradcheck(norm, statistics)
    assert torch.autograd.gradgradcheck(norm, statistics)


def test_an_instance_norm_with_running_estimates_is_one_too() -> None:
    norm = nn.InstanceNorm1d(3, affine=True, track_running_stats=True).double().eval()
    mean = values(3).requires_grad_()
    with DifferentiableStatistics():
        found = torch.func.functional_call(norm, {"running_mean": mean}, (values(4, 3, 5),))
    expected = torch.func.functional_call(norm, {"running_mean": mean.detach()}, (values(4, 3, 5),))
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.grad(found.sum(), mean)[0].abs().min() > 0


def test_statistics_that_need_no_derivative_are_left_to_torch() -> None:
    norm = nn.BatchNorm1d(3).double()
    with DifferentiableStatistics():
        norm(values(8, 3))
        moved = norm.running_mean
        norm.eval()
        norm(values(8, 3))
    assert moved is not None
    assert torch.allclose(moved, values(8, 3).mean(0) / 10), "in training they follow the batch"


def test_without_it_torch_refuses() -> None:
    mean = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="not differentiable"):
        functional.batch_norm(values(4, 3), mean, torch.ones(3, dtype=torch.float64))
