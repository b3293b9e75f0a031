"""Spatial energies of convolution kernels, from one read: what every score of this room is a ratio of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from weightatlas.banding.kernel_loops import measure_kernels

if TYPE_CHECKING:
    import numpy.typing as npt

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class KernelEnergies:
    r"""Energies of every single kernel \(k_{oi}\), each a float64 array (out, in).

    With \(a = k - \bar k\) the kernel less its spatial mean, on h rows and w columns:

    Attributes:
        total: \(\sum a^2\).
        rows: \(w \sum_y (\text{mean}_x a)^2\), the part of `total` that lies between rows.
        columns: \(h \sum_x (\text{mean}_y a)^2\), the part between columns.
        raw: \(\sum k^2\).
        above: \(\sum k^2\) of the rows above the middle less those below it.
        left: \(\sum k^2\) of the columns left of the middle less those right of it.
        symmetry: \(S = 1 - \frac{1}{14} \sum_T \|T\hat k - \hat k\|_F\) with \(\hat k = k / \|k\|\), over the seven
            symmetries T of the square other than the identity: 1 where a kernel has them all. NaN where it is zero or
            not square. **Source:** Alsallakh et al., *On Symmetries in Convolutional Weights* (2025), who apply it to a
            layer's mean kernel.
        row_profile: \(\sum_{oix} k^2\) for each row, (h,).
        column_profile: \(\sum_{oiy} k^2\) for each column, (w,).
    """

    total: Float[Array, "out in"]
    rows: Float[Array, "out in"]
    columns: Float[Array, "out in"]
    raw: Float[Array, "out in"]
    above: Float[Array, "out in"]
    left: Float[Array, "out in"]
    symmetry: Float[Array, "out in"]
    row_profile: Float[Array, " h"]
    column_profile: Float[Array, " w"]


def as_kernels(weight: torch.Tensor | npt.ArrayLike, *, feature_map: tuple[int, int, int] | None = None) -> Array:
    """A weight as an array (out, in, h, w) of real floating point, without a copy where it is one already.

    Args:
        weight: (out, in, h, w); or (out, features) with `feature_map`.
        feature_map: (channels, h, w) of the map whose flattened form a fully connected layer reads.

    Raises:
        ValueError: the shape is another, an axis is empty, or the numbers are not real and finite.
    """
    array = as_array(weight)
    if feature_map is not None:
        if array.ndim != 2 or array.shape[1] != int(np.prod(feature_map)):
            message = f"a weight of shape {array.shape} does not read a map of {feature_map} (channels, height, width)"
            raise ValueError(message)
        array = array.reshape(array.shape[0], *feature_map)
    if array.ndim != 4:
        message = f"expected kernels of shape (out, in, h, w), got {array.shape}"
        raise ValueError(message)
    if array.size == 0:
        message = f"the weight of shape {array.shape} has no elements"
        raise ValueError(message)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        message = f"expected real numbers, got {array.dtype}"
        raise ValueError(message)
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        message = "the weight holds NaN or infinite values"
        raise ValueError(message)
    return array


def as_array(weight: torch.Tensor | npt.ArrayLike) -> Array:
    """A weight as a numpy array, what numpy has no type for widened to float32; no copy where none is needed."""
    if not isinstance(weight, torch.Tensor):
        return np.asarray(weight)
    tensor = weight.detach()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)
    array: Array = tensor.cpu().numpy()
    return array


def kernel_energies(kernels: Array) -> KernelEnergies:
    """Measure all kernels of a layer (out, in, h, w) from one read, accumulating in float64."""
    out, channels, height, width = kernels.shape
    summaries = np.empty((7, out, channels))
    profiles = np.zeros((2, max(height, width)))
    measure_kernels(np.ascontiguousarray(kernels), _dihedral_permutations(height, width), summaries, profiles)
    total, rows, columns, raw, above, left, symmetry = summaries
    return KernelEnergies(
        total=total,
        rows=rows,
        columns=columns,
        raw=raw,
        above=above,
        left=left,
        symmetry=symmetry,
        row_profile=profiles[0, :height],
        column_profile=profiles[1, :width],
    )


def kernel_symmetry(kernel: Array) -> float:
    """S of a single kernel (h, w), as in `KernelEnergies.symmetry`; NaN for a zero or non-square kernel.

    Example:
        >>> kernel_symmetry(np.ones((3, 3)))
        1.0
    """
    return float(kernel_energies(kernel[None, None]).symmetry[0, 0])


def _dihedral_permutations(height: int, width: int) -> npt.NDArray[np.int64]:
    """Where the seven symmetries of the square other than the identity take the flat index; none if it is no square."""
    if height != width:
        return np.empty((0, height * width), dtype=np.int64)
    index = np.arange(height * width).reshape(height, width)
    turned = [np.rot90(index, turns) for turns in range(4)]
    moved = [*turned[1:], *(turn.T for turn in turned)]
    return np.stack([array.reshape(-1) for array in moved])


def ratio(part: Array, whole: Array) -> Array:
    """`part / whole`, NaN where the whole is zero: a unit without variance has no share of it."""
    shares: Array = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return shares
