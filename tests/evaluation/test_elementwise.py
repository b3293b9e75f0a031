from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation.elementwise import NONLINEARITIES, function_name, nonlinearity, written_out


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.relu, "relu"),
        (torch.relu_, "relu"),
        (torch.Tensor.relu_, "relu"),
        (torch.ops.aten.relu.default, "relu"),
        (torch.ops.aten.relu_.default, "relu"),
        (torch.ops.aten.relu, "relu"),
        (functional.threshold, "threshold"),
        (torch.Tensor.__iadd__, "iadd"),
    ],
)
def test_a_function_has_one_name_however_it_is_called(function: object, name: str) -> None:
    assert function_name(function) == name


@pytest.mark.parametrize(
    ("name", "arguments", "named", "found"),
    [
        ("clamp", (None, 0), {}, "relu"),
        ("clamp", (None,), {"min": 0.0}, "relu"),
        ("clip", (None, 0, 6), {}, "relu6"),
        ("clamp", (None, 0, 1), {}, None),
        ("clamp", (None, -1), {}, None),
        ("clamp", (None, torch.zeros(())), {}, None),
        ("clamp_min", (None, 0), {}, "relu"),
        ("clamp_min", (None, 1e-6), {}, None),
        ("hardtanh", (None,), {}, "hardtanh"),
        ("hardtanh", (None, 0.0), {"max_val": 6.0}, "relu6"),
        ("gelu", (None,), {"approximate": "tanh"}, "gelu"),
        ("sigmoid", (None,), {}, None),
        ("add", (None, 1), {}, None),
    ],
)
def test_a_clamp_from_zero_is_a_relu_and_no_other_is(
    name: str, arguments: tuple[object, ...], named: dict[str, object], found: str | None
) -> None:
    assert nonlinearity(name, arguments, named) == found


def test_every_activation_of_torch_is_known_or_left_out_for_a_reason() -> None:
    """Left out: gates; those that mix channels; attention, which is none."""
    left_out = {"Sigmoid", "Hardsigmoid", "Softmax", "LogSoftmax", "Softmin", "Softmax2d", "GLU", "MultiheadAttention"}
    spelled = {"LeakyReLU": "leaky_relu", "LogSigmoid": "logsigmoid"}
    classes = {name for name in nn.modules.activation.__all__ if name not in left_out}
    assert {spelled.get(name, name.lower()) for name in classes} <= NONLINEARITIES


def test_formulas_are_known_by_their_class_and_gated_units_are_none() -> None:
    classes = {name: type(name, (nn.Module,), {}) for name in ("NewGELUActivation", "Swish", "SwiGLU", "HardSigmoid")}
    assert [written_out(classes[name]()) for name in classes] == ["newgelu", "swish", None, None]
    parted = classes["Swish"]()
    parted.inner = nn.ReLU()
    assert written_out(parted) is None, "its part will tell"
