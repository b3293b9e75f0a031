from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation.origins import (
    Call,
    Origin,
    affine_of,
    affine_of_module,
    channel_axis,
    followed,
    tensors_of,
)

MAPS = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))
MADE = Origin("conv", channels=6, axis=1, norm="batch")


@pytest.mark.parametrize(
    ("name", "arguments", "named", "output", "axis"),
    [
        ("dropout", (MAPS,), {}, MAPS, 1),
        ("permute", (MAPS, 0, 2, 3, 1), {}, MAPS.permute(0, 2, 3, 1), 3),
        ("permute", (MAPS, (0, -2, 1, -1)), {}, MAPS.permute(0, -2, 1, -1), 2),
        ("permute", (MAPS,), {"dims": (0, 2, 3, 1)}, MAPS.permute(0, 2, 3, 1), 3),
        ("transpose", (MAPS, 1, -1), {}, MAPS.transpose(1, -1), 3),
        ("transpose", (MAPS, 2), {"dim1": 3}, MAPS.transpose(2, 3), 1),
        ("flatten", (MAPS, 2), {}, MAPS.flatten(2), 1),
        ("view", (MAPS, 12, 4, 5), {}, MAPS.view(12, 4, 5), None),
        ("chunk", (MAPS, 2, 1), {}, MAPS.chunk(2, 1)[0], 1),
        ("squeeze", (MAPS[..., :1, :1],), {}, MAPS[..., 0, 0], 1),
    ],
)
def test_the_channel_axis_is_followed(
    name: str, arguments: tuple[object, ...], named: dict[str, object], output: torch.Tensor, axis: int | None
) -> None:
    found = followed(Call(None, name, arguments, named), MADE, output)
    assert (found.layer, found.axis) == ("conv", axis)
    is_whole = axis is not None and output.shape[axis] == 6
    assert found.norm == ("batch" if is_whole else None), "half of a norm's channels have no whole affine map"


@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 1), ((2, 3, 4), 2), ((2, 3, 4, 5), 1), ((2, 3, 4, 5, 6), 1)])
def test_where_no_layer_tells_the_shape_decides(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis(torch.zeros(shape), Origin("(sum)")) == axis


def test_tensors_in_lists_are_found() -> None:
    assert list(tensors_of((MAPS, 1, [MAPS[0], "no"]), {"other": MAPS[1]}))[1].shape == (6, 4, 5)


def test_the_affine_map_is_found_at_every_place_where_torch_has_it() -> None:
    weight, bias = torch.arange(6.0), torch.ones(6)
    mean, variance = torch.zeros(6), torch.ones(6)
    calls = [
        Call(functional.batch_norm, "batch_norm", (MAPS, mean, variance, weight, bias, True), {}),
        Call(functional.batch_norm, "batch_norm", (MAPS, mean, variance), {"weight": weight, "bias": bias}),
        Call(
            torch.ops.aten.batch_norm.default,
            "batch_norm",
            (MAPS, weight, bias, mean, variance, True, 0.1, 1e-5, False),
            {},
        ),
        Call(functional.group_norm, "group_norm", (MAPS, 3, weight, bias), {}),
        Call(functional.layer_norm, "layer_norm", (MAPS.movedim(1, -1), (6,), weight, bias), {}),
        Call(functional.rms_norm, "rms_norm", (MAPS.movedim(1, -1), (6,), weight), {}),
    ]
    for call in calls:
        found = affine_of(call)
        assert found is not None
        assert found.weight is weight
        assert found.bias is (None if call.name == "rms_norm" else bias)
        assert found.zeros is not None
        assert found.bare is not None
        assert (found.zeros.tolist(), found.bare.shape[found.axis]) == ([0], 1)
        assert found.bare.std() > 0
    assert mean.tolist() == [0.0] * 6, "running statistics are not moved"


def test_a_map_that_is_not_one_number_a_channel_is_not_known() -> None:
    call = Call(functional.layer_norm, "layer_norm", (MAPS, (4, 5), torch.ones(4, 5), torch.zeros(4, 5)), {})
    assert affine_of(call) is None
    assert affine_of_module(nn.LayerNorm((4, 5)), (MAPS,), -1, 5) is None


def test_a_norm_without_a_map_has_ones_and_zeros() -> None:
    found = affine_of_module(nn.BatchNorm2d(6, affine=False), (MAPS,), 1, 6)
    assert found is not None
    assert (found.weight, found.bias, found.bare) == (None, None, None)
