"""Recording in training: the channels before every nonlinearity, on the batches that the training sees."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.conditioning.records import RECORD
from weightatlas.conditioning.singularities import DEAD, NEAR_DEAD, Listener, channel_statistics, check_thresholds
from weightatlas.errors import SourceError
from weightatlas.evaluation.nonlinearities import Point, nonlinearities, uncovered
from weightatlas.recording.processes import rank_and_world
from weightatlas.recording.record_file import RecordFile
from weightatlas.recording.schedules import Every, forward, schedule
from weightatlas.result import plain

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from torch import nn

    from weightatlas.conditioning.singularities import ChannelStatistics
    from weightatlas.result import Row

    Log = Callable[[dict[str, float], int], object]

FIGURES: Final = ("mean_distance", "std_distance", "dead", "near_dead", "least_positive")
"""What a record has of each point; see `ChannelStatistics`."""

IMAGE_AXES: Final = 3


class SingularityWarning(UserWarning):
    """Recording had to stop; the training goes on."""


class Recorder:
    """Record elimination singularities of a network while it is trained.

    Every so many steps it looks at the passes forward that lead to that step, in training mode: a record is of the very
    batches, and the very statistics, that the step is made from. In between there is no hook on the network and nothing
    is computed; the device is waited for in `step` after a recorded step only. Passes in evaluation mode are left out.
    With accumulated gradients a record is of all the passes of its step.

    In data-parallel training the first process records its own share of the batch, and `step` returns at once in the
    others; nothing is communicated. A compiled network runs uncompiled while a step is recorded.

    A full disk does not end a training, nor does a network that cannot be followed: recording stops with a
    `SingularityWarning`.

    Args:
        model: in training; compiled and wrapped ones too.
        path: of a file of JSON lines, which is only ever appended to; what a resumed training records goes behind what
            is there, and `read_rows` gives it back. None keeps rows in `rows` alone.
        every: record every so many steps, at steps 1, 2, 4, 8 and so on ("log"), or as a schedule of `log_spaced`.
        at: the step that the training stands at, of which no update is awaited any more; by default where the file
            ends, or 0.
        dead: threshold of P(x > 0) for dead channels.
        near_dead: threshold for nearly dead ones.
        log: takes a record as `{"mean_distance/bn1": 0.1, ...}` and its step, as trackers do.

    Attributes:
        rows: those that this recorder has made.
        latest: the points of the last record, channel by channel.

    Raises:
        SourceError: the file is none of ours or cannot be written; the network is scripted.
        ValueError: an option is out of its range.

    **Source:** the definitions are those of `singularities`, and ours.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.BatchNorm1d(1), torch.nn.ReLU())
        >>> with Recorder(network, every=2) as recorder:
        ...     for step in range(1, 5):
        ...         outputs = network(torch.tensor([[-1.0], [1.0]]))  # backward, optimizer.step()
        ...         rows = recorder.step(step)
        >>> [(row["step"], row["layer"], row["mean_distance"], row["least_positive"]) for row in recorder.rows]
        [(2, '0', 0.0, 0.5), (4, '0', 0.0, 0.5)]
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | os.PathLike[str] | None = None,
        *,
        every: Every = 100,
        at: int | None = None,
        dead: float = DEAD,
        near_dead: float = NEAR_DEAD,
        log: Log | None = None,
    ) -> None:
        check_thresholds(dead, near_dead)
        self._following = schedule(every)
        self._thresholds = (dead, near_dead)
        self._log = log
        self._model = model
        self.rows: list[Row] = []
        self.latest: tuple[ChannelStatistics, ...] = ()
        self._called: int | None = None
        self._watch: _Watch | None = None
        self._file: RecordFile | None = None
        self._begun = False
        self._given = at
        self._at = self._next = 0
        self._is_on = rank_and_world()[0] == 0
        if self._is_on:
            _Watch(model).close()  # what cannot be followed is said now, not in the middle of a training
            self._file = None if path is None else RecordFile(path, RECORD)
            last = None if self._file is None else self._file.last_step
            self._at = (last or 0) if at is None else at
            self._next = self._following(self._at)
            self._open_if_due(self._at)

    def step(self, step: int) -> list[Row] | None:
        """Say that an update was made; call it after each.

        Args:
            step: how many updates have been made.

        Returns:
            The rows of a record, where this step was recorded.

        Raises:
            ValueError: the step is less than in the call before.
        """
        called, self._called = self._called, forward(step, after=self._called)
        if not self._is_on or step == (self._given if called is None else called):
            return None
        if self._watch is not None or (called is None and step <= self._at):  # recorded now, or rolled back
            self._next = self._following(step)
        rows = self._finished(step)
        self._open_if_due(step)
        return rows or None

    def close(self) -> None:
        """Take the hooks off and close the file; passes whose step was not made are no record."""
        self._is_on = False
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        """Use it until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever ended the block."""
        self.close()

    def _open_if_due(self, step: int) -> None:
        if self._is_on and step + 1 >= self._next:
            self._watch = _Watch(self._model)

    def _finished(self, step: int) -> list[Row]:
        """Make the record of the passes that were watched."""
        watch, self._watch = self._watch, None
        if watch is None:
            return []
        watch.close()
        if watch.problem is not None:
            self._give_up(watch.problem)
            return []
        dead, near_dead = self._thresholds
        self.latest = tuple(
            channel_statistics(point, watch.sums, dead=dead, near_dead=near_dead, seed=0, resamples=0)
            for point in watch.sums.points
        )
        rows = [_row(step, statistics) for statistics in self.latest]
        self.rows += rows
        self._write(step, rows)
        if self._log is not None and rows:
            figures = {f"{figure}/{row['layer']}": row[figure] for row in rows for figure in FIGURES}
            self._log({name: value for name, value in figures.items() if value is not None}, step)
        return rows

    def _write(self, step: int, rows: list[Row]) -> None:
        if self._file is None:
            return
        try:
            if not self._begun:
                self._file.begin({"at": step - 1})
                self._begun = True
            self._file.append(rows)
        except SourceError as error:
            self._give_up(str(error))

    def _give_up(self, problem: str) -> None:
        self.close()
        message = f"the training goes on and its singularities are not recorded any longer: {problem}"
        warnings.warn(message, SingularityWarning, stacklevel=5)


class _Watch:
    """Listens to a network from one step to the next."""

    def __init__(self, model: nn.Module) -> None:
        self.sums = Listener(by_batch=True)
        self.problem: str | None = None
        self._root = uncovered(model)
        self._is_inside = False
        self._stack = ExitStack()
        self._stack.enter_context(nonlinearities(model, self._listen))
        handle = self._root.register_forward_pre_hook(self._begin, with_kwargs=True)
        self._stack.callback(handle.remove)
        handle = self._root.register_forward_hook(self._end, always_call=True)
        self._stack.callback(handle.remove)

    def close(self) -> None:
        self._stack.close()

    def _begin(self, _module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.sums.examples = examples_in(arguments, named)
        self._is_inside = True

    def _end(self, *_: object) -> None:
        self._is_inside = False

    def _listen(self, point: Point, inputs: torch.Tensor) -> None:
        if self.problem is not None or not self._root.training:
            return
        if not self._is_inside:  # a part of the network is called by itself
            self.sums.examples = max(1, len(inputs))
        try:
            self.sums(point, inputs)
        except (RuntimeError, ValueError) as error:
            self.problem = f"{point.layer}: {error}"


def examples_in(arguments: tuple[Any, ...], named: dict[str, Any]) -> int:
    """Count the examples that a network is called with: the first axis of the first tensor, or images in a list.

    A list whose first tensor has other than three axes is a batch in parts: what Lightning hands its module under
    data parallelism.

    Example:
        >>> examples_in((torch.zeros(4, 3, 8, 8),), {})
        4
        >>> examples_in(([torch.zeros(3, 8, 8), torch.zeros(3, 6, 9)],), {})  # images of their own sizes
        2
        >>> examples_in(([torch.zeros(4, 3, 8, 8), torch.zeros(4)], 0), {})  # inputs and targets
        4
    """
    for value in (*arguments, *named.values()):
        if isinstance(value, torch.Tensor) and value.ndim:
            return max(1, len(value))
        if isinstance(value, list | tuple) and value and isinstance(value[0], torch.Tensor):
            return len(value) if value[0].ndim == IMAGE_AXES else examples_in(tuple(value), {})
    return 1


def _row(step: int, statistics: ChannelStatistics) -> Row:
    figures = {figure: plain(getattr(statistics, figure)) for figure in FIGURES}
    return {
        "step": step,
        "layer": statistics.layer,
        "function": statistics.function,
        "norm": statistics.norm,
        "channels": statistics.channels,
        "examples": statistics.examples,
        "passes": statistics.units,
        **figures,
        "skipped": statistics.skipped,
    }
