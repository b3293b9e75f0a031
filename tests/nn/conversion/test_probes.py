from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from tests.nn.conversion.networks import parts
from weightatlas.nn.conversion.probes import Probe, as_probe, probes


def shapes(model: nn.Module) -> list[Any]:
    return [
        tuple(one.shape) if isinstance(one, torch.Tensor) else one
        for probe in probes(model, batch=2)
        for one in probe.arguments
    ]


def test_the_first_layer_says_what_is_tried_first() -> None:
    assert shapes(nn.Conv2d(5, 4, 3))[0] == (2, 5, 224, 224)
    assert shapes(nn.Conv1d(7, 4, 3))[0] == (2, 7, 4096)
    assert shapes(nn.Conv3d(3, 4, 3))[0] == (2, 3, 16, 112, 112)
    assert shapes(nn.Linear(9, 4))[0] == (2, 9)
    assert shapes(nn.Embedding(9, 4)) == [(2, 16)]


def test_a_size_that_the_model_states_comes_before_the_usual_ones() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    parts(model).pretrained_cfg = {"input_size": (3, 96, 80)}
    assert shapes(model)[:2] == [(2, 3, 96, 80), (2, 3, 224, 224)]


def test_a_configuration_of_transformers_names_its_input() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3))
    parts(model).config = SimpleNamespace(model_type="x", num_channels=1, image_size=48, num_frames=4)
    first, *_, films = [probe.options for probe in probes(model, batch=1) if probe.options]
    assert first["pixel_values"].shape == (1, 1, 48, 48)
    assert films["pixel_values"].shape == (1, 4, 1, 48, 48)


def test_inputs_of_a_user_are_one_argument_several_or_named() -> None:
    values = torch.zeros(1)
    assert as_probe(values).arguments == (values,)
    assert as_probe([values]).arguments == ([values],)
    assert as_probe((values, 3)).arguments == (values, 3)
    assert as_probe({"x": values}).options == {"x": values}


def test_only_fractions_change_their_type() -> None:
    moved = Probe(([torch.zeros(1), torch.zeros(1, dtype=torch.long)],), {"x": {"y": torch.ones(1)}, "z": 3})
    moved = moved.to("meta", torch.float16)
    assert [one.dtype for one in moved.arguments[0]] == [torch.float16, torch.int64]
    assert (moved.options["x"]["y"].device.type, moved.options["z"]) == ("meta", 3)
