"""Warnings while a training runs: a layer that has stopped learning, a record that cannot be kept any longer."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Final

from weightatlas.change.watch import StoppedWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    OnStopped = Callable[[str, int], object]

BELOW: Final = 0.1
"""The share of the network's change below which a layer stands still, as in `stopped`."""


class WeightChangeWarning(UserWarning):
    """A layer has stopped learning, or recording had to stop."""


class StoppedAlerts:
    """Tells once of each layer that has stopped; again only where it had moved in between.

    Args:
        names: of the layers.
        records: for how many records a layer must stand still.
        on_stopped: takes a layer's name and the first step at which it stood still; by default a warning does.

    Raises:
        ValueError: `records` is less than 1.

    Example:
        >>> alerts = StoppedAlerts(["stem", "head"], records=2, on_stopped=print)
        >>> for step in range(1, 5):
        ...     alerts.see(step, [1e-3, 1e-3 if step < 2 else 0.0])
        head 2
    """

    def __init__(self, names: Sequence[str], *, records: int, on_stopped: OnStopped | None = None) -> None:
        self._watch = StoppedWatch(names, below=BELOW, records=records)
        self._records = records
        self._on_stopped = on_stopped or self._warn

    def see(self, step: int, ratios: Sequence[float | None]) -> None:
        """Take in the relative weight changes of one record, None where one is not known."""
        just = self._watch.add(step, [math.nan if ratio is None else ratio for ratio in ratios])
        for name in just:
            self._on_stopped(name, self._watch.stopped_at[name])

    def _warn(self, name: str, step: int) -> None:
        message = (
            f"{name} has stopped learning at step {step:,}: for {self._records} records it has changed less than "
            f"{BELOW:g} times as much as the median of the layers that move"
        )
        warnings.warn(message, WeightChangeWarning, stacklevel=6)
