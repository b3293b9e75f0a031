"""Weights that read an image: checked, widened to float64, and each unit that cannot be measured given its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float64

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

Array = np.ndarray

CHANNELS: Final = (1, 3)
"""A kernel that is measured here sees grey levels or red, green and blue."""

NOT_FINITE: Final = "the kernel holds NaN or infinite values"
ZERO: Final = "the kernel is zero"
CONSTANT: Final = "the kernel is one constant in every channel and pixel"


@dataclass(frozen=True, slots=True, eq=False)
class ImageKernels:
    """A layer's kernels, each scaled by its largest magnitude.

    Attributes:
        kernels: float64; zero where a unit is skipped.
        scales: the largest magnitude of each, (units,); NaN where it is not finite.
        skipped: unit to the reason why it is not measured.
    """

    kernels: Float64[Array, "units channels h w"]
    scales: Float64[Array, " units"]
    skipped: Mapping[int, str]

    @property
    def measured(self) -> npt.NDArray[np.int64]:
        """The units that can be measured, ascending."""
        kept: npt.NDArray[np.int64] = np.setdiff1d(np.arange(len(self.kernels)), list(self.skipped))
        return kept


def image_kernels(weight: torch.Tensor | npt.ArrayLike) -> ImageKernels:
    """Read a weight (units, channels, h, w) with 1 or 3 channels, any real dtype.

    Raises:
        ValueError: another shape, or numbers that are not real.
    """
    array = _as_array(weight)
    _check(array)
    wide = array.astype(np.float64)
    finite = np.isfinite(wide).all(axis=(1, 2, 3))
    wide[~finite] = 0.0
    scales = np.abs(wide).max(axis=(1, 2, 3))
    zero = scales == 0.0
    # One pixel is no constant over pixels: its colour may still be asked.
    constant = (np.ptp(wide, axis=(1, 2, 3)) == 0.0) & (wide[0, 0].size > 1)
    reasons = {int(unit): CONSTANT for unit in np.flatnonzero(constant)}
    reasons |= {int(unit): ZERO for unit in np.flatnonzero(zero)}
    reasons |= {int(unit): NOT_FINITE for unit in np.flatnonzero(~finite)}
    scaled = wide / np.where(zero, 1.0, scales)[:, None, None, None]
    scaled[list(reasons)] = 0.0
    return ImageKernels(scaled, np.where(finite, scales, np.nan), dict(sorted(reasons.items())))


def _as_array(weight: torch.Tensor | npt.ArrayLike) -> npt.NDArray[Any]:
    if not isinstance(weight, torch.Tensor):
        return np.asarray(weight)
    tensor = weight.detach().cpu()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)
    array: npt.NDArray[Any] = tensor.numpy()
    return array


def _check(array: npt.NDArray[Any]) -> None:
    message = None
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        message = f"expected real numbers, got {array.dtype}"
    elif array.ndim != 4:
        message = f"expected kernels of shape (units, channels, h, w), got {array.shape}"
    elif array.size == 0:
        message = f"the weight of shape {array.shape} has no elements"
    elif array.shape[1] not in CHANNELS:
        message = (
            f"kernels of {array.shape[1]} channels see no image: give a layer that reads 1 or 3 channels, or the "
            "expanded weights of a deeper one (weightatlas.anatomy.expanded)"
        )
    if message is not None:
        raise ValueError(message)
