from __future__ import annotations

import socket
import sys
import urllib.request
from typing import Any

import pytest
import torch

from weightatlas.checkpoints import open_checkpoint, zoo_model
from weightatlas.checkpoints.places import downloads
from weightatlas.checkpoints.zoo import parse_options
from weightatlas.errors import MissingDependencyError, SourceError


@pytest.mark.parametrize(
    ("source", "classes", "first"),
    [
        ("torchvision:resnet18?pretrained=false&num_classes=10", 10, "conv1"),
        ("timm:resnet18?pretrained=false&num_classes=7", 7, "conv1"),
    ],
)
def test_a_zoos_network_opens_by_name_with_its_options(source: str, classes: int, first: str) -> None:
    checkpoint = open_checkpoint(source)
    assert checkpoint.source == source
    assert checkpoint.file_format == source.partition(":")[0]
    assert next(iter(checkpoint.info.values())).layer == first
    assert checkpoint["fc.weight"].shape == (classes, 512)


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = (zoo_model("torchvision:alexnet?pretrained=false&num_classes=3") for _ in range(2))
    other = zoo_model("torchvision:alexnet?pretrained=false&num_classes=3", seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [model.state_dict()["features.0.weight"] for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("timm:resnt50", "did you mean resnet50"),
        ("torchvision:vgg_19", "did you mean vgg19"),
        ("torchvision:", "has no network ''"),
        ("timm:?pretrained=false", "has no network ''"),
        ("torchvision:resnet18?pretrained=perhaps", "neither true nor false"),
        ("torchvision:resnet18?pretrained=false&colour=red", "check its options"),
        ("timm:resnet18?pretrained=false&colour=red", "check its options"),
        ("torchvision:resnet18?pretrained=false&num_classes=many", "check its options"),
        ("torchvision:resnet18?weights=OF_NEXT_YEAR", "check its options"),
    ],
)
def test_what_a_zoo_has_not_is_said(source: str, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(source)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["timm:resnet18", "torchvision:resnet18?num_classes=1000"])
def test_weights_that_cannot_be_fetched_are_said_without_a_word_on_the_streams(
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Any,  # noqa: ANN401
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="pretrained=false") as caught:
        open_checkpoint(source)
    assert "cannot be had" in caught.value.problem
    assert capfd.readouterr() == ("", "")


def test_a_host_without_an_address_is_unreachable_and_a_proxy_makes_it_reachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    assert not downloads.reachable("https://no-such-host.invalid")
    assert downloads.reachable("https://127.0.0.1")
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    assert downloads.reachable("https://no-such-host.invalid")


def test_a_zoo_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'weightatlas\[zoo\]'"):
        open_checkpoint("timm:resnet18?pretrained=false")


def test_options_are_typed() -> None:
    assert parse_options("") == {}
    assert parse_options("a=TRUE&b=none&c=1e-3&d=-4&e=x%20y&f=") == {
        "a": True, "b": None, "c": 0.001, "d": -4, "e": "x y", "f": "",
    }  # fmt: skip
