"""Kept weights on the CPU: the compiled loops go over the parameters where they are; nothing their size is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
import torch

from weightatlas.change.recording.kept import Amounts, Kept, nothing_summed
from weightatlas.change.summing.measuring import Asked, Measured, measure, nothing_measured
from weightatlas.change.summing.ratios import median_ratio
from weightatlas.change.summing.stored import Stored, viewed
from weightatlas.parallel import parallel_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.change.recording.kept import Fetch
    from weightatlas.change.recording.local_parts import LocalPart

PIECE: Final = 1 << 20
"""Elements that one thread goes through at a time: what is converted is converted piece by piece."""

WORTH_THREADS: Final = 1 << 22
"""Elements of a network from which on several threads save more than they cost."""


class _Piece(NamedTuple):
    tensor: int
    low: int
    high: int


class HostKept(Kept):
    """Weights kept in the host's memory.

    Args:
        parts: what this process holds of each parameter.
        dtype: to keep them in.
        with_start: keep the first weights too.
        with_previous: keep the weights of two records before too.
        median: also count ratios, for their median.
    """

    is_immediate: ClassVar[bool] = True

    def __init__(
        self,
        parts: Sequence[LocalPart],
        *,
        dtype: torch.dtype,
        with_start: bool = False,
        with_previous: bool = False,
        median: bool = False,
    ) -> None:
        super().__init__(
            parts, dtype=dtype, device=torch.device("cpu"), with_start=with_start, with_previous=with_previous
        )
        self._asked = Asked(median=median)
        self._staging: torch.Tensor | None = None
        self._pieces = [
            _Piece(index, low, min(low + PIECE, length))
            for index, length in enumerate(self.lengths)
            for low in range(0, length, PIECE)
        ]
        self._compile()

    def record(self) -> Fetch:
        """Measure and keep; everything is done when this returns."""
        flats = self._on_host(self.current())
        knows_previous = self.knows_previous

        def piece(place: _Piece) -> Measured:
            return self._piece(place, flats[place.tensor], knows_previous=knows_previous)

        pieces = [place for place in self._pieces if place.tensor not in self.problems]
        jobs = torch.get_num_threads() if self.before.numel() >= WORTH_THREADS else 1
        found = parallel_map(piece, pieces, jobs=jobs) if jobs > 1 else [piece(place) for place in pieces]
        amounts = self._added(pieces, found, knows_previous=knows_previous)
        self.records += 1
        return lambda: amounts

    def _piece(self, place: _Piece, flat: torch.Tensor, *, knows_previous: bool) -> Measured:
        """Sum one piece, and keep it while it is in the caches."""
        into = nothing_measured(self._asked)
        after = viewed(flat[place.low : place.high].to(self.before.dtype))
        before = self._kept(self.before, place)
        start = None if self.start is None else self._kept(self.start, place)
        previous = None if self.previous is None else self._kept(self.previous, place)
        measure(into, before, after, start=start, previous=previous if knows_previous else None, asked=self._asked)
        if previous is not None:
            _copy(previous, before)
        _copy(before, after)
        return into

    def _kept(self, buffer: torch.Tensor, place: _Piece) -> Stored:
        return viewed(self.stretch(buffer, place.tensor)[place.low : place.high])

    def _added(self, pieces: Sequence[_Piece], found: Sequence[Measured], *, knows_previous: bool) -> Amounts:
        sums = nothing_summed(len(self.parts))
        bins: dict[int, Any] = {}
        for place, measured in zip(pieces, found, strict=True):
            sums[place.tensor] += measured.sums
            if measured.bins is not None:
                bins[place.tensor] = bins.get(place.tensor, 0) + measured.bins
        medians = None
        if self._asked.median:
            medians = [median_ratio(bins[index]) if index in bins else np.nan for index in range(len(self.parts))]
        return Amounts(sums, self.lengths, medians=medians, knows_previous=knows_previous, problems=self.problems)

    def _on_host(self, flats: list[torch.Tensor]) -> list[torch.Tensor]:
        """Bring weights from an accelerator over in one go, and wait once."""
        devices = {flat.device for flat in flats if flat.device.type != "cpu"}
        if not devices:
            return flats
        if self._staging is None:
            self._staging = torch.empty(self.before.shape, dtype=self.before.dtype, pin_memory=True)
        brought = staged(flats, self._staging, self.offsets)
        for device in devices:
            torch.get_device_module(device).current_stream(device).synchronize()
        return brought

    def _compile(self) -> None:
        """Let the loops be compiled for these types now and not in the first record."""
        types = {part.take().dtype for part in self.parts}
        for dtype in types:
            after = viewed(torch.empty(0, dtype=dtype).to(self.before.dtype))
            empty = viewed(self.before[:0])
            measure(nothing_measured(self._asked), empty, after, start=empty, previous=empty, asked=self._asked)


def staged(flats: Sequence[torch.Tensor], staging: torch.Tensor, offsets: Sequence[int]) -> list[torch.Tensor]:
    """Copy flat tensors into stretches of a buffer, without waiting for it."""
    places = [staging[offset : offset + flat.numel()] for flat, offset in zip(flats, offsets, strict=False)]
    torch._foreach_copy_(places, list(flats), non_blocking=True)
    return places


def _copy(into: Stored, source: Stored) -> None:
    if isinstance(into, torch.Tensor):
        into.copy_(source if isinstance(source, torch.Tensor) else torch.from_numpy(source))
    else:
        np.copyto(into, source)
