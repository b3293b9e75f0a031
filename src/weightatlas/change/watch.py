"""Watch a running training for layers that stop, one record after another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


class StoppedWatch:
    """Tells at each record which layers have just stopped; keeps three numbers a layer and no history.

    After the last record it knows what `stopped` would say of the whole run.

    Example:
        >>> watch = StoppedWatch(["stem", "head"], records=2)
        >>> [watch.add(step, [1e-3, change]) for step, change in [(0, 2e-3), (10, 1e-6), (20, 0.0), (30, 0.0)]]
        [(), (), ('head',), ()]
        >>> watch.stopped_at
        {'head': 10}
    """

    def __init__(self, names: Sequence[str], *, below: float = 0.1, records: int = 5) -> None:
        """Watch layers by their names; options as of `stopped`.

        Raises:
            ValueError: an option is out of range.
        """
        check(np.empty((0, 0)), below, records)
        self._names = tuple(names)
        self._below = below
        self._records = records
        self._since: list[int | None] = [None] * len(self._names)
        self._quiet = np.zeros(len(self._names), dtype=np.int64)

    @property
    def stopped_at(self) -> dict[str, int]:
        """The layers that have stopped by now, with the first step of their stretch below."""
        quiet = zip(self._names, self._since, self._quiet, strict=True)
        return {name: since for name, since, count in quiet if since is not None and count >= self._records}

    def add(self, step: int, change: npt.ArrayLike) -> tuple[str, ...]:
        """Take in one record and name the layers that have stopped with it.

        A layer that moves again and stops again is named again.

        Args:
            step: of the record.
            change: (layers,) relative weight change, at least 0; NaN where it is not known.

        Raises:
            ValueError: there is not one value for each layer, or one is negative.
        """
        values = np.asarray(change, dtype=np.float64)
        if values.shape != (len(self._names),):
            message = f"a record has {len(self._names)} values, one for each layer; got shape {values.shape}"
            raise ValueError(message)
        check(values, self._below, self._records)
        reference = moving_median(values, below=self._below)
        if math.isnan(reference):
            return ()
        just: list[str] = []
        for index in np.flatnonzero(~np.isnan(values)):
            if values[index] / reference >= self._below:
                self._quiet[index], self._since[index] = 0, None
                continue
            self._quiet[index] += 1
            if self._quiet[index] == 1:
                self._since[index] = step
            if self._quiet[index] == self._records:
                just.append(self._names[index])
        return tuple(just)


def moving_median(change: npt.ArrayLike, *, below: float = 0.1) -> float:
    """The median change of the layers that move, however many others are frozen.

    Let q be the upper quartile of the changes above 0 (the lower of two values, where it falls between them). Layers
    with a change of `below` q at least move; the median is theirs. Layers that are frozen for good have a change of 0
    and never count. Of layers that still drift a little, up to three quarters may be frozen (less where there are few
    layers); the plain median would call them all moving as soon as half of them are. A single layer that moves far more
    than all others does not decide, as it would if the largest change took the place of q.

    Args:
        change: (layers,) at least 0; NaN and infinity are left out.
        below: the share of q that counts as moving.

    Returns:
        The median, or NaN where no layer moves.

    Example:
        >>> moving_median([3e-3, 2e-3, 1e-3, 1e-9, 0.0, 0.0, 0.0])
        0.002
    """
    values = np.asarray(change, dtype=np.float64)
    moving = values[(values > 0) & np.isfinite(values)]
    if not len(moving):
        return math.nan
    upper = float(np.quantile(moving, 0.75, method="lower"))
    return float(np.median(moving[moving >= below * upper]))


def check(values: Array, below: float, records: int) -> None:
    """Refuse changes and options that mean nothing.

    Raises:
        ValueError: a change is negative, or an option is out of range.
    """
    if (values < 0).any():
        message = "a relative weight change is 0 or more; some are negative"
        raise ValueError(message)
    if not 0 < below < 1:
        message = f"below must lie between 0 and 1, not {below}"
        raise ValueError(message)
    if records < 1:
        message = f"records must be 1 or more, not {records}"
        raise ValueError(message)
