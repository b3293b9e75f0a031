from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.nn.conversion.networks import parts, with_estimates
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.conversion.activated import ACTIVATED, has_activation, with_activation
from weightatlas.nn.synchronised import SynchronisedBatchNorm2d

VALUES = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))


def made(kind: type[nn.Module]) -> Any:  # noqa: ANN401 - a norm of any class
    """A norm of eight channels whose affine part is not that of a new one."""
    options: dict[str, Any] = {"affine": True} if kind is nn.InstanceNorm2d else {}
    arguments = {nn.GroupNorm: (4, 8), BatchChannelNorm2d: (8, 4)}.get(kind, (8,))
    return with_estimates(kind(*arguments, **options))


def timm_norm(**options: Any) -> Any:  # noqa: ANN401
    """The norm of timm that an activation follows."""
    import_torchvision()
    import timm.layers

    layers: Any = timm.layers
    return layers.BatchNormAct2d(8, **options)


@pytest.mark.parametrize("kind", ACTIVATED)
@pytest.mark.parametrize("training", [True, False])
def test_the_norm_comes_first_and_the_activation_last(kind: type[nn.Module], training: bool) -> None:
    plain, activated = made(kind).train(training), made(kind).train(training)
    held = dict(activated.named_parameters())
    answer = with_activation(activated, timm_norm(act_layer=nn.Hardswish))
    assert answer is activated
    assert type(answer) is ACTIVATED[kind]
    assert all(parameter is held[name] for name, parameter in answer.named_parameters())
    torch.testing.assert_close(answer(VALUES), nn.functional.hardswish(plain(VALUES)))


def test_a_dropout_stands_between_the_two() -> None:
    before = timm_norm(drop_layer=lambda: nn.Threshold(0.5, -7.0), act_layer=nn.ReLU)
    answer = with_activation(made(nn.GroupNorm), before)(VALUES)
    normed = made(nn.GroupNorm)(VALUES)
    torch.testing.assert_close(answer, torch.where(normed > 0.5, normed, -7.0).relu())
    assert (answer == 0).any()


def test_state_dicts_keep_the_names_of_timm() -> None:
    before = timm_norm(act_layer=nn.PReLU)
    for kind in (nn.BatchNorm2d, SynchronisedBatchNorm2d):
        after = with_activation(kind(8), before)
        assert list(after.state_dict()) == list(before.state_dict())
        after.load_state_dict(before.state_dict())


def test_where_only_one_of_the_two_was_the_other_does_nothing() -> None:
    before = nn.BatchNorm2d(8)
    before.drop = nn.Dropout(0.5)
    norm = parts(with_activation(made(nn.GroupNorm), before)).eval()
    assert type(norm.act) is nn.Identity
    assert torch.equal(norm(VALUES), made(nn.GroupNorm)(VALUES))


def test_without_either_the_norm_stays_what_it_was() -> None:
    norm = BatchChannelNorm2d(8, 2)
    assert type(with_activation(norm, nn.BatchNorm2d(8))) is BatchChannelNorm2d
    assert not has_activation(norm)
    assert has_activation(timm_norm())


def test_a_class_without_a_counterpart_is_refused_unchanged() -> None:
    before = timm_norm()
    for module in (nn.Linear(3, 4), nn.BatchNorm1d(8), nn.BatchNorm3d(8)):
        kind = type(module)
        with pytest.raises(ValueError, match=f"a {kind.__name__} with an activation is unknown"):
            with_activation(module, before)
        assert type(module) is kind
        assert not has_activation(module)
