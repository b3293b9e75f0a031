"""One forward pass of a network over images that it is made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

from weightatlas.errors import SourceError
from weightatlas.lab.calls import trace
from weightatlas.nn import MapHead

if TYPE_CHECKING:
    from weightatlas.lab.calls import Trace

INPUT_SIZE: Final = 224
BATCH: Final = 2
COLOURS: Final = 3


def trace_images(model: nn.Module, source: str, size: int | tuple[int, int] | None) -> Trace:
    """Run a network once, without values, over images that it is made for.

    They have as many channels as the first convolution, or three where that one reads rearranged pixels.

    Args:
        model: any network of images; it is left alone.
        source: its name, for errors.
        size: side of the images, or (height, width); None is the model's own, see `image_size`.

    Raises:
        SourceError: it has no convolution, or does not run on such images.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 4))
        >>> tuple(trace_images(network, "mine", 6).images.shape)
        (2, 1, 6, 6)
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise SourceError(source, "no module of it is a convolution", "name a convolutional network")
    height, width = image_size(model, size)
    try:
        return trace(model, (BATCH, first.in_channels, height, width), whole=(MapHead,))
    except SourceError:
        if first.in_channels <= COLOURS:
            raise
        return trace(model, (BATCH, COLOURS, height, width), whole=(MapHead,))


def image_size(model: nn.Module, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Give the height and width of a network's images.

    Args:
        model: any network of images.
        size: side of the images, or (height, width); None is what the model, or else the first module of it that
            knows, says in an attribute `input_size` or in timm's `pretrained_cfg`, and 224 where none does.

    Example:
        >>> image_size(nn.Linear(3, 4), None), image_size(nn.Linear(3, 4), 32)
        ((224, 224), (32, 32))
    """
    if size is None:
        own = (_own_size(module) for module in model.modules())
        size = next((one for one in own if one is not None), INPUT_SIZE)
    return (size, size) if isinstance(size, int) else size


def _own_size(module: nn.Module) -> tuple[int, int] | None:
    """The image size that a module says it is made for; what it says itself comes before what it was trained with."""
    settings = getattr(module, "pretrained_cfg", None)
    for named in (getattr(module, "input_size", None), settings.get("input_size") if isinstance(settings, dict) else 0):
        if isinstance(named, int) and named > 0:
            return named, named
        if isinstance(named, tuple | list) and len(named) in (2, 3) and all(isinstance(one, int) for one in named):
            return named[-2], named[-1]
    return None
