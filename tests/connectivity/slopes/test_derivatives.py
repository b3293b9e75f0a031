from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from tests.connectivity.trained_networks import batches, state_of, trained
from weightatlas.connectivity.slopes.derivatives import LineLoss
from weightatlas.errors import NotFiniteError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from weightatlas.evaluation.batches import Batch


class Attention(nn.Module):
    """Fused attention over the two rows of an input, of which torch has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(8, 24)
        self.head = nn.Linear(16, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        query, key, value = self.projection(inputs.flatten(2)[:, :, :8]).chunk(3, dim=-1)
        logits: torch.Tensor = self.head(functional.scaled_dot_product_attention(query, key, value).flatten(1))
        return logits


def attention(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Attention().double()


def slow_derivatives(
    model: nn.Module, a: Mapping[str, torch.Tensor], way: Mapping[str, torch.Tensor], parts: Iterable[Batch]
) -> tuple[float, float, float]:
    """By the whole gradient and the whole Hessian of the parameters."""
    names = list(way)
    parts = list(parts)

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        state = {**{name: tensor.clone() for name, tensor in a.items()}, **dict(zip(names, tensors, strict=True))}
        sums = [functional.cross_entropy(functional_call(model, state, (x,)), y, reduction="sum") for x, y in parts]
        return torch.stack(sums).sum() / sum(len(y) for _, y in parts)

    at = tuple(a[name] for name in names)
    gradient = torch.autograd.functional.jacobian(loss, at)  # type: ignore[no-untyped-call]
    hessian = torch.autograd.functional.hessian(loss, at)  # type: ignore[no-untyped-call]
    slope = sum(float((gradient[i] * way[name]).sum()) for i, name in enumerate(names))
    curvature = sum(
        float(way[one].flatten() @ hessian[i][j].reshape(way[one].numel(), -1) @ way[other].flatten())
        for i, one in enumerate(names)
        for j, other in enumerate(names)
    )
    return float(loss(*at)), slope, curvature


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_they_are_the_gradients_and_the_hessians_along_the_line(activation: str) -> None:
    model, parts = trained("perceptron", activation, 0), batches("perceptron", 20, 7)
    line = LineLoss(model, parts)
    a, b = (line.fit(state_of(trained("perceptron", activation, seed)), "it") for seed in (0, 1))
    way = line.direction(a, b)
    assert line.at(a, way) == pytest.approx(slow_derivatives(model, a, way, parts), rel=1e-9)
    some = line.direction(a, b, ["2.weight", "2.bias"])
    assert line.at(a, some) == pytest.approx(slow_derivatives(model, a, some, parts), rel=1e-9)


def test_fused_attention_has_them_too() -> None:
    parts = batches("convolutional", 9)
    line = LineLoss(attention(0), parts)
    a, b = (line.fit(state_of(attention(seed)), "it") for seed in (0, 1))
    way = line.direction(a, b, ["projection.weight"])
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = slow_derivatives(attention(0), a, way, parts)
    assert line.at(a, way) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_with_batch_norm_they_are_those_of_finite_differences_of_the_loss(statistics: str) -> None:
    model = trained("convolutional", "gelu", 0)
    line = LineLoss(model, batches("convolutional", 30, 20), statistics=statistics)  # type: ignore[arg-type]
    a, b = (line.fit(state_of(trained("convolutional", "gelu", seed)), "it") for seed in (0, 1))
    way = line.direction(a, b)
    assert ("1.running_var" in way) is (statistics == "running")
    step = 1e-4
    low, middle, high = (
        line.at({**a, **{name: a[name] + t * way[name] for name in way}}, way, order=0).value for t in (-step, 0, step)
    )
    found = line.at(a, way)
    assert found.value == pytest.approx(middle, rel=1e-12)
    assert found.slope == pytest.approx((high - low) / (2 * step), rel=1e-5)
    assert found.curvature == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-4)


def test_by_batches_own_moments_running_estimates_do_not_count() -> None:
    model = trained("convolutional", "gelu", 0)
    line = LineLoss(model, batches("convolutional", 16), statistics="batch")
    a = line.fit(state_of(model), "it")
    way = line.direction(a, line.fit(state_of(trained("convolutional", "gelu", 1)), "it"))
    shifted = {**a, "1.running_mean": a["1.running_mean"] + 1}
    assert line.at(shifted, way) == line.at(a, way)
    running = LineLoss(model, batches("convolutional", 16))
    assert running.at(shifted, way).value != pytest.approx(running.at(a, way).value, rel=1e-3)


def test_a_last_batch_too_short_for_moments_joins_the_one_before() -> None:
    model = trained("convolutional", "gelu", 0)
    one, other = (
        LineLoss(model, batches("convolutional", *sizes), statistics="batch") for sizes in ((10, 11), (10, 10, 1))
    )
    state = one.fit(state_of(model), "it")
    way = {"8.bias": torch.ones(4, dtype=torch.float64)}
    assert one.at(state, way) == pytest.approx(other.at(state, way), rel=1e-12)


def test_a_network_in_single_precision_is_differentiated_in_double() -> None:
    single, double = (
        copy.deepcopy(trained("perceptron", "gelu", 0)).to(dtype) for dtype in (torch.float32, torch.float64)
    )
    a, b = (copy.deepcopy(trained("perceptron", "gelu", seed)).float().state_dict() for seed in (0, 1))
    parts = [(inputs.float(), targets) for inputs, targets in batches("perceptron", 12)]
    found, expected = (
        line.at(line.fit(a, "a"), line.direction(line.fit(a, "a"), line.fit(b, "b")))
        for line in (LineLoss(model, parts, dtype=torch.float64) for model in (single, double))
    )
    assert found == expected
    rough = LineLoss(single, parts)
    in_single = rough.at(rough.fit(a, "a"), rough.direction(rough.fit(a, "a"), rough.fit(b, "b")))
    assert in_single != expected
    assert in_single == pytest.approx(expected, rel=1e-3)


def test_a_loss_that_is_linear_has_no_curvature_and_one_that_stands_still_no_slope() -> None:
    model = nn.Linear(5, 4).double()
    line = LineLoss(model, batches("perceptron", 6), loss=lambda output, _: output.mean())
    at = line.fit(state_of(model), "it")
    ones = {"bias": torch.ones(4, dtype=torch.float64)}
    assert line.at(at, ones)[1:] == pytest.approx((1, 0), abs=1e-14)
    assert line.at(at, {})[1:] == (0, 0)
    assert line.at(at, ones, order=1).slope == line.at(at, ones).slope


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(*, fails: bool) -> None:
    model = copy.deepcopy(trained("convolutional", "gelu", 0)).train()
    model[1].eval()
    before, state = state_of(model), torch.get_rng_state()

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if fails:
            raise KeyboardInterrupt
        return functional.cross_entropy(output, targets)

    line = LineLoss(model, batches("convolutional", 8), loss=loss, statistics="batch")
    at = line.fit(before, "it")
    try:
        line.at(at, line.direction(at, at))
    except KeyboardInterrupt:
        assert fails
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model] == [place != 1 for place in range(len(model))]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_not_finite_or_does_not_fit_is_an_error() -> None:
    model = trained("perceptron", "gelu", 0)
    line = LineLoss(model, batches("perceptron", 6))
    state = state_of(model)
    with pytest.raises(SourceError, match=r"the second: it has no 0\.weight"):
        line.fit({name: tensor for name, tensor in state.items() if name != "0.weight"}, "the second")
    with pytest.raises(SourceError, match=r"the data: the network cannot take inputs of float64 \[6, 2, 8, 8\]"):
        LineLoss(model, batches("convolutional", 6))
    state["0.weight"][0, 0] = torch.nan
    at = line.fit(state, "it")
    with pytest.raises(NotFiniteError, match="along the line"):
        line.at(at, line.direction(at, at))
    with pytest.raises(ValueError, match="statistics must be one of batch, running, not 'none'"):
        LineLoss(model, batches("perceptron", 6), statistics="none")  # type: ignore[arg-type]
