"""The weights of the record before, kept flat beside a training, and what a new record measures against them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from weightatlas.change.summing.sums import SUMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from weightatlas.change.recording.local_parts import LocalPart

    Fetch = Callable[[], "Amounts"]  # gives what a record came to; waits for the device if it is not there yet

Axes = tuple[int, ...]


class Amounts:
    """What a record came to, tensor by tensor.

    Attributes:
        sums: (tensors, `SUMS`) float64.
        medians: of the ratios of each, or None where they were not asked for.
        elements: that were measured of each.
        knows_previous: whether the sums know the update before.
        problems: by the position of a tensor, why it was not measured.
    """

    __slots__ = ("elements", "knows_previous", "medians", "problems", "sums")

    def __init__(
        self,
        sums: npt.NDArray[np.float64],
        elements: Sequence[int],
        *,
        medians: Sequence[float] | None = None,
        knows_previous: bool = False,
        problems: dict[int, str] | None = None,
    ) -> None:
        """Hold them."""
        self.sums = sums
        self.elements = tuple(elements)
        self.medians = medians
        self.knows_previous = knows_previous
        self.problems = dict(problems or {})


class Kept(ABC):
    """Weights of an earlier moment, flat, one after the other in one buffer of one type on one device.

    Each lies there in the order in which it lies in memory, so that it is copied and compared without being laid out
    anew. Subclasses measure.

    Args:
        parts: what this process holds of each parameter.
        dtype: to keep them in.
        device: to keep them on.
        with_start: keep the first weights too.
        with_previous: keep the weights of two records before too.
        align: each begins at a multiple of so many elements; zeros stand between.
    """

    is_immediate: ClassVar[bool]
    """Whether a record is there when `record` returns."""

    def __init__(
        self,
        parts: Sequence[LocalPart],
        *,
        dtype: torch.dtype,
        device: torch.device,
        with_start: bool = False,
        with_previous: bool = False,
        align: int = 1,
    ) -> None:
        self.parts = tuple(parts)
        self.problems: dict[int, str] = {}
        weights = [part.take() for part in self.parts]
        self.lengths = [weight.numel() for weight in weights]
        padded = [-(-length // align) * align for length in self.lengths]
        self.offsets = np.concatenate([[0], np.cumsum(padded)]).astype(int).tolist()
        self._shapes = [tuple(weight.shape) for weight in weights]
        self._axes = [memory_axes(weight) for weight in weights]
        self.before = torch.zeros(self.offsets[-1], dtype=dtype, device=device)
        self._copy_in([weight.permute(axes).reshape(-1) for weight, axes in zip(weights, self._axes, strict=True)])
        self.start = self.before.clone() if with_start else None
        self.previous = torch.empty_like(self.before) if with_previous else None
        self.records = 0

    @property
    def knows_previous(self) -> bool:
        """Whether `previous` holds weights already."""
        return self.previous is not None and self.records > 0

    def stretch(self, buffer: torch.Tensor, index: int) -> torch.Tensor:
        """Give one tensor's elements of a buffer, flat."""
        return buffer[self.offsets[index] : self.offsets[index] + self.lengths[index]]

    def keep(self) -> None:
        """Take the weights as they are now for the first, and measure nothing."""
        self._copy_in(self.current())
        self.start = None if self.start is None else self.before.clone()
        self.records = 0

    def current(self) -> list[torch.Tensor]:
        """Give the weights as they are now, flat, as they lie in memory; empty where one is no longer what it was."""
        return [self._flat(index, part.take()) for index, part in enumerate(self.parts)]

    @abstractmethod
    def record(self) -> Fetch:
        """Measure the weights as they are now against those kept, and keep them instead."""

    def _copy_in(self, flats: Sequence[torch.Tensor]) -> None:
        present = [(self.stretch(self.before, index), flat) for index, flat in enumerate(flats) if flat.numel()]
        if present:
            places, values = zip(*present, strict=True)
            torch._foreach_copy_(list(places), list(values))

    def _flat(self, index: int, weight: torch.Tensor) -> torch.Tensor:
        if weight.numel() != self.lengths[index] or tuple(weight.shape) != self._shapes[index]:
            self.problems[index] = f"its shape here was {self._shapes[index]} and is {tuple(weight.shape)}"
        if index in self.problems:
            return weight.new_empty(0)
        axes = memory_axes(weight)
        if axes != self._axes[index]:
            self._lay_out(index, axes)
        return weight.permute(axes).reshape(-1)

    def _lay_out(self, index: int, axes: Axes) -> None:
        """Bring what is kept of one tensor into the order in which it lies in memory now."""
        shape, old = self._shapes[index], self._axes[index]
        back = [old.index(axis) for axis in range(len(old))]
        for buffer in (self.before, self.start, self.previous):
            if buffer is not None:
                flat = self.stretch(buffer, index)
                weight = flat.view([shape[axis] for axis in old]).permute(back)
                flat.copy_(weight.permute(axes).reshape(-1).clone())
        self._axes[index] = axes


def memory_axes(weight: torch.Tensor) -> Axes:
    """Give the axes of a tensor in the order in which it lies in memory, the slowest first.

    Example:
        >>> memory_axes(torch.empty(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
        (0, 2, 3, 1)
    """
    if weight.is_contiguous():
        return tuple(range(weight.dim()))
    return tuple(sorted(range(weight.dim()), key=lambda axis: (weight.stride(axis), weight.shape[axis]), reverse=True))


def nothing_summed(tensors: int) -> npt.NDArray[np.float64]:
    """Give (tensors, `SUMS`) zeros."""
    return np.zeros((tensors, SUMS))
