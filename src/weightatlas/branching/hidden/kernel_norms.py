"""The size of every connection between two layers: kernels reduced to one number, units against units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float

if TYPE_CHECKING:
    import numpy.typing as npt

Array = np.ndarray

Norm = Literal["l2", "l1"]
NORMS: tuple[Norm, ...] = get_args(Norm)


def kernel_norms(
    weight: torch.Tensor | npt.ArrayLike, *, norm: Norm = "l2", transposed: bool = False
) -> Float[Array, "out in"]:
    r"""Reduce every kernel of a layer to its norm: \(\|k_{oi}\|_2\), or \(\|k_{oi}\|_1\); of a matrix, \(|w_{oi}|\).

    Args:
        weight: (out, in) or (out, in, ...), real and finite.
        norm: "l2" or "l1".
        transposed: the layer is a transposed convolution, stored (in, out, ...).

    Raises:
        ValueError: another shape, no elements, an unknown norm, or values that are not finite.

    Example:
        >>> kernel_norms(torch.tensor([[[[3.0, 4.0]], [[0.0, -2.0]]]]))
        array([[5., 2.]])
    """
    array = _array(weight)
    if norm not in NORMS:
        message = f"norm must be one of {', '.join(NORMS)}, not {norm!r}"
        raise ValueError(message)
    if array.ndim < 2 or array.size == 0:
        message = f"expected a weight of two axes or more with elements, got shape {array.shape}"
        raise ValueError(message)
    if not np.isfinite(array).all():
        message = "the weight holds NaN or infinite values"
        raise ValueError(message)
    if transposed:
        array = array.swapaxes(0, 1)
    flat: Array = np.abs(array.reshape(*array.shape[:2], -1).astype(np.float64))
    if norm == "l1":
        sums: Array = flat.sum(axis=2)
        return sums
    # The largest weight is divided out first: squares of very small or large numbers leave the range of a float.
    largest = float(flat.max()) or 1.0
    norms: Array = np.sqrt(np.square(flat / largest).sum(axis=2)) * largest
    return norms


def _array(weight: torch.Tensor | npt.ArrayLike) -> Array:
    """A weight as real numbers in numpy; types that numpy lacks are widened."""
    if isinstance(weight, torch.Tensor):
        tensor = weight.detach().cpu()
        wide = tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64)
        weight = tensor.to(torch.float32).numpy() if wide else tensor.numpy()
    array = np.asarray(weight)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        message = f"expected real numbers, got {array.dtype}"
        raise ValueError(message)
    return array
