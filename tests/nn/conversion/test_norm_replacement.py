from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.nn.conversion.networks import parts, with_estimates
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.conversion.norm_kinds import read_norm
from weightatlas.nn.conversion.norm_replacement import (
    NewNorm,
    NormOptions,
    Place,
    forget_estimates,
    is_already,
    new_norm,
    starts_at_zero,
)
from weightatlas.nn.conversion.recipes import NORMS
from weightatlas.nn.synchronised import SynchronisedBatchNorm2d

PLACE = Place(axes=4, dimensions=2, fresh=False, trainable=True, device=torch.device("cpu"), dtype=torch.float32)
ESTIMATES = ("running_mean", "running_var", "num_batches_tracked")


def replaced(module: nn.Module, target: str, place: Place = PLACE, **options: int) -> NewNorm | str:
    known = read_norm(module)
    assert known is not None
    return new_norm(module, known, target, place, NormOptions(**options))


def put(module: nn.Module, target: str, place: Place = PLACE, **options: int) -> Any:  # noqa: ANN401 - any norm
    made = replaced(module, target, place, **options)
    assert isinstance(made, NewNorm)
    return made.module


def learned(**options: Any) -> Any:  # noqa: ANN401 - options of the norm
    """A batch norm of twelve channels as training leaves it."""
    norm: Any = with_estimates(nn.BatchNorm2d(12, **options))
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.fill_(7)
    return norm


@pytest.mark.parametrize("middle", ["syncbn", "bcn", "micro-bcn"])
def test_a_batch_norm_comes_back_from_what_holds_the_same(middle: str) -> None:
    norm = learned(eps=0.01, momentum=0.3)
    back = put(put(norm, middle), "bn")
    assert type(back) is nn.BatchNorm2d
    assert (back.eps, back.momentum, back.training) == (0.01, 0.3, True)
    for name, value in norm.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


@pytest.mark.parametrize("target", NORMS)
def test_the_new_norm_computes_what_its_name_says(target: str) -> None:
    """In evaluation, against torch's functions on what was to be carried over."""
    norm = learned().eval()
    values = torch.randn(3, 12, 4, 4, generator=torch.Generator().manual_seed(0))
    functional = nn.functional
    by_batch = norm(values)
    expected = {
        "bn": by_batch,
        "syncbn": by_batch,
        "gn": functional.group_norm(values, 3),
        "bcn": functional.group_norm(by_batch, 3),
        "micro-bcn": functional.group_norm(by_batch, 3),
        "in": functional.instance_norm(values),
    }[target]
    torch.testing.assert_close(put(norm, target, groups=3)(values), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", NORMS)
def test_estimates_of_other_weights_are_not_carried(target: str) -> None:
    norm = learned()
    fresh = put(norm, target, replace(PLACE, fresh=True))
    if hasattr(fresh, "running_mean") and fresh.running_mean is not None:
        assert not fresh.running_mean.any()
        assert (fresh.running_var == 1).all()
    if target in ("bn", "syncbn", "bcn", "micro-bcn"):
        assert torch.equal(fresh.weight, norm.weight)


def test_a_warm_up_begins_anew_and_a_rate_is_taken_over() -> None:
    norm = put(learned(), "micro-bcn")
    assert all(torch.equal(getattr(norm, name), getattr(learned(), name)) for name in ESTIMATES)
    warm = put(learned(), "micro-bcn", warmup=3)
    assert (int(warm.num_batches_tracked), warm.warmup, bool(warm.running_mean.any())) == (0, 3, False)
    assert not put(learned(), "bcn", warmup=3).estimated
    assert torch.equal(put(learned(), "bcn", warmup=3).running_mean, learned().running_mean)


@pytest.mark.parametrize("target", [name for name in NORMS if name not in ("bn", "syncbn")])
def test_a_branch_that_begins_at_zero_still_does(target: str) -> None:
    norm = learned()
    nn.init.zeros_(norm.weight)
    assert not starts_at_zero(norm)  # its bias is not zero
    nn.init.zeros_(norm.bias)
    assert starts_at_zero(norm)
    made = replaced(norm, target)
    assert isinstance(made, NewNorm)
    assert starts_at_zero(made.module)
    assert "weight of zero" in made.carried
    values = torch.randn(2, 12, 3, 3, generator=torch.Generator().manual_seed(0))
    assert not made.module(values).any()
    parts(made.module)(values).sum().backward()
    last = "channel_weight" if "bcn" in target else "weight"
    assert getattr(made.module, last).grad is not None


def test_an_unbuilt_or_unscaled_norm_begins_nowhere() -> None:
    assert not starts_at_zero(nn.BatchNorm2d(4, affine=False))
    assert not starts_at_zero(nn.BatchNorm2d(4, device="meta"))
    assert not starts_at_zero(BatchChannelNorm2d(4, 2))


@pytest.mark.parametrize(
    ("axes", "dimensions", "expected"), [(2, None, 1), (3, 1, 1), (5, 2, 3), (None, 2, 2), (4, None, 2)]
)
def test_axes_of_positions_come_from_the_input_then_from_the_convolution(
    axes: int | None, dimensions: int | None, expected: int
) -> None:
    made = put(nn.GroupNorm(2, 8), "bn", replace(PLACE, axes=axes, dimensions=dimensions))
    assert type(made).__name__ == f"BatchNorm{expected}d"


def test_without_either_only_group_norm_is_known() -> None:
    place = replace(PLACE, axes=None, dimensions=None)
    assert type(put(nn.SyncBatchNorm(8), "gn", place)) is nn.GroupNorm
    for target in NORMS:
        if target != "gn":
            made = replaced(nn.SyncBatchNorm(8), target, place)
            assert made == "no pass reached it: how many axes its input has is unknown"


def test_an_activation_goes_along_where_positions_have_two_axes() -> None:
    for norm, place, fits in (
        (nn.BatchNorm2d(8), PLACE, True),
        (nn.BatchNorm3d(8), replace(PLACE, axes=5, dimensions=3), False),
    ):
        norm.act = nn.ReLU()
        made = replaced(norm, "bcn", place)
        assert isinstance(made, NewNorm) is fits
        if isinstance(made, NewNorm):
            assert made.module.act is norm.act
        else:
            assert made == "its activation belongs to it, and its inputs have 3 axes of positions"


def test_device_type_and_what_is_trained_are_those_of_the_place_and_of_the_old_norm() -> None:
    norm = nn.BatchNorm2d(8).eval()
    norm.bias.requires_grad_(False)
    place = replace(PLACE, device=torch.device("meta"), dtype=torch.float16, trainable=False)
    made = put(norm, "bcn", place)
    assert {(one.device.type, one.dtype) for one in made.parameters()} == {("meta", torch.float16)}
    trained = {name: one.requires_grad for name, one in made.named_parameters()}
    assert trained == {"weight": True, "bias": False, "channel_weight": True, "channel_bias": False}
    assert not made.training
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    for trainable in (True, False):
        thawed = put(FrozenBatchNorm2d(8), "gn", replace(PLACE, trainable=trainable))
        assert {one.requires_grad for one in thawed.parameters()} == {trainable}


def test_groups_divide_and_are_told() -> None:
    for channels, most, expected in ((12, 32, 6), (12, 5, 4), (7, 32, 1), (64, 32, 32)):
        for target in ("gn", "bcn"):
            made = replaced(nn.BatchNorm2d(channels), target, groups=most)
            assert isinstance(made, NewNorm)
            assert made.groups == expected
    made = replaced(nn.GroupNorm(2, 8), "bn")
    assert isinstance(made, NewNorm)
    assert made.groups is None


def test_the_two_forms_of_batch_channel_norm_share_what_fits() -> None:
    norm: Any = with_estimates(BatchChannelNorm2d(12, 3))
    same, other = put(norm, "micro-bcn", groups=3), put(norm, "micro-bcn", groups=4)
    assert torch.equal(same.channel_weight, norm.channel_weight)
    assert (other.groups, bool((other.channel_weight == 1).all())) == (4, True)
    assert torch.equal(other.weight, norm.weight)


@pytest.mark.parametrize(
    ("module", "target", "expected"),
    [
        (nn.BatchNorm1d(8), "bn", True),
        (nn.BatchNorm1d(8), "syncbn", False),
        (SynchronisedBatchNorm2d(8), "syncbn", True),
        (nn.SyncBatchNorm(8), "bn", False),
        (BatchChannelNorm2d(8, 2), "bcn", True),
        (BatchChannelNorm2d(8, 2), "micro-bcn", False),
        (BatchChannelNorm2d(8, 2, estimated=True), "micro-bcn", True),
        (BatchChannelNorm2d(8, 2, estimated=True), "bcn", False),
        (nn.GroupNorm(2, 8), "gn", True),
        (nn.InstanceNorm3d(8), "in", True),
        (nn.InstanceNorm3d(8), "gn", False),
    ],
)
def test_what_a_recipe_asks_for_is_known(module: nn.Module, target: str, expected: bool) -> None:
    known = read_norm(module)
    assert known is not None
    assert is_already(module, known, target) is expected


def test_estimates_are_forgotten_once() -> None:
    norm = learned()
    assert forget_estimates(norm)
    new = nn.BatchNorm2d(12)
    assert all(torch.equal(getattr(norm, name), getattr(new, name)) for name in ESTIMATES)
    assert torch.equal(norm.weight, learned().weight)
    assert not forget_estimates(norm)
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    frozen = with_estimates(FrozenBatchNorm2d(8))
    before = parts(frozen).running_mean.clone()
    assert not forget_estimates(frozen)
    assert torch.equal(parts(frozen).running_mean, before)
    for other in (nn.GroupNorm(2, 8), nn.BatchNorm2d(8, track_running_stats=False), nn.BatchNorm2d(8, device="meta")):
        assert not forget_estimates(other)
