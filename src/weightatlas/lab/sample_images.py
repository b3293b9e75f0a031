"""One forward pass of a network over images that it is made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.example import COLOURS, image_size
from weightatlas.lab.calls import trace
from weightatlas.nn import MapHead

if TYPE_CHECKING:
    from weightatlas.lab.calls import Trace

BATCH: Final = 2


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
