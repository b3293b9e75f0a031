"""First-layer kernels as the pictures they are: what they add where an image is bright, and where it is dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

GREY: Final = 128


def kernel_images(weight: Any, *, size: int | None = None) -> npt.NDArray[np.uint8]:  # noqa: ANN401 - any array
    r"""Draw kernels that read an image.

    A weight $w$ of a unit becomes $128 + 127 w / \max |w|$, rounded, the largest taken over the unit: neutral grey is
    no weight, and units are scaled each by itself. A constant unit is as bright, or as dark, as can be.

    Args:
        weight: (units, 3, h, w), its channels red, green and blue; or (units, 1, h, w).
        size: pixels of the longer side, each weight a block of equal pixels; None is one pixel a weight.

    Returns:
        uint8 (units, h, w, 3); a kernel of one channel is grey. Units that are zero or not finite are grey throughout.

    Raises:
        ValueError: the weight does not have that shape, or `size` is less than a kernel's side.

    **Source:** Distill's Branch Specialization (2021), figure 1, and Zeiler and Fergus (2014), whose pictures are
    scaled from the smallest to the largest weight: there grey says nothing.

    Example:
        >>> kernel_images(np.array([[[[1.0, 0.0, -0.5]]]]))[0, 0, :, 0].tolist()
        [255, 128, 64]
    """
    values = np.asarray(
        weight.detach().cpu().double() if isinstance(weight, torch.Tensor) else weight, dtype=np.float64
    )
    if values.ndim != 4 or values.shape[1] not in {1, 3} or 0 in values.shape:
        message = f"a kernel that reads an image is (units, 3 or 1, h, w), not {values.shape}"
        raise ValueError(message)
    largest = np.abs(values).max(axis=(1, 2, 3), keepdims=True)
    drawn = np.isfinite(largest) & (largest > 0)
    scaled = np.divide(values, largest, out=np.zeros_like(values), where=drawn)
    levels = np.round(GREY + 127 * scaled).astype(np.uint8).transpose(0, 2, 3, 1)
    images = np.broadcast_to(levels, (*levels.shape[:3], 3))
    return np.ascontiguousarray(images if size is None else _enlarged(images, size))


def _enlarged(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    height, width = images.shape[1:3]
    if size < max(height, width):
        message = f"size is {max(height, width)} or more, a pixel for each weight, not {size}"
        raise ValueError(message)
    longer = max(height, width)
    rows, columns = (np.arange(side * size // longer) * side // (side * size // longer) for side in (height, width))
    return images[:, rows][:, :, columns]
