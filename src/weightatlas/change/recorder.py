"""Recording in training: how much every layer changed since the record before, from the weights where they are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import torch

from weightatlas.change.recording.alerts import StoppedAlerts, WeightChangeWarning
from weightatlas.change.recording.kept_groups import Group, grouped, kept_groups
from weightatlas.change.recording.record_reading import RECORD
from weightatlas.change.recording.record_rows import figures_rows, sums_rows
from weightatlas.change.recording.watched import Selection, Tensors, watched
from weightatlas.change.summing.sums import Zero
from weightatlas.errors import SourceError
from weightatlas.recording.processes import rank_and_world
from weightatlas.recording.record_file import RecordFile, file_of_rank
from weightatlas.recording.schedules import Every, forward, schedule

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from torch import nn

    from weightatlas.change.recording.alerts import OnStopped
    from weightatlas.change.recording.kept import Fetch
    from weightatlas.result import Row

    Log = Callable[[dict[str, float], int], object]

RECORDS: Final = 5
"""For how many records a layer stands still before it is said to have stopped, as in `stopped`."""


class _Pending(NamedTuple):
    step: int
    since: int
    fetches: tuple[Fetch, ...]


class Recorder:
    """Record how much the layers of a model change while it is trained.

    A record holds for every layer what `statistics` gives of the weights at the record before and now: relative weight
    change sum |w' - w| / sum |w| first of all. Its rows, those of the table of steps, go to a file of JSON lines that
    is only ever appended to, and to `log`. `read_records` gives them back as a survey's result.

    The weights are read where they are. Kept beside the model is one copy of those that are recorded (one more with
    `with_previous`, one more with `with_start`). On a CPU compiled loops go over them; on an accelerator a record is
    few launches and one copy of sums, and nothing waits for the device until the next call of `step`.

    **Several processes.** Nothing is ever communicated, so that no process can wait for another: one may stop calling
    `step`, or die. In data-parallel training the first process records and `step` returns at once in the others. Where
    parameters are sharded (`fully_shard`, `FullyShardedDataParallel`, DTensors of tensor parallelism), each process
    records its own shards into a file of its own (`change.rank0.jsonl` beside `change.jsonl`), which `read_records`
    adds up; then there is nothing to hand to `log` or to warn of, and no median.

    **Rounded weights.** Where `keep_dtype` is coarser than the weights' own type, those now are rounded too before they
    are compared: a layer that stands still shows no change, and a weight that moves by u crosses a boundary of the
    spacing h with a probability of |u| / h, so that sums of magnitudes, `ratio_l1`, `elementwise` and `from_start`, are
    right on average. `ratio_l2`, `cosine`, `angle_from_start` and `median` are not, and are left out. The same holds
    of a model whose own weights are in half precision beside an optimizer that has them in full.

    A full disk does not end a training: recording stops with a `WeightChangeWarning`.

    Args:
        model: in training; compiled, wrapped and sharded ones too. Make the recorder after wrapping, before training.
        path: of the file; what a resumed training records goes behind what is there.
        every: record every so many steps, at steps 1, 2, 4, 8 and so on ("log"), or as a schedule of `log_spaced`.
        tensors: "weights", parameters of more than one dimension, as the paper has it, or "all".
        frozen: also those that require no gradient when the recorder is made; else they are named and left out. One
            that is frozen later goes on being recorded: it has stopped.
        with_start: also measure the distance from the first weights. A resumed training no longer has them: there it
            is null.
        with_previous: also measure the cosine between an update and the one before.
        median: also the median of elementwise ratios; weights must be kept on the CPU for it.
        zero: what `elementwise` does with weights of 0, as in `statistics`.
        keep_dtype: the type to keep weights in; their own by default.
        keep_device: where to keep them; beside the parameters by default.
        at: the step that the weights are of now. By default 0, or where the file ends; give it where a training is
            resumed from an earlier step: what the file has of later ones is then superseded.
        log: takes a record as `{"change/conv1": ratio_l1, ...}` and its step, as trackers do:
            `lambda row, step: wandb.log(row, step=step)`, `fabric.log_dict`, `accelerator.log`.
        warn_stopped: warn of a layer that has stopped by the definition of `stopped`, after so many records.
        on_stopped: takes the name of such a layer and the step at which it stopped, instead of a warning; after 5
            records if `warn_stopped` says nothing else.
        wait: let `step` wait for the device and write the record it has just made, rather than the one before. By
            default it does where there is a `log`: trackers refuse steps that lie behind.
        compiled: fuse the sums on an accelerator by `torch.compile`.

    Raises:
        SourceError: the file is none of ours or cannot be written, or there is nothing to record.
        ValueError: an option is none of those it can be.

    **Source:** WeightScale (Agrawal and others, 2022), equation 1, here of any two steps; the paper compares the ends
    of epochs.

    Example:
        >>> import tempfile
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> with Recorder(model, Path(tempfile.mkdtemp()) / "change.jsonl") as recorder:
        ...     for step in range(1, 3):  # after each update
        ...         _ = model.weight.data.mul_(2)
        ...         rows = recorder.step(step)
        >>> [(row["layer"], row["step"], row["ratio_l1"]) for row in rows]
        [('weight', 2, 1.0)]

        .. code-block:: python

            model, optimizer = fabric.setup(model, optimizer)  # or accelerator.prepare, fully_shard, torch.compile
            recorder = Recorder(model, "change.jsonl", every="log", log=lambda row, step: fabric.log_dict(row, step))
            for step, batch in enumerate(batches, start=1):
                ...  # forward, backward, optimizer.step()
                recorder.step(step)
            recorder.close()
            read_records("change.jsonl").frame()
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | os.PathLike[str],
        *,
        every: Every = 1,
        tensors: Tensors = "weights",
        frozen: bool = False,
        with_start: bool = False,
        with_previous: bool = False,
        median: bool = False,
        zero: Zero = "skip",
        keep_dtype: torch.dtype | None = None,
        keep_device: torch.device | str | None = None,
        at: int | None = None,
        log: Log | None = None,
        warn_stopped: int | None = None,
        on_stopped: OnStopped | None = None,
        wait: bool | None = None,
        compiled: bool = False,
    ) -> None:
        _checked(tensors, zero, keep_dtype)
        self._following = schedule(every)
        self._at, self._log, self._zero = at, log, zero
        self._waits = log is not None if wait is None else wait
        self._selection = watched(model, tensors=tensors, frozen=frozen)
        self._pending: _Pending | None = None
        self._groups: tuple[Group, ...] = ()
        self._file: RecordFile | None = None
        self._called: int | None = None
        self._since = self._next = 0
        self._alerts: StoppedAlerts | None = None
        if warn_stopped is not None or on_stopped is not None:
            records = RECORDS if warn_stopped is None else warn_stopped
            self._alerts = StoppedAlerts(self._selection.names, records=records, on_stopped=on_stopped)
        if not self._selection.watched:
            raise SourceError(type(model).__name__, *_nothing(self._selection))
        self._is_sharded = any(each.part.is_sharded for each in self._selection.watched)
        mine = [each for each in self._selection.watched if each.part.counts]
        if not mine:
            return
        groups = grouped(mine, keep_device, keep_dtype, median=median)
        rank = rank_and_world()[0]
        self._file = RecordFile(file_of_rank(Path(path), rank) if self._is_sharded else path, RECORD)
        self._knows_start = with_start and self._file.last_step is None
        self._groups = kept_groups(
            groups, with_start=self._knows_start, with_previous=with_previous, median=median, compiled=compiled
        )

    def step(self, step: int) -> list[Row] | None:
        """Record, if this step is to be; call it after each update.

        A call with the step that the recorder began at takes the weights as they are then for the first.

        Args:
            step: how many updates have been made; the same step again does nothing.

        Returns:
            The rows that were written by this call, or None: on the CPU those of this step, on an accelerator those of
            the record before unless it waits.

        Raises:
            ValueError: the step is less than in the call before.
        """
        called, self._called = self._called, forward(step, after=self._called)
        if self._file is None:
            return None
        if called is None:
            self._begin(step)
        rows = self._finished()
        if step >= self._next and step > self._since and self._groups:
            self._measure(step)
            if self._waits or all(group.kept.is_immediate for group in self._groups):
                rows = rows + self._finished()
        return rows or None

    def close(self) -> list[Row] | None:
        """Write what has not been written yet, and let go of the file and of the weights kept.

        Returns:
            The rows that were written, or None.
        """
        rows = self._finished()
        self._groups = ()
        if self._file is not None:
            self._file.close()
            self._file = None
        return rows or None

    def __enter__(self) -> Self:
        """Use it until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever ended the block."""
        self.close()

    def _begin(self, step: int) -> None:
        """Say in the file what follows, now that the first call tells where the training stands."""
        last = None if self._file is None else self._file.last_step
        if self._at is None:  # a file that ends later than the training stands belongs to one that was rolled back
            self._since = 0 if last is None else last if last < step else step - 1
        else:
            self._since = self._at
        self._next = self._following(self._since)
        if step <= self._since:
            with torch.no_grad():
                for group in self._groups:
                    group.kept.keep()
        self._write(lambda file: file.begin(self._header()))

    def _measure(self, step: int) -> None:
        """Launch a record."""
        try:
            with torch.no_grad():
                fetches = tuple(group.kept.record() for group in self._groups)
        except SourceError as error:
            self._give_up(error)
            return
        self._pending = _Pending(step, self._since, fetches)
        self._since, self._next = step, self._following(step)

    def _header(self) -> dict[str, Any]:
        rank, world = rank_and_world()
        selection = self._selection
        return {
            "at": self._since,
            "rank": rank,
            "ranks": world,
            "is_sharded": self._is_sharded,
            "zero": self._zero,
            "with_start": self._knows_start,
            "tensors": [
                {"layer": each.layer, "tensor": each.tensor, "role": each.role, "shape": list(each.shape)}
                for each in selection.watched
            ],
            "skipped": [{"name": each.name, "reason": each.reason} for each in selection.skipped],
            "notes": list(selection.notes),
        }

    def _finished(self) -> list[Row]:
        """Write the record that has been made, and tell of it."""
        if self._pending is None:
            return []
        (step, since, fetches), self._pending = self._pending, None
        rows: list[Row] = []
        for group, fetch in zip(self._groups, fetches, strict=True):
            amounts = fetch()
            kept = group.kept.before.dtype
            if self._is_sharded:
                rows += sums_rows(group.watched, amounts, step=step, since=since, kept=kept)
                continue
            rows += figures_rows(
                group.watched,
                amounts,
                step=step,
                since=since,
                kept=kept,
                with_start=self._knows_start,
                zero=self._zero,
            )
        order = {each.tensor: place for place, each in enumerate(self._selection.watched)}
        rows.sort(key=lambda row: order[row["tensor"]])
        self._write(lambda file: file.append(rows))
        if self._is_sharded:
            return []
        self._tell(rows, step)
        return rows

    def _tell(self, rows: list[Row], step: int) -> None:
        ratios = [row["ratio_l1"] for row in rows]
        if self._log is not None:
            named = zip(self._selection.names, ratios, strict=True)
            self._log({f"change/{name}": ratio for name, ratio in named if ratio is not None}, step)
        if self._alerts is not None:
            self._alerts.see(step, ratios)

    def _write(self, write: Callable[[RecordFile], None]) -> None:
        if self._file is None:
            return
        try:
            write(self._file)
        except SourceError as error:
            self._give_up(error)

    def _give_up(self, error: SourceError) -> None:
        """Record no longer and say so; if this process ended, those that train with it would wait for it."""
        self._groups, self._pending = (), None
        if self._file is not None:
            self._file.close()
            self._file = None
        message = f"the training goes on and is not recorded any longer: {error}"
        warnings.warn(message, WeightChangeWarning, stacklevel=5)


def _checked(tensors: str, zero: str, keep_dtype: torch.dtype | None) -> None:
    for name, value, allowed in (("tensors", tensors, get_args(Tensors)), ("zero", zero, get_args(Zero))):
        if value not in allowed:
            message = f"{name} must be one of {', '.join(allowed)}, not {value!r}"
            raise ValueError(message)
    if keep_dtype is not None and not keep_dtype.is_floating_point:
        message = f"keep_dtype must be a floating-point type, not {keep_dtype}"
        raise ValueError(message)


def _nothing(selection: Selection) -> tuple[str, str]:
    """What is wrong where nothing is to be recorded, and what to do."""
    reasons = sorted({each.reason for each in selection.skipped})
    if not reasons:
        return "it has no parameters of more than one dimension", 'give tensors="all", or another model'
    remedy = "give frozen=True to record them" if any("frozen" in reason for reason in reasons) else "load it first"
    return f"nothing of it can be recorded ({'; '.join(reasons)})", remedy
