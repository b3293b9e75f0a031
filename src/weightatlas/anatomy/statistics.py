"""A layer's weights in a few figures: size, spread, tails, zeros, and how many directions carry its weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.anatomy.moments import Moments, moments
from weightatlas.anatomy.spectral import random_stable_rank, spectral_norm
from weightatlas.anatomy.widening import row_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

_CHUNK: Final = 1 << 24  # elements at a time: what the kernel is called for once
_PLAIN: Final = (torch.float32, torch.float64)
_NARROW: Final = frozenset(
    {"float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"}
)


@dataclass(frozen=True, slots=True)
class WeightStatistics:
    """Figures of one tensor, over its finite values.

    Attributes:
        norm: Euclidean (Frobenius) norm.
        std: standard deviation, not corrected for the mean.
        largest: largest magnitude.
        zeros: how many values are exactly zero.
        non_finite: how many values are NaN or infinite.
        kurtosis: excess kurtosis: 0 for a Gaussian, 3 for a Laplacian, -1.2 for a uniform law; NaN where all values
            are the same.
        stable_rank: squared Frobenius norm over squared spectral norm of the (out, rest) matrix: from 1 to its rank;
            NaN for vectors and where it is not defined.
        stable_rank_null: what a matrix of independent Gaussian entries of that shape would have.
        skipped: why figures are missing, or None.
    """

    norm: float = math.nan
    std: float = math.nan
    largest: float = math.nan
    zeros: int | None = None
    non_finite: int | None = None
    kurtosis: float = math.nan
    stable_rank: float = math.nan
    stable_rank_null: float = math.nan
    skipped: str | None = None


def weight_statistics(weight: torch.Tensor | npt.NDArray[Any], *, seed: int = 0) -> WeightStatistics:
    """Norm, spread, largest magnitude, zeros, tails and stable rank of a tensor.

    With W the tensor as a matrix of one row an output, (out, everything else):

        norm = sqrt(sum w^2),    kurtosis = mean (w - m)^4 / (mean (w - m)^2)^2 - 3,    stable rank = |W|_F^2 / |W|_2^2.

    Counts and moments come from one read of the data, summed in double precision. Half and quarter precision are
    widened a chunk at a time.

    Args:
        weight: floating-point, of any shape and precision. Anything else gives figures of NaN and a reason.
        seed: of the iteration that finds the spectral norm of a large matrix.

    Null model: for the stable rank, independent Gaussian entries, in closed form (`spectral.random_stable_rank`). For
    the kurtosis, 0.

    **Source:** stable rank: Rudelson and Vershynin, Sampling from large matrices (2007), section 1; its null: Johnstone
    (2001), theorem 1.1.

    Example:
        >>> found = weight_statistics(torch.tensor([[2.0, 0.0], [0.0, -2.0]]))
        >>> found.largest, found.zeros, round(found.stable_rank, 6)
        (2.0, 2, 2.0)
    """
    tensor = weight.detach() if isinstance(weight, torch.Tensor) else torch.from_numpy(weight)
    reason = _unfit(tensor)
    if reason is not None:
        return WeightStatistics(skipped=reason)
    tensor = tensor.cpu()
    found = moments(_flat_chunks(tensor))
    rank, null = _stable_rank(tensor, found, seed)
    return WeightStatistics(
        norm=found.norm,
        std=found.std,
        largest=found.largest if found.finite else math.nan,
        zeros=found.zeros,
        non_finite=found.non_finite,
        kurtosis=found.kurtosis,
        stable_rank=rank,
        stable_rank_null=null,
        skipped=_not_all_finite(found.non_finite, tensor.numel()) if found.non_finite else None,
    )


def _not_all_finite(count: int, elements: int) -> str:
    are = "is" if count == 1 else "are"
    return f"{count:,} of {elements:,} values {are} NaN or infinite"


def _unfit(tensor: torch.Tensor) -> str | None:
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided:
        return "it is stored sparse; only dense tensors are measured"
    if tensor.numel() == 0:
        return "it has no elements"
    if tensor.dtype not in _PLAIN and name not in _NARROW:
        return f"it holds {name}, and only floating-point weights are measured"
    return None


def _flat_chunks(tensor: torch.Tensor) -> Iterator[npt.NDArray[Any]]:
    precision = np.float64 if tensor.dtype == torch.float64 else np.float32
    for chunk in row_chunks(tensor.reshape(-1, 1), precision, elements=_CHUNK):
        yield chunk.reshape(-1)


def _stable_rank(tensor: torch.Tensor, found: Moments, seed: int) -> tuple[float, float]:
    if tensor.dim() < 2:
        return math.nan, math.nan
    matrix = tensor.reshape(tensor.shape[0], -1)
    null = random_stable_rank(*matrix.shape)
    if found.non_finite or found.largest == 0.0:
        return math.nan, null
    norm = spectral_norm(matrix, largest=found.largest, seed=seed)
    return (found.norm / norm) ** 2, null
