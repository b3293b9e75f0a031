"""From the bytes of an image file to pixels: only plain formats, bounded, and fitted to one size."""

from __future__ import annotations

import io
import re
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
LARGEST: Final = 64_000_000
"""The most pixels of an image, before and after resizing: 192 MB of them."""

PILLOW: Final = r"PIL\."


@dataclass(frozen=True, slots=True)
class Fit:
    """How images are brought to one size; without either number they stay as they are.

    Attributes:
        resize: length that the shorter side is scaled to, in pixels; None is `size`.
        size: side of the square that is cut out of the middle, in pixels; None cuts nothing.
    """

    resize: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, length in (("resize", self.resize), ("size", self.size)):
            if length is not None and (isinstance(length, bool) or not 1 <= length <= 4096):
                message = f"{name} must be 1 to 4096 pixels, not {length}"
                raise ValueError(message)
        if self.resize is not None and self.size is not None and self.size > self.resize:
            message = f"size {self.size} is larger than resize {self.resize}: no such square can be cut out"
            raise ValueError(message)

    @property
    def identity(self) -> bool:
        """Whether images stay as they are."""
        return self.resize is None and self.size is None


KEEP: Final = Fit()


def decode_image(content: bytes, fit: Fit = KEEP) -> npt.NDArray[np.uint8]:
    """Decode an image file, take its colours as RGB and fit it to a size.

    The shorter side is scaled bilinearly with anti-aliasing, then the middle is cut out. Rotation that a camera noted
    (EXIF) is not applied; of an animation the first picture is taken.

    Args:
        content: the bytes of a PNG, JPEG, WebP, BMP, GIF, PPM or TIFF file.
        fit: the size to bring it to.

    Returns:
        uint8, (height, width, 3).

    Raises:
        ValueError: it has too many pixels, before or after resizing.
        OSError: it is no such image, or is truncated.

    **Source:** the steps and the rounding are those of torchvision's `Resize` and `CenterCrop` on Pillow images; the
    pixels are the same.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (6, 4), 7).save(buffer, "PNG")
        >>> decode_image(buffer.getvalue(), Fit(size=2)).shape
        (2, 2, 3)
    """
    try:
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:  # Pillow names an object in memory, which tells the reader nothing
        message = f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
        raise OSError(message) from error
    with opened as image:
        _check(*image.size)
        return np.asarray(fitted(image.convert("RGB"), fit))


def fitted(image: Image.Image, fit: Fit) -> Image.Image:
    """An image scaled and cut as `fit` says."""
    shorter = fit.resize or fit.size
    if shorter is not None:
        width, height = image.size
        longer = int(shorter * max(width, height) / min(width, height))
        target = (shorter, longer) if width <= height else (longer, shorter)
        _check(*target)
        if target != image.size:
            image = image.resize(target, Image.Resampling.BILINEAR)
    if fit.size is not None:
        left, top = (round((length - fit.size) / 2.0) for length in image.size)
        image = image.crop((left, top, left + fit.size, top + fit.size))
    return image


class _Quiet:
    """A filter of warnings that stands while any thread decodes.

    Filters are the process's own. `warnings.catch_warnings` would save and put back all of them, and threads that end
    in another order than they began would leave the wrong ones.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads == 1:
                warnings.filterwarnings("ignore", module=PILLOW)

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._threads -= 1
            entry = ("ignore", None, Warning, re.compile(PILLOW), 0)
            filters = cast("list[Any]", warnings.filters)
            if not self._threads and entry in filters:
                filters.remove(entry)


_QUIET: Final = _Quiet()


def quiet_decoding() -> AbstractContextManager[None]:
    """Keep Pillow's remarks (odd metadata, large images) from becoming output: what matters of them is an error here.

    Threads may decode side by side; other libraries' warnings are left alone.
    """
    return _QUIET


def _check(width: int, height: int) -> None:
    if not 0 < width * height <= LARGEST:
        message = f"{width} x {height} pixels, where {LARGEST} is the most"
        raise ValueError(message)
