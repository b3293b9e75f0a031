from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.branching.pictures.normalising import Normalizing
from weightatlas.data import normalised
from weightatlas.evaluation import open_model

CPU = torch.device("cpu")


def of(model: nn.Module, name: Any, *, channels: int = 3, dtype: torch.dtype = torch.float32) -> Normalizing:  # noqa: ANN401
    return Normalizing.of(model, name, channels=channels, device=CPU, dtype=dtype)


@pytest.mark.parametrize("name", ["none", "imagenet", "cifar10", "half"])
def test_pixels_are_normalised_as_data_are(name: Any) -> None:  # noqa: ANN401
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    ours = of(nn.ReLU(), name)
    assert ours.name == name
    assert torch.allclose(ours(images / 255), normalised(images, name), atol=1e-5)


def test_a_model_of_torchvision_reads_imagenets() -> None:
    assert of(open_model("torchvision:squeezenet1_1?pretrained=false"), "model").name == "imagenet"


def test_a_model_of_timm_says_what_it_reads() -> None:
    model: Any = nn.Conv2d(3, 2, 1)
    model.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 4.0)}
    ours = of(model, "model")
    assert ours.name == "timm"
    pixel = ours(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist()
    assert pixel == pytest.approx([0.4, 0.15, 0.05])


def test_other_models_read_pixels_as_they_are_in_their_own_type() -> None:
    ours = of(nn.Conv2d(3, 2, 1), "model", dtype=torch.float64)
    assert ours.name == "none"
    assert ours(torch.full((1, 3, 1, 1), 0.5)).dtype == torch.float64


def test_given_statistics() -> None:
    ours = of(nn.ReLU(), ((0.5,), (0.25,)), channels=1)
    assert ours.name == "given"
    assert ours(torch.ones(1, 1, 2, 2)).flatten().tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(("name", "channels"), [("imagenet", 1), (((0.5,), (0.5,)), 3), (((0.5,) * 3,), 3)])
def test_statistics_of_other_channels_are_refused(name: Any, channels: int) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match=f"each of the {channels} channels"):
        of(nn.ReLU(), name, channels=channels)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no normalisation 'image'"):
        of(nn.ReLU(), "image")
