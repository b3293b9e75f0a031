"""Kept weights on an accelerator: a record is a few launches, however many tensors there are, and one copy of sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch

from weightatlas.change.recording.kept import Amounts, Kept
from weightatlas.change.summing.device_sums import CHUNK, ROW, row_sums
from weightatlas.change.summing.sums import SUMS, ZEROS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from weightatlas.change.recording.kept import Fetch
    from weightatlas.change.recording.local_parts import LocalPart


class _Stretch(NamedTuple):
    """Where a part of a tensor goes in the buffer of a chunk."""

    tensor: int
    low: int
    high: int
    place: torch.Tensor


class _Chunk(NamedTuple):
    low: int
    high: int
    stretches: tuple[_Stretch, ...]


class DeviceKept(Kept):
    """Weights kept on an accelerator; beside them a buffer for one chunk of the weights as they are now.

    Args:
        parts: what this process holds of each parameter.
        dtype: to keep them in.
        device: to keep them on.
        with_start: keep the first weights too.
        with_previous: keep the weights of two records before too.
        compiled: let `torch.compile` fuse the sums of a chunk: fewer launches for some seconds of compiling.
        chunk: elements gone through at a time, a multiple of `ROW`.
    """

    is_immediate: ClassVar[bool] = False

    def __init__(
        self,
        parts: Sequence[LocalPart],
        *,
        dtype: torch.dtype,
        device: torch.device,
        with_start: bool = False,
        with_previous: bool = False,
        compiled: bool = False,
        chunk: int = CHUNK,
    ) -> None:
        super().__init__(
            parts, dtype=dtype, device=device, with_start=with_start, with_previous=with_previous, align=ROW
        )
        rows = np.diff(self.offsets) // ROW
        self._padding = np.diff(self.offsets) - np.array(self.lengths, dtype=int)
        self._owners = torch.from_numpy(np.repeat(np.arange(len(rows)), rows)).to(device)
        self._now = torch.zeros(min(chunk, self.offsets[-1]), dtype=dtype, device=device)
        self._chunks = tuple(self._planned(chunk))
        self._row_sums = torch.compile(row_sums) if compiled else row_sums

    def record(self) -> Fetch:
        """Launch what measures and keeps; only what is given back waits for it."""
        flats = self.current()
        knows_previous = self.knows_previous
        sums = torch.zeros((len(self.parts), SUMS), dtype=torch.float64, device=self.before.device)
        for chunk in self._chunks:
            self._measure(chunk, flats, sums, knows_previous=knows_previous)
        self.records += 1
        problems = dict(self.problems)
        fetched = Fetched(sums)

        def amounts() -> Amounts:
            found = fetched.wait()
            found[:, ZEROS] -= self._padding  # what fills a tensor's last row is zeros that are no weights
            return Amounts(found, self.lengths, knows_previous=knows_previous, problems=problems)

        return amounts

    def _measure(
        self, chunk: _Chunk, flats: Sequence[torch.Tensor], sums: torch.Tensor, *, knows_previous: bool
    ) -> None:
        now = self._now[: chunk.high - chunk.low].zero_()
        stretches = [stretch for stretch in chunk.stretches if flats[stretch.tensor].numel()]
        if stretches:
            torch._foreach_copy_(
                [stretch.place for stretch in stretches],
                [flats[stretch.tensor][stretch.low : stretch.high] for stretch in stretches],
                non_blocking=True,
            )
        before = self.before[chunk.low : chunk.high]
        start = None if self.start is None else self.start[chunk.low : chunk.high]
        previous = None if self.previous is None else self.previous[chunk.low : chunk.high]
        found = self._row_sums(
            before.view(-1, ROW),
            now.view(-1, ROW),
            None if start is None else start.view(-1, ROW),
            previous.view(-1, ROW) if previous is not None and knows_previous else None,
        )
        sums.index_add_(0, self._owners[chunk.low // ROW : chunk.high // ROW], found)
        if previous is not None:
            previous.copy_(before)
        before.copy_(now)

    def _planned(self, size: int) -> Iterator[_Chunk]:
        for low in range(0, self.offsets[-1], size):
            high = min(low + size, self.offsets[-1])
            stretches = []
            for index, (offset, length) in enumerate(zip(self.offsets, self.lengths, strict=False)):
                first, last = max(offset, low), min(offset + length, high)
                if first < last:
                    place = self._now[first - low : last - low]
                    stretches.append(_Stretch(index, first - offset, last - offset, place))
            yield _Chunk(low, high, tuple(stretches))


class Fetched:
    """A tensor on its way to the host, without anyone waiting for it.

    Args:
        tensor: on any device.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self._event: torch.Event | None = None
        self._host = tensor
        if tensor.device.type != "cpu":
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            module = torch.get_device_module(tensor.device)
            self._event = module.Event()
            self._event.record(module.current_stream(tensor.device))

    def wait(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Give its values once they are there."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.numpy()
