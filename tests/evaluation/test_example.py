from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_data
from weightatlas.evaluation.example import example_inputs, image_size
from weightatlas.evaluation.models import open_model


class Network(nn.Module):
    """A network that may say what images it is made for."""

    def __init__(self, **said: Any) -> None:  # noqa: ANN401 - any attribute
        super().__init__()
        self.rearranged = nn.PixelUnshuffle(2)
        self.convolution = nn.Conv2d(12, 4, 3)
        for name, value in said.items():
            setattr(self, name, value)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.convolution(self.rearranged(images)).mean((2, 3)))


@pytest.mark.parametrize(
    ("said", "size", "expected"),
    [
        ({}, None, (224, 224)),
        ({"input_size": 32}, None, (32, 32)),
        ({"pretrained_cfg": {"input_size": (3, 96, 160)}}, None, (96, 160)),
        ({"input_size": 32, "pretrained_cfg": {"input_size": (3, 96, 96)}}, None, (32, 32)),
        ({"input_size": 32}, 64, (64, 64)),
        ({"input_size": 32}, (48, 64), (48, 64)),
        ({"input_size": "large"}, None, (224, 224)),
    ],
)
def test_the_size_is_the_argument_s_then_the_model_s_then_imagenet_s(
    said: dict[str, Any], size: int | tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert image_size(Network(**said), size) == expected
    assert image_size(nn.Sequential(Network(**said)), size) == expected, "a module inside may say it"


def shape_of(model: nn.Module) -> tuple[int, ...]:
    inputs = example_inputs(model)
    assert isinstance(inputs, torch.Tensor)
    return tuple(inputs.shape)


def test_images_have_the_channels_that_the_network_reads_and_the_network_keeps_its_mode() -> None:
    rearranging = Network(input_size=16).train()
    assert shape_of(rearranging) == (1, 3, 16, 16)
    assert all(module.training for module in rearranging.modules())
    grey = nn.Sequential(nn.Conv2d(1, 4, 3))
    assert shape_of(grey) == (1, 1, 224, 224)
    torch.testing.assert_close(example_inputs(grey), example_inputs(grey), rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    ["weightatlas:branched", "weightatlas:alexnet?input_size=32&width=0.1", "weightatlas:language-model?layers=1"],
)
def test_our_own_networks_run_on_their_example(name: str) -> None:
    model = open_model(name)
    with torch.no_grad():
        assert len(model(example_inputs(model, name=name))) == 1


def test_inception_v3_has_images_of_its_own_size() -> None:
    import_torchvision()
    from torchvision.models import inception_v3

    with torch.device("meta"):
        model = inception_v3(weights=None, init_weights=False)
    assert image_size(model) == (299, 299)


def test_transformers_are_called_as_their_configuration_says() -> None:
    import_torchvision()
    import transformers

    small: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    text = transformers.LlamaForCausalLM(transformers.LlamaConfig(**small, vocab_size=9))
    images = transformers.ViTModel(transformers.ViTConfig(**small, image_size=32, patch_size=16))
    for model, key, shape in ((text, "input_ids", (1, 16)), (images, "pixel_values", (1, 3, 32, 32))):
        inputs = example_inputs(model)
        assert isinstance(inputs, dict)
        assert tuple(inputs[key].shape) == shape
        with torch.no_grad():
            model(**inputs)


def test_the_first_example_of_data_goes_first_and_no_pass_is_counted() -> None:
    data = open_data("scenes?label=left")
    inputs = example_inputs(nn.Linear(3, 4), data=data)
    assert isinstance(inputs, torch.Tensor)
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, next(iter(data))[0][:1])
    assert data.epoch == 1, "that of the line above"


def test_features_for_a_linear_layer_and_a_refusal_where_nothing_is_said() -> None:
    assert shape_of(nn.Sequential(nn.Linear(7, 2))) == (1, 7)
    with pytest.raises(SourceError, match="mine: it does not say what inputs it takes; give example inputs"):
        example_inputs(nn.ReLU(), name="mine")
    with pytest.raises(SourceError, match="does not say"):
        example_inputs(nn.Sequential(nn.Conv2d(5, 4, 9, padding_mode="circular"), nn.Linear(3, 2)))
