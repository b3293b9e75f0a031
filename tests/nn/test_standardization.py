from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, jvp, vmap

from tests.reference.standardization import KERNELS, standardized, standardized_transposed
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization, standardize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXACT = Standardization(eps=0.0)
SHAPES = ((4, 3, 3, 3), (3, 7), (2, 3, 5), (2, 2, 3, 2, 2), (5, 1, 3, 3))
LAYOUTS: dict[str, dict[str, Any]] = {
    "direct": {},
    "transposed": {"unit_axis": 1},
    "groups": {"unit_axis": 1, "groups": 2},
}


def weights(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Weights of a deviation at which every epsilon tells, and of a mean of the same size."""
    generator = torch.Generator().manual_seed(seed)
    return (0.01 * (torch.randn(shape, generator=generator, dtype=torch.float64) + 0.7)).to(dtype)


def close(answer: torch.Tensor, expected: Any, tolerance: float) -> None:  # noqa: ANN401
    torch.testing.assert_close(
        answer.detach().double(), torch.as_tensor(expected).detach().double(), rtol=tolerance, atol=tolerance
    )


def test_every_name_has_its_reference() -> None:
    assert STANDARDIZATIONS.keys() == KERNELS.keys()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("how", KERNELS)
def test_it_is_the_published_program(how: str, shape: tuple[int, ...]) -> None:
    weight = weights(*shape)
    close(standardize(weight, how=how), standardized(weight.numpy(), how), 1e-12)
    single = weight.float()
    answer = standardize(single, how=STANDARDIZATIONS[how])
    assert answer.dtype == torch.float32
    close(answer, standardized(single.numpy(), how), 2e-6)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("how", ["timm", "qiao2019", "bcn2019", "centred"])
def test_units_of_a_transposed_convolution_stand_on_axis_1(how: str, groups: int) -> None:
    weight = weights(6, 4, 3, 2)
    answer = standardize(weight, how=how, unit_axis=1, groups=groups)
    close(answer, standardized_transposed(weight.numpy(), how, groups), 1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", STANDARDIZATIONS)
def test_a_gain_multiplies_each_unit(how: str, layout: str) -> None:
    options = LAYOUTS[layout]
    weight = weights(4, 6, 2, 2)
    units = {"direct": 4, "transposed": 6, "groups": 12}[layout]
    gains = torch.arange(1.0, units + 1, dtype=torch.float64)
    answer = standardize(weight, how=how, gain=gains.view(-1, 1, 1, 1), **options)
    spread = gains.view(-1, 1, 1, 1)
    if layout == "transposed":
        spread = gains.view(1, -1, 1, 1)
    if layout == "groups":
        spread = gains.view(2, 6).repeat_interleave(2, 0).view(4, 6, 1, 1)
    close(answer, standardize(weight, how=how, **options) * spread, 1e-12)


def test_without_epsilon_the_gradient_is_that_of_the_notes() -> None:
    weight = weights(5, 4, 3, 3).requires_grad_()
    towards = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    answer = standardize(weight, how=EXACT)
    (found,) = torch.autograd.grad(answer, weight, towards)
    fan_in = weight[0].numel()
    rows, g, got = (tensor.detach().flatten(1) for tensor in (answer, towards, found))
    deviation = weight.detach().flatten(1).std(1, correction=0)
    along, scaled = (rows * g).sum(1), (g - rows * (rows * g).sum(1, keepdim=True) / fan_in) / deviation[:, None]
    close(got, scaled - scaled.mean(1, keepdim=True), 1e-10)
    close(scaled.square().sum(1), (g.square().sum(1) - along**2 / fan_in) / deviation**2, 1e-10)
    close(got.square().sum(1), scaled.square().sum(1) - scaled.sum(1) ** 2 / fan_in, 1e-10)
    # at the smallest epsilon that the one kernel takes, that kernel gives the same
    (fused,) = torch.autograd.grad(standardize(weight, how=Standardization(eps=1e-300)), weight, towards)
    close(fused / found, torch.ones_like(found), 1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is deprecated:DeprecationWarning")  # torch's own, under jvp
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gain", [False, True], ids=["plain", "gain"])
@pytest.mark.parametrize("how", ["timm", "bcn2019", "qiao2019", "scaled"])
def test_it_is_differentiated_twice_in_either_direction(how: str, gain: bool, layout: str) -> None:
    options = LAYOUTS[layout]
    shape = (2, 3, 2, 2)
    units = {"direct": 2, "transposed": 3, "groups": 6}[layout]
    weight = (100 * weights(*shape)).requires_grad_()
    gains = torch.linspace(0.5, 2, units, dtype=torch.float64).requires_grad_()

    def function(weight: torch.Tensor, *gain: torch.Tensor) -> torch.Tensor:
        return standardize(weight, how=how, gain=gain[0] if gain else None, **options)

    inputs = (weight, gains) if gain else (weight,)
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, inputs, check_fwd_over_rev=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("how", ["timm", "qiao2019"])
def test_hessians_times_many_vectors_at_once(how: str) -> None:
    weight, vectors = 100 * weights(3, 2, 3, 3), weights(4, 3, 2, 3, 3, seed=1)

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return standardize(weight, how=how).pow(3).sum()

    found = vmap(lambda vector: jvp(grad(loss), (weight,), (vector,))[1])(vectors)
    for vector, one in zip(vectors, found, strict=True):
        close(one, torch.autograd.functional.hvp(loss, weight, vector)[1], 1e-10)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("how", STANDARDIZATIONS)
def test_many_networks_at_once(how: str) -> None:
    many = weights(5, 3, 2, 3, 3)
    found = vmap(lambda weight: standardize(weight, how=how))(many)
    close(found, torch.stack([standardize(weight, how=how) for weight in many]), 1e-12)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    factor=st.floats(1e-3, 1e3),
    offset=st.floats(-10, 10),
    order=st.permutations(range(4)),
)
def test_neither_the_scale_nor_the_mean_nor_the_order_of_units_matters(
    seed: int, factor: float, offset: float, order: list[int]
) -> None:
    weight = 100 * weights(4, 3, 2, 2, seed=seed)
    answer = standardize(weight, how=EXACT)
    close(standardize(factor * weight + offset, how=EXACT), answer, 1e-8)
    close(standardize(weight[order], how=EXACT), answer[order], 0)
    close(answer.flatten(1).mean(1), torch.zeros(4), 1e-12)
    close(answer.flatten(1).square().mean(1), torch.ones(4), 1e-12)
    close(standardize(answer, how=EXACT), answer, 1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e4])
@pytest.mark.parametrize("how", [*STANDARDIZATIONS, EXACT, Standardization(eps=0.0, eps_inside=False)], ids=str)
def test_equal_weights_become_zero_and_their_gradients_are_finite(how: str | Standardization, value: float) -> None:
    weight = torch.full((2, 3, 3, 3), value)
    weight[1] = 100 * weights(3, 3, 3, dtype=torch.float32)
    weight.requires_grad_()
    answer = standardize(weight, how=how)
    rule = how if isinstance(how, Standardization) else STANDARDIZATIONS[how]
    expected = 0.0 if rule.centre else value / rule.eps**0.5
    close(answer[0], torch.full_like(answer[0], expected), 1e-6)
    (slope,) = torch.autograd.grad(answer.pow(2).sum() + answer[0, 0].sum(), weight, create_graph=True)
    assert slope.isfinite().all()
    if rule.eps == 0:
        assert not slope[0].any(), "where there is no derivative it is zero"
    (curve,) = torch.autograd.grad(slope.sum(), weight)
    assert curve.isfinite().all()


@pytest.mark.parametrize("how", ["timm", "google", "qiao2019", "bcn2019"])
def test_the_gradient_at_equal_weights_is_the_limit_of_those_beside_them(how: str) -> None:
    towards = weights(1, 9, seed=1)
    slopes = []
    for step in (0.0, 1e-12):
        weight = (torch.full((1, 9), 0.5, dtype=torch.float64) + step * weights(1, 9, seed=2)).requires_grad_()
        slopes.append(torch.autograd.grad(standardize(weight, how=how), weight, towards)[0])
    assert slopes[0].abs().max() > 0
    close(slopes[0] / slopes[1], torch.ones(1, 9), 1e-6)


@pytest.mark.parametrize("how", STANDARDIZATIONS)
def test_a_single_weight_is_finite(how: str) -> None:
    weight = torch.tensor([[2.0], [-0.5]], requires_grad=True)
    answer = standardize(weight, how=how)
    (slope,) = torch.autograd.grad(answer.sum(), weight)
    assert slope.isfinite().all()
    if STANDARDIZATIONS[how].centre:
        assert not answer.any()
        assert not slope.any()


@pytest.mark.parametrize("how", STANDARDIZATIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_statistics_of_half_weights_are_of_single_precision(dtype: torch.dtype, how: str) -> None:
    weight = (30_000 * weights(3, 64, 3, 3)).to(dtype)  # the sum of squares is far above 65504
    gain = torch.tensor([1.0, 2.0, 3.0], dtype=dtype)
    answer = standardize(weight.requires_grad_(), how=how, gain=gain)
    assert answer.dtype == dtype
    expected = standardized(weight.detach().float().numpy(), how) * gain.float().numpy()[:, None, None, None]
    close(answer / np.abs(expected).max(), expected / np.abs(expected).max(), torch.finfo(dtype).eps)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(standardize(weight, how=how, gain=gain), answer, rtol=0, atol=0)
    answer.float().square().sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("how", STANDARDIZATIONS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(bad: float, how: str) -> None:
    weight = weights(3, 2, 3, 3)
    weight[1, 0, 2, 1] = bad
    with pytest.raises(ValueError, match="unit 1 of the weights has NaN or infinity: it cannot be standardised"):
        standardize(weight, how=how)


@pytest.mark.parametrize("how", STANDARDIZATIONS)
def test_weights_without_a_variance_in_their_precision_are_refused(how: str) -> None:
    weight = weights(3, 2, 3, 3, dtype=torch.float32)
    weight[2] = 3e38 * (weight[2] / weight[2].abs().max()).abs()
    with pytest.raises(ValueError, match=r"unit 2 of the weights has values too large for a (mean|variance)"):
        standardize(weight, how=how)
    assert standardize(weight.double(), how=how).isfinite().all()


@pytest.mark.parametrize("how", ["timm", "bit", "bcn2019"])
@pytest.mark.parametrize(
    ("shape", "form"), [((4, 3, 3, 3), torch.channels_last), ((4, 3, 2, 3, 3), torch.channels_last_3d)], ids=str
)
def test_the_memory_format_stays(shape: tuple[int, ...], form: torch.memory_format, how: str) -> None:
    weight = weights(*shape)
    laid = weight.clone(memory_format=form)
    answer = standardize(laid, how=how)
    assert answer.stride() == laid.stride()
    close(answer, standardize(weight, how=how), 1e-12)


def test_weights_that_lie_apart_in_memory() -> None:
    whole = weights(6, 4, 3, 3)
    close(standardize(whole[::2, 1:3]), standardize(whole[::2, 1:3].contiguous()), 1e-12)
    close(standardize(whole[:, :1].expand(6, 4, 3, 3)), standardize(whole[:, :1].repeat(1, 4, 1, 1)), 1e-12)


def test_weights_without_values() -> None:
    answer = standardize(torch.empty(4, 3, 3, 3, device="meta"))
    assert answer.shape == (4, 3, 3, 3)
    assert answer.device.type == "meta"


def test_the_weights_given_stay_as_they_are() -> None:
    weight = weights(3, 2, 3, 3)
    before = weight.clone()
    standardize(weight)
    assert torch.equal(weight, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: standardize(torch.ones(3, 3, dtype=torch.int64)), "floating numbers, not torch.int64"),
        (lambda: standardize(torch.ones(3, 3, dtype=torch.complex64)), "floating numbers, not torch.complex64"),
        (lambda: standardize(torch.ones(3)), r"shape \(3,\) have no units along axis 0"),
        (lambda: standardize(torch.ones(3, 0, 3)), "no units along axis 0"),
        (lambda: standardize(torch.ones(3, 3), unit_axis=2), "no units along axis 2"),
        (lambda: standardize(torch.ones(4, 3, 3), unit_axis=1, groups=3), "3 groups do not divide the 4 inputs"),
        (lambda: standardize(torch.ones(3, 3), gain=torch.ones(2)), "2 numbers, not one for each of the 3 units"),
        (lambda: standardize(torch.ones(3, 3), how="ws"), "called 'ws'; there are timm, bit, qiao2019"),
        (lambda: Standardization(eps=-1e-6), "eps must be 0 or above"),
        (lambda: Standardization(eps=float("nan")), "eps must be 0 or above"),
        (lambda: Standardization(centre=False, scale=False), "centres, scales, or does both"),
    ],
)
def test_what_has_no_meaning_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.reference
def test_trained_kernels(reference: Path) -> None:
    saved = torch.load(reference / "cifar_resnets" / "resnet20-12fca82f.th", weights_only=True, map_location="cpu")
    kernels = [weight for weight in saved["state_dict"].values() if weight.ndim == 4]
    assert len(kernels) > 18
    for weight in kernels[:3]:
        for how in KERNELS:
            close(standardize(weight, how=how), standardized(weight.numpy(), how), 2e-6)
    means = [float(weight.mean((1, 2, 3)).abs().mean() / weight.std((1, 2, 3)).mean()) for weight in kernels]
    assert np.median(means) > 0.02, "trained kernels are not centred: there is something to take away"
