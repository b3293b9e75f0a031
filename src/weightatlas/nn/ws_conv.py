"""Convolutions that standardise their weights before they use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Self

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from weightatlas.nn.standardization import Standardization, find_standardization, standardize

torch.fx.wrap("standardize")  # a traced network calls it as one function: torchvision's feature extractors trace


class _Standardized(_ConvNd):
    """What turns a convolution of torch into one of standardised weights."""

    gain: nn.Parameter | None

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - torch's own
        how: Standardization | str = "timm",
        gain: bool = False,
        gamma: float = 1.0,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **options)
        self._standardize_by(how, gain=gain, gamma=gamma)

    def _standardize_by(self, how: Standardization | str, *, gain: bool, gamma: float) -> None:
        if gamma != 1 and not gain:
            message = f"gamma is a factor of the scaled variant: gamma={gamma:g} needs gain=True"
            raise ValueError(message)
        self.how = find_standardization(how)
        self.gamma = gamma
        shape = (self.out_channels, *(1 for _ in self.weight.shape[1:]))
        self.register_parameter("gain", nn.Parameter(self.weight.new_ones(shape)) if gain else None)

    @classmethod
    def of(
        cls, convolution: nn.Module, *, how: Standardization | str = "timm", gain: bool = False, gamma: float = 1.0
    ) -> Self:
        """Give a plain convolution's counterpart, which has the very same parameters, not copies.

        Args:
            convolution: of the class in torch that this one extends, exactly: a subclass may compute something else.
            how: as in the class.
            gain: as in the class.
            gamma: as in the class.

        Raises:
            ValueError: the convolution is of another class.
        """
        if WS_CONVOLUTIONS.get(type(convolution)) is not cls:
            message = f"{cls.__name__} is not the counterpart of {type(convolution).__name__}"
            raise ValueError(message)
        made = cls.__new__(cls)
        made.__dict__ = _state(convolution)
        made._standardize_by(how, gain=gain, gamma=gamma)  # noqa: SLF001 - its own
        return made

    def plain(self) -> nn.Module:
        """Give the plain convolution of torch that computes the same, its weights copies of the standardised ones."""
        kind = next(plain for plain, ours in WS_CONVOLUTIONS.items() if isinstance(self, ours))
        made: nn.Module = kind.__new__(kind)
        made.__dict__ = _state(self)
        del made.__dict__["how"], made.__dict__["gamma"], made.__dict__["_parameters"]["gain"]
        made.__dict__["_modules"].pop("parametrizations", None)  # what they compute is copied below
        with torch.no_grad():
            weight = self.standardized_weight().clone()
        made.weight = nn.Parameter(weight, requires_grad=self.weight.requires_grad)
        if self.bias is not None:
            made.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=self.bias.requires_grad)
        return made

    def reset_parameters(self) -> None:
        """Draw the weights as torch does; gains are one."""
        super().reset_parameters()
        gain = getattr(self, "gain", None)  # torch calls this before there is one
        if gain is not None:
            nn.init.ones_(gain)

    def standardized_weight(self) -> torch.Tensor:
        """Give the weights that the forward pass convolves with, of the shape of `weight`."""
        factor = None
        if self.gain is not None:
            fan_in = self.weight.numel() // self.out_channels
            factor = self.gain * (self.gamma * fan_in**-0.5)
        return standardize(self.weight, how=self.how, gain=factor, unit_axis=int(self.transposed), groups=self.groups)

    def extra_repr(self) -> str:
        """Give torch's line, and what differs from the default."""
        parts = [str(super().extra_repr())]  # type: ignore[no-untyped-call]
        if self.how != Standardization():
            parts.append(f"how={self.how}")
        if self.gain is not None:
            parts.append(f"gain=True, gamma={self.gamma:g}")
        return ", ".join(parts)


class _Direct(_Standardized):
    """The forward pass of a convolution."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        """Convolve with the standardised weights."""
        answer: torch.Tensor = self._conv_forward(input, self.standardized_weight(), self.bias)
        return answer


class _Transposed(_Standardized, _ConvTransposeNd):
    """The forward pass of a transposed convolution."""

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:  # noqa: A002
        """Convolve, transposed, with the standardised weights."""
        axes = len(self.kernel_size)
        if isinstance(self.padding, str):  # torch's own refuse it too: a transposed convolution has no such padding
            message = f"a transposed convolution pads by numbers, not {self.padding!r}"
            raise TypeError(message)
        stride, edge, kernel = (list(numbers) for numbers in (self.stride, self.padding, self.kernel_size))
        padding = self._output_padding(input, output_size, stride, edge, kernel, axes, list(self.dilation))
        convolve = _TRANSPOSED[axes]
        weight = self.standardized_weight()
        return convolve(input, weight, self.bias, self.stride, self.padding, padding, self.groups, self.dilation)


class WSConv2d(_Direct, nn.Conv2d):
    r"""Convolve with standardised weights.

    What `torch.nn.Conv2d` does, with

    $$\hat W_{oi} = \frac{W_{oi} - \mu_o}{\sqrt{\sigma_o^2 + \varepsilon}} \qquad \text{or, with a gain,} \qquad
    \frac{g_o\, \gamma}{\sqrt{I}}\, \hat W_{oi},$$

    the mean and the variance taken over the I weights of output channel o, as `standardize` defines them. It belongs in
    front of a norm: without a gain a unit's kernel has the norm sqrt(I), whatever was learned. Weights are kept as they
    are learned, so that state dicts are those of `torch.nn.Conv2d`. Answers are about sqrt(I) times as large as the
    inputs: where that passes the end of float16, 65504, take bfloat16, or a gain.

    Statistics are taken anew in each forward pass, in evaluation too, since nothing tells safely that a weight is still
    the same; `plain()` gives the convolution to evaluate with.

    Args:
        *arguments: of `torch.nn.Conv2d`, as are those by name: channels, kernel_size, stride, padding, dilation,
            groups, bias, padding_mode, device, dtype.
        how: one of `STANDARDIZATIONS`, by name, or one's own.
        gain: the scaled variant: a factor is learned for each output channel, beginning at 1, and the kernel's norm is
            that factor times gamma. It adds `gain`, (out_channels, 1, 1, 1), to the state dict.
        gamma: of the scaled variant: what keeps the variance through the nonlinearity that follows; for a ReLU
            sqrt(2 / (1 - 1 / pi)) = 1.71.

    Attributes:
        how: the `Standardization`.
        gamma: as given.
        gain: the parameter, or None.

    Raises:
        ValueError: no standardisation has that name, or gamma is given without a gain.

    **Source:** Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization (2019);
    the scaled variant is that of Brock et al., Characterizing signal propagation to close the performance gap in
    unnormalized ResNets (ICLR 2021), as in timm's `ScaledStdConv2d`. Numbers are timm's, epsilon included.

    Example:
        >>> convolution = WSConv2d(3, 8, 3, bias=False)
        >>> kernels = convolution.standardized_weight().flatten(1)
        >>> torch.allclose(kernels.norm(dim=1), torch.tensor(27.0).sqrt(), atol=1e-3)
        True
        >>> list(convolution.state_dict())
        ['weight']
    """


class WSConv1d(_Direct, nn.Conv1d):
    """`torch.nn.Conv1d` with standardised weights; see `WSConv2d`."""


class WSConv3d(_Direct, nn.Conv3d):
    """`torch.nn.Conv3d` with standardised weights; see `WSConv2d`."""


class WSConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with standardised weights; see `WSConvTranspose2d`."""


class WSConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with standardised weights.

    Statistics are those of an output channel, over the input channels of its group and the kernel: of axes 0, 2 and 3
    of the weights. Otherwise as `WSConv2d`.
    """


class WSConvTranspose3d(_Transposed, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with standardised weights; see `WSConvTranspose2d`."""


WS_CONVOLUTIONS: Final[Mapping[type[nn.Module], type[_Standardized]]] = MappingProxyType(
    {
        nn.Conv1d: WSConv1d,
        nn.Conv2d: WSConv2d,
        nn.Conv3d: WSConv3d,
        nn.ConvTranspose1d: WSConvTranspose1d,
        nn.ConvTranspose2d: WSConvTranspose2d,
        nn.ConvTranspose3d: WSConvTranspose3d,
    }
)
"""The counterpart of each of torch's convolutions; `WS_CONVOLUTIONS[kind].of(convolution)` gives it the parameters."""

_TRANSPOSED: Final[Mapping[int, Callable[..., torch.Tensor]]] = MappingProxyType(
    {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
)


def _state(module: nn.Module) -> dict[str, Any]:
    """What a module holds, its containers copied and the tensors in them shared."""
    return {key: value.copy() if isinstance(value, (dict, set)) else value for key, value in module.__dict__.items()}
