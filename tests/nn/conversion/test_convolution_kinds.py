from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.nn.utils import parametrizations

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.conversion.convolution_kinds import fan_in, is_convolution, is_depthwise, never_standardised
from weightatlas.nn.ws_conv import WSConv2d


def test_depthwise_and_fan_in_of_direct_and_transposed_convolutions() -> None:
    for module, depthwise, inputs in (
        (nn.Conv2d(8, 8, 3, groups=8), True, 9),
        (nn.Conv2d(8, 8, 3, groups=4), False, 18),
        (nn.Conv1d(1, 8, 5), False, 5),
        (nn.ConvTranspose2d(8, 16, 3, groups=8), True, 9),
        (nn.ConvTranspose3d(8, 4, 2, groups=2), False, 32),
    ):
        assert (is_depthwise(module), fan_in(module)) == (depthwise, inputs), module


def test_every_reason_is_given() -> None:
    import_torchvision()
    import timm.layers

    layers: Any = timm.layers
    with pytest.warns(FutureWarning, match="weight_norm"):
        hooked = nn.utils.weight_norm(nn.Conv2d(3, 8, 3))
    cases: tuple[tuple[Any, str], ...] = (
        (parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)), "parametrised already (SpectralNorm)"),
        (hooked, "made by a hook"),
        (nn.Conv2d(4, 4, 1, groups=4), "one weight a unit"),
        (layers.StdConv2d(3, 8, 3), "StdConv2d standardises its weights already"),
        (nn.LazyConv2d(8, 3), "not built yet"),
        (WSConv2d(3, 8, 3), ""),
    )
    for module, word in cases:
        assert is_convolution(module)
        reason = never_standardised(module)
        assert word in reason if word else reason == "", module
