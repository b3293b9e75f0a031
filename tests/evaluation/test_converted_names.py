from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.converted_names import PREFIX, NamedConversion, conversion_apart
from weightatlas.evaluation.models import open_model
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.convert import convert
from weightatlas.nn.ws_conv import WSConv2d

OWN = "weightatlas:resnet20-cifar?width=0.25"


@pytest.mark.parametrize(
    ("name", "plain", "conversion"),
    [
        ("timm:resnet50", "timm:resnet50", None),
        ("timm:resnet50?", "timm:resnet50", None),
        ("timm:a?b=1&c=x%26y", "timm:a?b=1&c=x%26y", None),
        ("timm:a?convert=ws+gn", "timm:a", NamedConversion("ws+gn")),
        ("timm:a?b=1&convert=ws%2Bgn&c=2", "timm:a?b=1&c=2", NamedConversion("ws+gn")),
        (
            "timm:a?convert.rate=.02&convert=micro-bcn&convert.warmup=8&rate=3",
            "timm:a?rate=3",
            NamedConversion("micro-bcn", {"rate": 0.02, "warmup": 8}),
        ),
        (
            "timm:a?convert=ws&convert.depthwise=true&convert.how=qiao2019&convert.standardized=all",
            "timm:a",
            NamedConversion("ws", {"depthwise": True, "how": "qiao2019", "standardized": "all"}),
        ),
        ("timm:a?convert=gn&convert=bcn&convert.rate=1", "timm:a", NamedConversion("bcn", {"rate": 1})),
    ],
)
def test_the_conversion_is_taken_out_and_the_models_own_options_stay(
    name: str, plain: str, conversion: NamedConversion | None
) -> None:
    assert conversion_apart(name) == (plain, conversion)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("convert=ws+gn&convert.group=4", "did you mean convert.groups[?]"),
        ("convert=ws+gn&convert.zzz=4", "there is convert.groups, convert.depthwise"),
        ("convert.groups=4", "convert.groups without a recipe"),
        ("convert=ws+gn&convert.groups=many", "convert.groups=many is not a whole number"),
        ("convert=ws+gn&convert.groups=4.5", "convert.groups=4.5 is not a whole number"),
        ("convert=ws+gn&convert.groups=true", "convert.groups=True is not a whole number"),
        ("convert=ws+gn&convert.groups", "convert.groups= is not a whole number"),
        ("convert=ws+gn&convert.depthwise=1", "convert.depthwise=1 is not true or false"),
        ("convert=micro-bcn&convert.rate=fast", "convert.rate=fast is not a number"),
        ("convert=micro-bcn&convert.rate=nan", "rate must be from 0 to 1"),
        ("convert=ws+gn&convert.groups=0", "groups must be 1 or more"),
        ("convert=ws+gn&convert.how=nobody", "no standardization is called 'nobody'"),
        ("convert=ws+gn&convert.standardized=some", "'followed' and 'all'"),
        ("convert=ws+xn", "no recipe 'ws[+]xn'"),
    ],
)
def test_what_means_nothing_is_said_before_a_network_is_built(query: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        open_model(f"timm:there-is-no-such-network?{query}")


def test_every_option_of_convert_that_text_can_give_has_a_name() -> None:
    named = "convert=ws+gn&" + "&".join(
        f"{PREFIX}{name}={value.default}"
        for name, value in inspect.signature(convert).parameters.items()
        if name not in ("model", "recipe", "example_inputs", "in_place")
    )
    _, conversion = conversion_apart(f"timm:a?{named}")
    assert conversion is not None
    assert list(conversion.options) == ["groups", "depthwise", "standardized", "how", "rate", "warmup"]


def test_the_options_reach_the_network() -> None:
    model = open_model(
        f"{OWN}&convert=ws+micro-bcn&convert.rate=0.25&convert.warmup=7&convert.groups=2&convert.how=qiao2019"
    )
    norms = [module for module in model.modules() if isinstance(module, BatchChannelNorm2d)]
    convolutions = [module for module in model.modules() if isinstance(module, WSConv2d)]
    assert {(norm.rate.item(), norm.warmup, norm.groups) for norm in norms} == {(0.25, 7, 2)}
    assert {one.how.unbiased for one in convolutions} == {True}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_a_named_conversion_is_the_conversion() -> None:
    named = open_model(f"{OWN}&convert=ws+gn&convert.groups=2", seed=3)
    by_hand = convert(open_model(OWN, seed=3), "ws+gn", groups=2).model.eval()
    values = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(named(values), by_hand(values))
