"""Pictures for the tests of readers: of known pixels, as the bytes of image files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt


def pixels(number: int, *, height: int = 8, width: int = 8) -> npt.NDArray[np.uint8]:
    """Random pixels (h, w, 3), the same for the same number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: npt.NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Pixels as an image file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()
