"""Mean, deviation and share of positive values of each channel, summed as batches go by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from weightatlas.evaluation.origins import Affine

    Array = npt.NDArray[np.float64]

BLOCKS: Final = 64
"""Into how many blocks the examples are dealt: their means show how far figures scatter from example to example."""

_AT_ONCE: Final = {"cpu": 1 << 21, "cuda": 1 << 26}
"""Values that are taken to double precision at once: 16 MiB where memory is shared, 512 MiB on a GPU."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Means over examples, block by block; each example counts alike, whatever its size.

    Attributes:
        weights: float64 (blocks,), examples in each block.
        means: float64 (blocks, channels), of x.
        squares: float64 (blocks, channels), of x^2.
        positives: float64 (blocks, channels), of the share of places with x > 0, 0 to 1.
        units: how many independent ones the examples are: as many, or as many as batches where a batch is one.
        unusable: examples with a value that is no finite number.
    """

    weights: Array
    means: Array
    squares: Array
    positives: Array
    units: int
    unusable: int = 0

    @property
    def examples(self) -> int:
        """How many were summed."""
        return int(self.weights.sum())

    @property
    def mean(self) -> Array:
        """Of each channel: float64 (channels,)."""
        return np.average(self.means, axis=0, weights=self.weights)

    @property
    def std(self) -> Array:
        """Population deviation over examples and places: float64 (channels,)."""
        return deviation(self.mean, np.average(self.squares, axis=0, weights=self.weights))

    @property
    def positive(self) -> Array:
        """P(x > 0): float64 (channels,)."""
        return np.average(self.positives, axis=0, weights=self.weights)

    def without(self, affine: Affine, bare: Moments | None = None) -> Moments:
        r"""Undo an affine map, x = weight * z + bias, on the moments: exactly, without the values.

        E z = (E x - bias) / weight, and E z^2 = (E x^2 - 2 bias E x + bias^2) / weight^2. Where the weight is 0 the
        moments of z itself stand in, or NaN where they are not given.

        Args:
            affine: the map, (channels,).
            bare: moments of z for the channels `affine.zeros`.

        Example:
            >>> import torch
            >>> from weightatlas.evaluation.origins import Affine
            >>> ones = np.ones((1, 1))
            >>> given = Moments(np.ones(1), 5 * ones, 29 * ones, ones, 1)  # mean 5, variance 4
            >>> bare = given.without(Affine(torch.tensor([2.0]), torch.tensor([5.0])))
            >>> bare.mean, bare.std
            (array([0.]), array([1.]))
        """
        channels = self.means.shape[1]
        weight, bias = (_doubles(affine.weight, 1.0, channels), _doubles(affine.bias, 0.0, channels))
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (self.means - bias) / weight
            squares = (self.squares - 2 * bias * self.means + bias**2) / weight**2
        zeros = np.flatnonzero(weight == 0)
        if len(zeros):
            means[:, zeros] = np.nan if bare is None else bare.means
            squares[:, zeros] = np.nan if bare is None else bare.squares
        return replace(self, means=means, squares=squares, positives=np.full_like(means, np.nan))


class ChannelMoments:
    """Adds batches up, on the device where they are; nothing waits for it until `moments`.

    Args:
        by_batch: whether a batch is one independent unit, as in training, where its examples share statistics; else
            each example is.

    Example:
        >>> sums = ChannelMoments()
        >>> sums.add(torch.tensor([[1.0, -1.0], [3.0, -3.0]]), axis=1, examples=2)
        >>> sums.moments().mean, sums.moments().std, sums.moments().positive
        (array([ 2., -2.]), array([1., 1.]), array([1., 0.]))
    """

    def __init__(self, *, by_batch: bool = False) -> None:
        self._by_batch = by_batch
        self._sums: torch.Tensor | None = None
        self._seen = self._batches = 0

    @property
    def is_begun(self) -> bool:
        """Whether anything was added."""
        return self._sums is not None

    def add(self, values: torch.Tensor, *, axis: int, examples: int) -> None:
        """Add a batch.

        Args:
            values: floating point, at least two axes, the first of which goes over examples; where it is a multiple of
                them (windows, frames), as many in a row belong to one. Where it is none (proposals of a detector), each
                of its places is taken for an example.
            axis: of the channels.
            examples: in the batch.

        Raises:
            ValueError: the channels are not as many as before.
        """
        values = values.detach().movedim(axis, -1)
        rows, channels = values.shape[0], values.shape[-1]
        if not values.numel():
            return
        count = examples if rows % examples == 0 else rows
        values = values.reshape(count, -1, channels)
        if values.device.type == "mps":  # it has no double precision
            values = values.cpu()
        if self._sums is None:
            self._sums = torch.zeros(BLOCKS, 5, channels, dtype=torch.float64, device=values.device)
        if channels != self._sums.shape[2]:
            message = f"a batch has {channels} channels where those before had {self._sums.shape[2]}"
            raise ValueError(message)
        at_once = max(1, _AT_ONCE.get(values.device.type, _AT_ONCE["cpu"]) // (values.shape[1] * channels))
        for start in range(0, count, at_once):
            each = _of_each(values[start : start + at_once])
            numbers = torch.arange(self._seen + start, self._seen + start + len(each), device=each.device)
            blocks = torch.full_like(numbers, self._batches) if self._by_batch else numbers
            self._sums.index_add_(0, blocks % BLOCKS, each)
        self._seen += count
        self._batches += 1

    def moments(self) -> Moments:
        """Give what was added so far.

        Raises:
            ValueError: nothing was.
        """
        if self._sums is None:
            message = "no batch was added"
            raise ValueError(message)
        sums: Any = self._sums.cpu().numpy()
        unusable = int(sums[:, 4, 0].sum())
        units = self._batches if self._by_batch else self._seen
        used = sums[sums[:, 0, 0] > 0]
        means = used[:, 1:4] / used[:, :1]
        return Moments(used[:, 0, 0], means[:, 0], means[:, 1], means[:, 2], units, unusable)


def deviation(mean: Array, square: Array) -> Array:
    """Standard deviation from E x and E x^2; rounding below 0 is 0."""
    return np.sqrt(np.maximum(square - mean**2, 0.0))


def _of_each(values: torch.Tensor) -> torch.Tensor:
    """What is added up of each example: 1, means of x, x^2 and x > 0, 0; of an unusable one 0, 0, 0, 0, 1."""
    doubles = values.to(torch.float64)
    means, squares = doubles.mean(1), doubles.square().mean(1)
    positives = (values > 0).sum(1).to(torch.float64) / values.shape[1]
    usable = squares.isfinite().all(1)[:, None]
    parts = torch.stack([torch.ones_like(means), means, squares, positives], dim=1)
    parts = torch.where(usable[:, None], parts, 0.0)
    return torch.cat([parts, (~usable).to(torch.float64).expand_as(means)[:, None]], dim=1)


def _doubles(values: torch.Tensor | None, default: float, channels: int) -> Array:
    if values is None:
        return np.full(channels, default)
    doubles: Array = values.detach().to("cpu", torch.float64).numpy()
    return doubles
