from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from weightatlas.checkpoints import zoo_model
from weightatlas.checkpoints.places import downloads
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from pathlib import Path

ZOO = {
    "torchvision:resnet18?pretrained=false&num_classes=7": (1, 3, 32, 32),
    "torchvision:deeplabv3_mobilenet_v3_large?pretrained=false&num_classes=5": (1, 3, 32, 32),
    "torchvision:lraspp_mobilenet_v3_large?pretrained=false": (1, 3, 32, 32),
    "torchvision:ssdlite320_mobilenet_v3_large?pretrained=false": (1, 3, 64, 64),
    "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn?pretrained=false": (1, 3, 64, 64),
    "torchvision:mc3_18?pretrained=false": (1, 3, 4, 32, 32),
    "torchvision:swin_t?pretrained=false": (1, 3, 32, 32),
    "timm:resnet18?pretrained=false&num_classes=7": (1, 3, 32, 32),
    "timm:test_vit?pretrained=false": (1, 3, 160, 160),
}


@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoos_are_built_and_run(name: str) -> None:
    model = open_model(name)
    assert not model.training
    images = torch.rand(ZOO[name])
    detects = "rcnn" in name or "ssd" in name
    with torch.no_grad():
        if "rcnn" in name:  # its boxes go through torch.compile where torchvision has no compiled part: seconds
            return
        found = model(list(images) if detects else images)
    if detects:
        assert set(found[0]) == {"boxes", "scores", "labels"}
    else:
        assert len(found["out"] if isinstance(found, dict) else found) == 1


def test_with_a_checkpoint_a_zoo_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(_url: str) -> bool:
        message = "the network was asked"
        raise AssertionError(message)

    monkeypatch.setattr(downloads, "reachable", lambda _url: False)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fetched)
    source = zoo_model("torchvision:resnet18?pretrained=false&num_classes=3", seed=5)
    for name in ("torchvision:resnet18?num_classes=3", "torchvision:resnet18?pretrained=false&num_classes=3"):
        model = open_model(name, checkpoint=source.state_dict())
        assert torch.equal(model.state_dict()["fc.weight"], source.state_dict()["fc.weight"])
    with pytest.raises(SourceError, match=r"does not fit ResNet \(fc.weight: \[3, 512\] for \[1000, 512\]"):
        open_model("torchvision:resnet18", checkpoint=source)


def test_the_papers_network_takes_its_options_and_the_seed() -> None:
    name = "weightatlas:simplified?groups=small&input_size=24&classes=4&width=.5&head=x-pooling"
    first, second, other = open_model(name), open_model(name), open_model(name, seed=1)
    weights = [model.state_dict()["conv3a.weight"] for model in (first, second, other)]
    assert weights[0].shape == (8, 3, 5, 5)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first(torch.zeros(2, 3, 24, 24)).shape == (2, 4)
    assert not first.training


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("weightatlas:alexnet?width=.125&input_size=24&classes=4&dropout=0", "conv2.weight", (32, 6, 5, 5)),
        ("weightatlas:branched?branches=4&width=.5&input_size=24&classes=4", "conv2.weight", (64, 8, 5, 5)),
        ("weightatlas:branched?branches=1&input_size=24&classes=4&head=masks-3", "head.logits", (3, 6, 6)),
        ("weightatlas:resnet18-cifar?width=.125&classes=4", "layer4.1.conv2.weight", (64, 64, 3, 3)),
        ("weightatlas:resnet50-cifar?width=.125&classes=4", "layer1.2.conv3.weight", (32, 8, 1, 1)),
    ],
)
def test_the_other_networks_take_their_options_and_the_seed(name: str, layer: str, shape: tuple[int, ...]) -> None:
    first, second, other = (open_model(name, seed=seed).state_dict()[layer] for seed in (0, 0, 1))
    assert first.shape == shape
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert open_model(name)(torch.zeros(2, 3, 24, 24)).shape == (2, 4)


def test_a_module_passes_through_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    assert open_model(model) is model
    assert not model.training
    open_model(model, checkpoint={"0.weight": torch.ones(2, 2), "0.bias": torch.zeros(2)})
    assert bool((model.state_dict()["0.weight"] == 1).all())


def test_code_of_the_user_and_an_export_open_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h6_models.py").write_text("import torch\ndef net(width=2):\n    return torch.nn.Linear(width, 2)\n")
    monkeypatch.chdir(tmp_path)
    model = open_model("h6_models:net?width=3")
    assert model.state_dict()["weight"].shape == (2, 3)
    with pytest.raises(SourceError, match=r"it gives a list, no nn\.Module"):
        open_model("builtins:list")

    program = torch.export.export(nn.Linear(3, 2), (torch.zeros(1, 3),))
    torch.export.save(program, tmp_path / "net.pt2")
    exported = open_model("net.pt2", checkpoint=model.state_dict())
    inputs = torch.rand(1, 3)
    assert torch.allclose(exported(inputs), model(inputs))


def test_no_model_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    cases: list[tuple[object, str]] = [
        ("tim:resnet18", "did you mean timm:resnet18"),
        ("torchvison:resnet18?num_classes=2", "did you mean torchvision:resnet18"),
        ("timm:resnt18?pretrained=false", "did you mean resnet18"),
        ("weightatlas:banded", "there is weightatlas:simplified, weightatlas:alexnet, weightatlas:branched"),
        ("weightatlas:alexnet?input_size=5", "too small"),
        ("weightatlas:branched?branches=3", "branches must be one of 1, 2, 4, not 3"),
        ("weightatlas:branched?classes=-1", "cannot be built"),
        ("weightatlas:simplified?groups=large", "groups=large is unknown; there is article and small"),
        ("weightatlas:simplified?colour=red", "check its options"),
        ("weightatlas:simplified?input_size=10", "cannot be built"),
        ("resnet18", "name one: timm:NAME"),
        ("", "name one: timm:NAME"),
        (tmp_path, "a folder without config.json"),
        (tmp_path / "weights.pt", "no .pt2 export"),
        (None, "none is named"),
        (3, "int: no model"),
        ("no_such_module_of_mine:net", "there is no module"),
    ]
    for name, words in cases:
        with pytest.raises(SourceError) as caught:
            open_model(name)  # type: ignore[arg-type]
        assert words in str(caught.value), name
        assert "\n" not in str(caught.value)
