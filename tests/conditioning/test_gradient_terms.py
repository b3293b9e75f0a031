from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from weightatlas.conditioning.gradient_terms import GradientTerms, gradient_terms
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization, standardize

# ruff: noqa: ANN401 - options are of several kinds

if TYPE_CHECKING:
    from collections.abc import Callable

EXACT = Standardization(eps=0.0)
WAYS = {"exact": EXACT, **STANDARDIZATIONS}
NEAR = 1e-10


def pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight, gradient = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return 0.02 * weight + 0.01, gradient + 0.3


def at_the_weights(weight: torch.Tensor, gradient: torch.Tensor, **options: Any) -> torch.Tensor:
    """What autograd makes of a gradient at the standardised weights."""
    leaf = weight.clone().requires_grad_()
    return torch.autograd.grad(standardize(leaf, **options), leaf, gradient)[0]


def lengths(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.flatten(1).norm(dim=1))


def test_the_identities_of_the_paper_hold_for_each_unit_and_the_layer() -> None:
    weight, gradient = pair(7, 5, 3, 3)
    found = gradient_terms(weight, gradient)
    rows, g = weight.flatten(1), gradient.flatten(1)
    deviation = rows.std(dim=1, correction=0)
    standardized = (rows - rows.mean(dim=1, keepdim=True)) / deviation[:, None]
    along, across = (standardized * g).sum(1) ** 2 / 45, g.sum(1) ** 2 / 45
    square = (g**2).sum(1)
    assert found.units.tolist() == list(range(7))
    assert found.elements == 45
    assert found.null == 1 / 45
    assert found.deviation == pytest.approx(deviation.numpy(), rel=NEAR)
    assert found.scaling == pytest.approx((along / square).numpy(), rel=NEAR)
    assert found.centring == pytest.approx((across / square).numpy(), rel=NEAR)
    assert found.gradient**2 == pytest.approx(square.numpy(), rel=NEAR)
    assert found.scaled**2 == pytest.approx(((square - along) / deviation**2).numpy(), rel=NEAR)
    assert found.after**2 == pytest.approx(((square - along - across) / deviation**2).numpy(), rel=NEAR)
    assert found.layer is not None
    assert found.layer.scaling == pytest.approx(float(along.sum() / square.sum()), rel=NEAR)
    assert found.layer.centring == pytest.approx(float(across.sum() / square.sum()), rel=NEAR)
    assert found.layer.both == pytest.approx(found.layer.scaling + found.layer.centring)
    assert found.layer.after == pytest.approx(np.sqrt((found.after**2).sum()), rel=NEAR)
    assert found.layer.removed == pytest.approx(1 - (found.after**2).sum() / (found.before**2).sum())


@pytest.mark.parametrize("how", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", [(4, 9), (3, 2, 5), (6, 4, 3, 3)], ids=str)
def test_the_length_at_the_weights_is_autograds_whatever_the_standardization(
    how: Standardization, shape: tuple[int, ...]
) -> None:
    weight, gradient = pair(*shape)
    expected = lengths(at_the_weights(weight, gradient, how=how))
    assert gradient_terms(weight, gradient, how=how).after == pytest.approx(expected, rel=NEAR)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("how", ["timm", "qiao2019"])
def test_units_of_transposed_convolutions_are_on_the_second_axis(groups: int, how: str) -> None:
    weight, gradient = pair(6, 4, 3, 3)
    options: dict[str, Any] = {"how": STANDARDIZATIONS[how], "unit_axis": 1, "groups": groups}
    slope = at_the_weights(weight, gradient, **options)
    by_unit = slope.reshape(groups, -1, 4, 9).transpose(1, 2).reshape(4 * groups, -1)
    assert gradient_terms(weight, gradient, **options).after == pytest.approx(lengths(by_unit), rel=NEAR)


@settings(max_examples=40, deadline=None)
@given(units=st.integers(1, 5), elements=st.integers(2, 12), seed=st.integers(0, 99))
def test_shares_add_up_to_one_at_most_and_follow_the_units(units: int, elements: int, seed: int) -> None:
    weight, gradient = pair(units, elements, seed=seed)
    found = gradient_terms(weight, gradient, tries=9)
    assert ((found.centring + found.scaling) <= 1 + NEAR).all()
    assert found.after**2 * found.deviation**2 == pytest.approx(
        found.gradient**2 * (1 - found.centring - found.scaling), rel=1e-6, abs=NEAR * found.gradient.max() ** 2
    )
    order = torch.randperm(units, generator=torch.Generator().manual_seed(seed))
    turned = gradient_terms(weight[order], gradient[order], tries=9)
    for field in fields(GradientTerms):
        if field.name not in ("units", "elements", "layer", "skipped"):
            assert getattr(turned, field.name) == pytest.approx(getattr(found, field.name)[order.numpy()])


@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e140, 1e-140])
def test_the_scale_of_weights_and_gradients_changes_no_share(scale: float) -> None:
    weight, gradient = pair(5, 18)
    once, again = gradient_terms(weight, gradient), gradient_terms(scale * weight, gradient / scale)
    for name in ("centring", "scaling", "centring_p", "both_p"):
        assert getattr(again, name) == pytest.approx(getattr(once, name))
    assert again.gradient * scale == pytest.approx(once.gradient)


def test_p_values_are_uniform_on_random_gradients_and_small_on_planted_ones() -> None:
    weight, gradient = pair(2000, 27, seed=2)
    noise = gradient - 0.3
    null = gradient_terms(weight, noise)
    assert null.layer is not None
    for p in (null.centring_p, null.scaling_p, null.both_p):
        assert stats.kstest(p, "uniform").pvalue > 1e-3
        assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert min(null.layer.centring_p, null.layer.scaling_p, null.layer.both_p) > 0.01
    planted = gradient_terms(weight, noise + 0.3)
    assert planted.layer is not None
    assert planted.layer.centring_p == 1 / 1000
    assert planted.layer.scaling_p > 0.01
    assert np.mean(planted.centring_p <= 0.05) > 0.3, "one unit alone has the power to see 0.3 deviations often"
    both = gradient_terms(weight, noise + 30 * weight)
    assert both.layer is not None
    assert both.layer.scaling_p == 1 / 1000
    assert both.layer.both_p == 1 / 1000


def test_a_gradient_along_the_weights_or_the_constant_is_taken_away_whole() -> None:
    weight, _ = pair(3, 8)
    centred = weight - weight.mean(dim=1, keepdim=True)
    along = gradient_terms(weight, centred)
    assert along.scaling == pytest.approx(np.ones(3))
    assert along.centring == pytest.approx(np.zeros(3), abs=NEAR)
    constant = gradient_terms(weight, torch.ones_like(weight))
    assert constant.centring == pytest.approx(np.ones(3))
    assert constant.layer is not None
    assert constant.layer.removed == pytest.approx(1)


def test_only_centred_weights_lose_only_the_mean_of_their_gradient() -> None:
    weight, gradient = pair(3, 8)
    found = gradient_terms(weight, gradient, how=STANDARDIZATIONS["centred"])
    assert found.deviation.tolist() == [1, 1, 1]
    assert found.scaled == pytest.approx(found.gradient)
    assert found.after**2 == pytest.approx(found.gradient**2 * (1 - found.centring))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda weight, _: weight[1].fill_(0.1), "all weights are equal"),
        (lambda weight, _: weight[1].zero_(), "all weights are equal"),
        (lambda _, gradient: gradient[1].zero_(), "no gradient"),
        (lambda weight, _: weight[1, 0].fill_(torch.nan), "not finite"),
        (lambda _, gradient: gradient[1, 0].fill_(torch.inf), "not finite"),
    ],
    ids=["constant", "zero", "no gradient", "nan", "infinite"],
)
def test_a_unit_that_cannot_be_measured_is_skipped_with_its_reason(
    spoil: Callable[[torch.Tensor, torch.Tensor], Any], reason: str
) -> None:
    weight, gradient = pair(3, 8)
    rest = gradient_terms(weight[[0, 2]], gradient[[0, 2]])
    spoil(weight, gradient)
    found = gradient_terms(weight, gradient)
    assert found.units.tolist() == [0, 2]
    assert list(found.skipped) == [1]
    assert reason in found.skipped[1]
    assert found.layer == rest.layer
    assert found.centring == pytest.approx(rest.centring)


def test_units_of_one_weight_are_skipped_and_there_is_no_layer() -> None:
    found = gradient_terms(torch.ones(3, 1, 1, 1), torch.ones(3, 1, 1, 1))
    assert found.layer is None
    assert sorted(found.skipped) == [0, 1, 2]
    assert not len(found.units)
    assert not len(found.after)


def test_units_of_two_weights_lose_all_of_their_gradient() -> None:
    found = gradient_terms(*pair(4, 2))
    assert found.centring + found.scaling == pytest.approx(np.ones(4))
    assert found.after == pytest.approx(np.zeros(4), abs=1e-9)
    assert found.both_p.tolist() == [1, 1, 1, 1]


def test_the_same_seed_gives_the_same_layer_and_lists_are_weights_too() -> None:
    weight, gradient = pair(4, 9)
    first, second = (gradient_terms(weight.tolist(), gradient.numpy(), seed=5) for _ in range(2))
    assert first.layer == second.layer
    assert gradient_terms(weight.to(torch.bfloat16), gradient.float()).layer is not None


@pytest.mark.parametrize("shapes", [((3, 8), (8, 3)), ((8,), (8,)), ((0, 8), (0, 8)), ((3, 0), (3, 0))])
def test_other_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="the weight"):
        gradient_terms(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
