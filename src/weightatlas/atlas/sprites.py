"""Units of a layer as one small picture: a sprite sheet with one pixel a weight position."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.plate import SlideLayer

SHEET_WIDTH: Final = 128
"""About how many pixels a sheet is wide; a unit takes its width and one transparent pixel."""
SHEET_HEIGHT: Final = 2048
"""About how many pixels a sheet is tall before it grows wider instead: pictures of units are larger than kernels."""
SAMPLE_UNIT: Final = 9
"""About how many pixels a unit of a sample is wide."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sprite sheet and where its units lie.

    Attributes:
        uri: a PNG as a data URI, empty if there is nothing to draw.
        columns: units in a row of the sheet.
        width: of the whole sheet, in pixels.
        height: likewise.
    """

    uri: str
    columns: int
    width: int
    height: int


def similarity(layer: SlideLayer) -> npt.NDArray[np.int64]:
    """The units of a layer in order of similarity, or as they are where no order was given.

    Raises:
        ValueError: the order is not a permutation of the units.
    """
    units = len(layer.images)
    if layer.order is None:
        return np.arange(units)
    order = np.asarray(layer.order, dtype=np.int64)
    if not np.array_equal(np.sort(order), np.arange(units)):
        message = f"the order of layer {layer.layer!r} is not a permutation of its {units} units"
        raise ValueError(message)
    return order


def checked(layer: SlideLayer) -> npt.NDArray[np.uint8]:
    """The images of a layer, if they are what a slide is made of.

    Raises:
        ValueError: they are not uint8 of shape (units, height, width, 3).
    """
    images = np.asarray(layer.images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        message = (
            f"the images of layer {layer.layer!r} are {images.dtype} of shape {images.shape}; "
            "a slide needs uint8 of shape (units, height, width, 3)"
        )
        raise ValueError(message)
    return images


def arrange(images: npt.NDArray[np.uint8], columns: int, *, gap: int = 1) -> npt.NDArray[np.uint8]:
    """Lay images out in rows of `columns`, `gap` transparent pixels between neighbours: uint8 (height, width, 4).

    Example:
        >>> arrange(np.zeros((3, 2, 2, 3), np.uint8), columns=2).shape
        (5, 5, 4)
    """
    units, height, width, _ = images.shape
    rows = -(-units // columns)
    cells = np.zeros((rows * columns, height + gap, width + gap, 4), np.uint8)
    cells[:units, :height, :width, :3] = images
    cells[:units, :height, :width, 3] = 255
    sheet = cells.reshape(rows, columns, height + gap, width + gap, 4).swapaxes(1, 2)
    return sheet.reshape(rows * (height + gap), columns * (width + gap), 4)[:-gap, :-gap]


def sheet(images: npt.NDArray[np.uint8]) -> Sheet:
    """Draw units, in the order given, on one sprite sheet."""
    units, height, width, _ = images.shape
    if units == 0 or height == 0 or width == 0:
        return Sheet("", 1, 0, 0)
    columns = max(1, SHEET_WIDTH // (width + 1), -(-units * (height + 1) // SHEET_HEIGHT))
    columns = min(units, columns)
    pixels = arrange(images, columns)
    return Sheet(png_uri(pixels), columns, pixels.shape[1], pixels.shape[0])


def sample(layer: SlideLayer, width: int, height: int, *, unit: int = SAMPLE_UNIT) -> Sheet:
    """Draw as many units of a layer as fit in so many pixels, spread evenly over its order of similarity.

    Weights are magnified so that units of every kernel size are about as large: `unit` pixels wide.
    """
    images = checked(layer)[similarity(layer)]
    if images.size == 0:
        return Sheet("", 1, 0, 0)
    factor = max(1, round(unit / images.shape[2]))
    columns = max(1, (width + 1) // (images.shape[2] * factor + 1))
    rows = max(1, (height + 1) // (images.shape[1] * factor + 1))
    count = min(len(images), columns * rows)
    chosen = images[np.linspace(0, len(images) - 1, count).round().astype(np.int64)]
    pixels = arrange(chosen.repeat(factor, axis=1).repeat(factor, axis=2), min(columns, count))
    return Sheet(png_uri(pixels), min(columns, count), pixels.shape[1], pixels.shape[0])


def png_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Pixels as a PNG in a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
