from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.models import open_model
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.convert import convert
from weightatlas.nn.ws_conv import WSConv2d

OWN = "weightatlas:resnet20-cifar"


def kinds(model: nn.Module) -> set[type[nn.Module]]:
    return {type(module) for module in model.modules()} & {nn.Conv2d, WSConv2d, nn.BatchNorm2d, nn.GroupNorm}


@pytest.mark.parametrize(
    "name",
    [
        f"{OWN}?convert=ws+gn",
        f"{OWN}?convert=ws%2Bgn&classes=4",
        f"{OWN}?classes=4&convert=ws+gn&width=0.5",
        "torchvision:resnet18?pretrained=false&convert=ws+gn&num_classes=4",
        "timm:resnet18?convert=ws+gn&pretrained=false",
    ],
)
def test_a_name_with_a_recipe_opens_the_converted_network(name: str) -> None:
    model = open_model(name)
    assert kinds(model) == {WSConv2d, nn.GroupNorm}
    assert not model.training


def test_it_has_the_weights_of_the_network_without_the_recipe() -> None:
    plain = convert(open_model(OWN, seed=3), "ws+bcn").model
    named = open_model(f"{OWN}?convert=ws+bcn", seed=3)
    values = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(named(values), plain.eval()(values))


def test_a_checkpoint_of_the_converted_network_is_loaded_into_it() -> None:
    trained = open_model(f"{OWN}?convert=ws+micro-bcn", seed=1)
    with torch.no_grad():
        for norm in trained.modules():
            if isinstance(norm, BatchChannelNorm2d):
                norm.running_mean.fill_(0.5)
    loaded = open_model(f"{OWN}?convert=ws+micro-bcn", checkpoint=trained.state_dict(), seed=2)
    values = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(values), trained(values))
    with pytest.raises(SourceError, match="channel_weight"):
        open_model(f"{OWN}?convert=ws+bcn", checkpoint=open_model(OWN).state_dict())


def test_a_checkpoint_downloads_nothing_where_a_recipe_is_the_only_option() -> None:
    weights = open_model("torchvision:resnet18?pretrained=false&convert=ws").state_dict()
    model = open_model("torchvision:resnet18?convert=ws", checkpoint=weights)
    assert kinds(model) == {WSConv2d, nn.BatchNorm2d}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (f"{OWN}?convert=ws+xn", "no recipe 'ws[+]xn'"),
        (f"{OWN}?convert=", "no recipe ''"),
        ("weightatlas:language-model?convert=ws+gn", "nothing in it becomes ws[+]gn"),
    ],
)
def test_what_is_no_recipe_or_has_nothing_to_convert_is_said(name: str, word: str) -> None:
    with pytest.raises(SourceError, match=word):
        open_model(name)
