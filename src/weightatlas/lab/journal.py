"""A run's metrics as they come: collected on the device, checked, written and told several times a second."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.lab.breakdown import diverged
from weightatlas.lab.devices import first_alone, over_processes
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from lightning_fabric import Fabric

    from weightatlas.lab.plan import Plan
    from weightatlas.lab.records import RunFolder
    from weightatlas.lab.training import Log
    from weightatlas.result import Row

EVERY: Final = 16
"""Updates after which losses are fetched from the device and written: it must not wait for each of them."""

PATIENCE: Final = 0.25
"""Seconds after which they are, where fewer came together; one process alone can tell the time."""


class Journal:
    """What happened at each update of one process, and what all of them make of it.

    What goes wrong for the process that writes is raised in all.

    Attributes:
        seconds: spent on updates so far, over all resumptions.
    """

    def __init__(
        self, fabric: Fabric, folder: RunFolder | None, loggers: Sequence[Log], plan: Plan, progress: Progress
    ) -> None:
        """Begin at the first update; the first process alone writes, logs and tells."""
        first = fabric.is_global_zero
        self.seconds = 0.0
        self._fabric, self._plan = fabric, plan
        self._folder = folder if first else None
        self._loggers = loggers if first else ()
        self._progress = progress if first else silent
        self._losses = np.full(plan.steps, np.nan)
        self._waiting: list[tuple[int, torch.Tensor, float]] = []
        self._since = time.perf_counter()

    def losses(self) -> npt.NDArray[np.float64]:
        """The loss of every update, float64, (steps,)."""
        return self._losses

    def rewind(self, step: int, seconds: float) -> None:
        """Go on after `step` updates that took so many seconds; -1 forgets what was written before the first."""
        self.seconds = seconds
        folder = self._folder
        for row in first_alone(self._fabric, lambda: [] if folder is None else folder.rewind(step)):
            if "loss" in row:
                self._losses[row["step"] - 1] = row["loss"]
        self._since = time.perf_counter()

    def note(self, step: int, loss: torch.Tensor, learning_rate: float) -> None:
        """Take the loss of an update, and look at what has come together now and then."""
        self._waiting.append((step, loss, learning_rate))
        late = self._fabric.world_size == 1 and time.perf_counter() - self._since > PATIENCE
        if late or len(self._waiting) >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Fetch, check, write and tell the losses that wait.

        Raises:
            DivergedError: one of them is not finite.
        """
        if not self._waiting:
            return
        steps, losses, learning_rates = zip(*self._waiting, strict=True)
        self._waiting = []
        together = over_processes(self._fabric, torch.stack(losses), "mean")  # what all processes then act upon
        values = together.double().tolist()
        now = time.perf_counter()
        self.seconds += now - self._since
        rows: list[Row] = []
        for step, loss, learning_rate in zip(steps, values, learning_rates, strict=True):
            if not math.isfinite(loss):
                first_alone(self._fabric, lambda: self.write(rows))
                raise diverged(loss, step, learning_rate, self._folder)
            self._losses[step - 1] = loss
            row: Row = {"step": step, "loss": loss, "learning_rate": learning_rate, "seconds": round(self.seconds, 3)}
            epoch = self._plan.epoch(step)
            rows.append(row if epoch is None else row | {"epoch": epoch})
        first_alone(self._fabric, lambda: self.write(rows))
        self._progress(steps[-1], self._plan.steps, f"loss {values[-1]:.3f}")
        self._since = time.perf_counter()

    def pause(self) -> None:
        """Leave what happened since the last look, such as saving, out of the time."""
        self._since = time.perf_counter()

    def write(self, rows: list[Row]) -> None:
        """Append rows to the metrics and hand them to the loggers; in the first process alone."""
        if self._folder is not None:
            self._folder.log(rows)
        for row in rows:
            for log in self._loggers:
                log(row, row["step"])
