"""What the activations at the points of a network span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.degeneracy.row_factor import RowFactor, in_double
from weightatlas.errors import NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.points import NamedPoints

SAMPLE: Final = 64
"""Positions whose activations are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """The activations at a point, by the singular values of them all about a centre.

    Attributes:
        axis: of the features in the values.
        positions: (example, position) pairs.
        mean: (width,), the mean.
        centre: (width,), what they are taken about: the mean, or 0.
        values: (rank,), singular values over the root of `positions`, descending: their squares are eigenvalues of the
            Gram matrix.
        vectors: (width, rank), right singular vectors: eigenvectors of the Gram matrix.
        noise: singular values at or below this cannot be told from 0.
        sample: (rows, width), the first ones about the centre.
    """

    axis: int
    positions: int
    mean: torch.Tensor
    centre: torch.Tensor
    values: torch.Tensor
    vectors: torch.Tensor
    noise: float
    sample: torch.Tensor

    def kept(self, truncation: float) -> int:
        """How many singular values are above the noise and above `truncation` times the largest."""
        least = max(self.noise, truncation * float(self.values[:1].sum()))
        return int((self.values > least).sum())


class _Sums:
    """What one pass over the data finds at a point."""

    def __init__(self, axis: int, rows: torch.Tensor, dtype: torch.dtype) -> None:
        self.axis = axis
        self.precision = torch.finfo(dtype).eps
        self.sample = rows[:0]
        self.count = 0
        self.square = 0.0
        self.total = torch.zeros_like(rows[0])

    def add(self, rows: torch.Tensor) -> None:
        """Take in rows (positions, features)."""
        self.sample = torch.cat([self.sample, rows[: SAMPLE - len(self.sample)]])
        self.count += len(rows)
        self.square += float(rows.square().sum())
        self.total += rows.sum(0)


def activations(points: NamedPoints, batches: Iterable[Batch], *, center: bool = True) -> dict[str, Activations]:
    r"""Find what the activations at every point span.

    \(G = \frac{1}{nP} \sum_{x,s} (f_{xs} - c)(f_{xs} - c)^\top\) over n examples and P positions, c the mean or 0, by
    the singular values and vectors of the activations themselves, in float64. Singular values are right to
    \(\epsilon \sqrt{d}\) times the root mean square of |f|, with \(\epsilon\) the precision that the network computes
    in: so far sums of d rounded products are off. Where a point has more than `row_factor.WIDE` features, they are
    right to \(\sqrt{d \epsilon}\) times the largest.

    Args:
        points: of a network.
        batches: gone through twice, for the means and about them.
        center: about the mean.

    Returns:
        By the names of the points.

    Raises:
        NotFiniteError: activations are infinite or NaN.
    """
    sums: dict[str, _Sums] = {}
    for inputs, _ in batches:
        for name, values in points.values(inputs).items():
            rows = in_double(points.rows(name, values).flatten(0, 1))
            if not bool(torch.isfinite(rows).all()):
                message = f"the activations at {name} are not finite: check the inputs and the weights"
                raise NotFiniteError(message)
            if name not in sums:
                sums[name] = _Sums(points.axis(name, values), rows, values.dtype)
            sums[name].add(rows)
    means = {name: each.total / each.count for name, each in sums.items()}
    centres = {name: mean if center else torch.zeros_like(mean) for name, mean in means.items()}
    factors = {name: RowFactor(len(mean)) for name, mean in means.items()}
    for inputs, _ in batches:
        for name, values in points.values(inputs).items():
            factors[name].add(in_double(points.rows(name, values).flatten(0, 1)) - centres[name])
    found: dict[str, Activations] = {}
    for name, each in sums.items():
        singular, vectors = factors[name].singular()
        values = singular / each.count**0.5
        rounding = each.precision * len(means[name]) ** 0.5 * (each.square / each.count) ** 0.5
        noise = max(rounding, factors[name].noise * float(values[:1].sum()))
        sample = each.sample - centres[name]
        found[name] = Activations(each.axis, each.count, means[name], centres[name], values, vectors, noise, sample)
    return found
