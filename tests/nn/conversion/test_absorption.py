from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from tests.nn.conversion.networks import Residual, parts, with_estimates
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.conversion.absorption import absorb, cannot_absorb, never_absorbed
from weightatlas.nn.conversion.activated import with_activation
from weightatlas.nn.conversion.norm_kinds import Norm, read_norm
from weightatlas.nn.conversion.pairs import Wiring, read_wiring
from weightatlas.nn.ws_conv import WSConv2d


def known(norm: nn.Module) -> Norm:
    found = read_norm(norm)
    assert found is not None
    return found


def absorbed(convolution: Any, norm: nn.Module) -> nn.Module:  # noqa: ANN401 - any convolution
    return absorb(convolution, norm, known(norm))


def test_one_channel_by_hand() -> None:
    convolution, norm = nn.Conv2d(1, 1, 1).double(), nn.BatchNorm2d(1, eps=1.0).double().eval()
    for tensor, value in (
        (convolution.weight, 2.0),
        (convolution.bias, 5.0),
        (norm.running_mean, 1.0),
        (norm.running_var, 3.0),
        (norm.weight, 6.0),
        (norm.bias, -4.0),
    ):
        assert tensor is not None
        nn.init.constant_(tensor, value)
    assert type(absorbed(convolution, norm)) is nn.Identity
    assert convolution.weight.item() == 6.0  # 6 / sqrt(3 + 1) = 3 times 2
    assert convolution.bias is not None
    assert convolution.bias.item() == 8.0  # 3 * (5 - 1) - 4


KINDS: list[tuple[type[nn.Module], type[nn.Module], tuple[int, ...]]] = [
    (nn.Conv1d, nn.BatchNorm1d, (2, 4, 7)),
    (nn.Conv2d, nn.BatchNorm2d, (2, 4, 5, 5)),
    (nn.Conv3d, nn.BatchNorm3d, (2, 4, 3, 3, 3)),
    (nn.ConvTranspose1d, nn.BatchNorm1d, (2, 4, 7)),
    (nn.ConvTranspose2d, nn.BatchNorm2d, (2, 4, 5, 5)),
    (nn.ConvTranspose3d, nn.BatchNorm3d, (2, 4, 3, 3, 3)),
]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("convolution", "norm", "shape"), KINDS)
def test_what_the_two_computed_the_one_computes(
    convolution: Any,  # noqa: ANN401 - classes
    norm: Any,  # noqa: ANN401
    shape: tuple[int, ...],
    affine: bool,
    groups: int,
) -> None:
    torch.manual_seed(0)
    before = convolution(4, 8, 2, groups=groups, bias=groups != 2).double()
    after = with_estimates(norm(8, affine=affine).double()).eval()
    values = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        expected = after(before(values))
        state = {name: value.clone() for name, value in after.state_dict().items()}
        rest = absorbed(before, after)
        torch.testing.assert_close(rest(before(values)), expected, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(state[name], value) for name, value in after.state_dict().items())


def test_the_channel_part_of_batch_channel_norm_stays() -> None:
    for affine in (True, False):
        torch.manual_seed(0)
        convolution = nn.Conv2d(3, 6, 2).double()
        norm = with_estimates(BatchChannelNorm2d(6, 3, affine=affine).double()).eval()
        values = torch.randn((2, 3, 4, 4), dtype=torch.float64)
        expected = norm(convolution(values))
        rest = parts(absorbed(convolution, norm))
        assert (type(rest), rest.num_groups, rest.training) == (nn.GroupNorm, 3, False)
        torch.testing.assert_close(rest(convolution(values)), expected, rtol=1e-12, atol=1e-12)


def test_what_belonged_to_the_norm_stays_behind_in_its_order() -> None:
    before = nn.BatchNorm2d(8)
    before.act, before.drop = nn.ReLU(), nn.Dropout(0.5)
    norm = with_estimates(with_activation(nn.BatchNorm2d(8), before)).eval()
    assert [type(part) for part in parts(absorbed(nn.Conv2d(3, 8, 1), norm))] == [nn.Dropout, nn.ReLU]
    norm = with_estimates(with_activation(BatchChannelNorm2d(8, 2), before)).eval()
    rest = parts(absorbed(nn.Conv2d(3, 8, 1), norm))
    assert (type(rest).__name__, type(rest.act), type(rest.drop)) == ("ActivatedGroupNorm", nn.ReLU, nn.Dropout)


@pytest.mark.parametrize("trained", [True, False])
def test_what_is_trained_stays_so(trained: bool) -> None:
    convolution = nn.Conv2d(3, 8, 1, bias=False).half().requires_grad_(trained)
    absorbed(convolution, nn.BatchNorm2d(8).half().eval())
    assert convolution.bias is not None
    assert (convolution.bias.requires_grad, convolution.bias.dtype) == (trained, torch.float16)
    assert isinstance(convolution.bias, nn.Parameter)


def test_norms_that_are_a_fixed_scale_and_those_that_are_not() -> None:
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    for norm in (nn.BatchNorm2d(8).eval(), FrozenBatchNorm2d(8).train(), BatchChannelNorm2d(8, 2).eval()):
        assert never_absorbed(norm, known(norm)) == ""
    for norm, word in (
        (nn.GroupNorm(2, 8).eval(), "each input by itself"),
        (nn.InstanceNorm2d(8, track_running_stats=True).eval(), "each input by itself"),
        (nn.BatchNorm2d(8), "training mode"),
        (BatchChannelNorm2d(8, 2, estimated=True), "training mode"),
        (nn.BatchNorm2d(8, track_running_stats=False).eval(), "no running estimates"),
        (nn.LayerNorm(8).eval(), "channels of each position"),
        (type("Own", (nn.BatchNorm2d,), {})(8).eval(), "forward pass of its own"),
    ):
        assert word in never_absorbed(norm, known(norm)), norm


class Shifted(nn.Conv2d):
    """A class of its own, whose forward pass nobody knows."""


def test_what_cannot_take_a_norm_in_says_why() -> None:
    wiring = read_wiring(Residual())
    plain = nn.Conv2d(3, 8, 3)
    assert cannot_absorb(plain, "conv1", "bn1", wiring) == ""
    assert "other takers" in cannot_absorb(plain, "conv1", "bn2", wiring)
    for module, word in (
        (Shifted(3, 8, 3), "before it stands a Shifted"),
        (WSConv2d(3, 8, 3), "before it stands a WSConv2d"),
        (parametrizations.weight_norm(nn.Conv2d(3, 8, 3)), "before it stands a ParametrizedConv2d"),
    ):
        assert word in cannot_absorb(module, "conv1", "bn1", wiring)
    del plain._parameters["weight"]
    plain.weight = torch.zeros(8, 3, 3, 3)  # as torch's old weight_norm leaves it
    assert cannot_absorb(plain, "conv1", "bn1", wiring) == "the weights before it are made anew at each call"


def test_what_no_pass_showed_is_not_absorbed() -> None:
    stopped = Wiring({"c": ("n",)}, {"c": "order"}, {}, {"c": "n"}, {}, "ValueError: too small")
    called = Wiring({"c": ("n",)}, {"c": "order"}, {}, {"c": "n"}, {}, "")
    for wiring, why in ((stopped, "ValueError: too small"), (called, "it was not called")):
        said = cannot_absorb(nn.Conv2d(3, 8, 3), "c", "n", wiring)
        assert said == f"no pass showed what else takes its input ({why}): give example_inputs"
