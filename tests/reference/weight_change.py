"""What the statistics of weight change are compared with: their definitions, in float64, with all temporaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Array = np.ndarray


def exact(weight: torch.Tensor | Array) -> Array:
    """The weights as float64, flat in their logical order."""
    tensor = torch.as_tensor(weight).detach()
    wide = tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)  # float8 converts to no other type
    return wide.to(torch.float64).numpy().reshape(-1)


def change_statistics(
    before: Any,  # noqa: ANN401 - tensors or arrays
    after: Any,  # noqa: ANN401
    *,
    start: Any = None,  # noqa: ANN401
    previous: Any = None,  # noqa: ANN401
    zero: str = "skip",
) -> dict[str, float]:
    """Every figure by its definition; those whose weights are not given are absent."""
    old, new = exact(before), exact(after)
    change = new - old
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = {
            "ratio_l1": float(np.abs(change).sum() / np.abs(old).sum()),
            "elementwise": _elementwise(np.abs(change), np.abs(old), zero),
            "ratio_l2": float(length(change) / length(old)),
            "median": float(np.median(np.abs(change[old != 0]) / np.abs(old[old != 0]))) if old.any() else np.nan,
            "zeros": float((old == 0).sum()),
        }
        if previous is not None:
            last = old - exact(previous)
            found["cosine"] = float((last / length(last)) @ (change / length(change)))
        if start is not None:
            first = exact(start)
            found["from_start"] = float(np.abs(new - first).sum() / np.abs(first).sum())
            found["angle_from_start"] = angle(first, new)
    return found


def length(vector: Array) -> Any:  # noqa: ANN401 - a float64
    """The Euclidean norm, scaled so that no square overflows or underflows."""
    largest = np.abs(vector).max(initial=0)
    return largest * np.sqrt(((vector / largest) ** 2).sum()) if largest > 0 else np.float64(0)


def angle(first: Array, last: Array) -> float:
    """The angle between two vectors, from the difference and the sum of their directions (Kahan)."""
    if not (first.any() and last.any()):
        return float("nan")
    one, other = first / length(first), last / length(last)
    return float(2 * np.arctan2(length(one - other), length(one + other)))


def _elementwise(moved: Array, weight: Array, zero: str) -> float:
    if zero == "inf":  # the paper's code: torch.mean(torch.abs(d) / torch.abs(w))
        return float(np.mean(moved / weight))
    if zero == "eps":
        return float(np.mean(moved / np.where(weight == 0, 1e-8, weight)))
    kept = weight != 0
    return float(np.mean(moved[kept] / weight[kept])) if kept.any() else float("nan")
