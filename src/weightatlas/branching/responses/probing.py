"""Running a network up to one layer, and the part of the picture that the layer's middle units see."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE: Final = 224
"""Side of the noise pictures from which the receptive field is measured, where no size is given."""

_PICTURES: Final = 4
_SMALLEST: Final = 5.0


class _Reached(Exception):  # noqa: N818 - no error: the layer has been reached, and the rest need not run
    """Carries the input of the layer out of the network."""

    def __init__(self, inputs: torch.Tensor) -> None:
        super().__init__()
        self.inputs = inputs


class NotReachedError(ValueError):
    """The layer is no part of what the network runs, or does not read maps."""


def layer_input(model: nn.Module, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What a module of the network reads when the network reads the images; nothing after it runs.

    Raises:
        NotReachedError: the network does not run it.
    """
    handle = module.register_forward_pre_hook(_stop)
    try:
        model(images)
    except _Reached as reached:
        return reached.inputs
    finally:
        handle.remove()
    message = "the network does not run it"
    raise NotReachedError(message)


def _stop(_: nn.Module, arguments: tuple[Any, ...]) -> None:
    raise _Reached(arguments[0])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and every module's own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer's middle units look.

    Attributes:
        extent: diameter of what they see, pixels of the picture.
        stride: pixels between two units.
    """

    extent: float
    stride: float


def place_of(model: nn.Module, module: nn.Module, blank: torch.Tensor, *, seed: int = 0) -> Place:
    """Measure the receptive field of a layer's middle units by the gradient on seeded noise.

    The extent is four standard deviations of the squared gradient's spread along one axis, about the side of a kernel
    in the first layer, and the part that matters of the nominal field in deeper ones.

    Args:
        model: in evaluation mode.
        module: of the model; gives maps (batch, units, h, w).
        blank: (1, channels, size, size): the picture around which the noise is drawn.
        seed: of the noise.

    Raises:
        NotReachedError: the model does not run the module, or the picture does not reach it.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (_PICTURES, *blank.shape[1:])
    noise = torch.randn(shape, generator=generator).to(blank.device, blank.dtype)
    with torch.enable_grad():
        images = (blank + noise).requires_grad_()
        maps = module(layer_input(model, module, images))
        middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
        signs = torch.randint(0, 2, middle.shape, generator=generator).to(middle) * 2 - 1
        (gradient,) = torch.autograd.grad((signs * middle).sum(), images, allow_unused=True)
    energy = (
        torch.zeros(blank.shape[2:]) if gradient is None else (gradient.detach().double() ** 2).sum(dim=(0, 1)).cpu()
    )
    if not energy.sum() > 0:
        message = "the picture does not reach it"
        raise NotReachedError(message)
    spreads = []
    for profile in (energy.sum(dim=0), energy.sum(dim=1)):
        places = torch.arange(len(profile), dtype=torch.float64)
        shares = profile / profile.sum()
        mean = (shares * places).sum()
        spreads.append(float((shares * (places - mean) ** 2).sum()) ** 0.5)
    return Place(max(4.0 * sum(spreads) / 2, _SMALLEST), blank.shape[2] / maps.shape[2])
