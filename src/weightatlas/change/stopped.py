"""Which layers have stopped: their change stays far below that of the layers that still move, to the end of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.change.watch import check, moving_median

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Stopped:
    """Which layers have stopped, and since when.

    Attributes:
        names: of the layers.
        steps: of the records.
        below: a layer has stopped where its change is less than this part of the network's.
        records: for how many records, at least, to the end.
        reference: (records,) the median change of the layers that move; NaN where none does.
        relative: (layers, records) change over `reference` of its record; NaN where either is not known.
        undivided: (layers, records) change over the run's median of `reference`: schedules stay in.
        stopped_at: for each layer the first step from which `relative` stays below, or None.
        stopped_at_undivided: the same of `undivided`.
    """

    names: tuple[str, ...]
    steps: tuple[int, ...]
    below: float
    records: int
    reference: Array
    relative: Array
    undivided: Array
    stopped_at: tuple[int | None, ...]
    stopped_at_undivided: tuple[int | None, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of those that have stopped."""
        return tuple(name for name, step in zip(self.names, self.stopped_at, strict=True) if step is not None)


def stopped(
    curves: npt.ArrayLike,
    steps: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    below: float = 0.1,
    records: int = 5,
) -> Stopped:
    """Say from which recorded step on a layer hardly changes any more, while others do.

    Let r(l, t) be the change of layer l at record t, and m(t) the median change of the layers that move
    (`moving_median`). Layer l has stopped at the first step s such that r(l, t) < `below` m(t) at every record from s
    to the end that is known, and there are `records` of these at least. A schedule that all layers share changes r and
    m alike and stops none. A layer that moves again has not stopped; one that has never moved stopped at the first
    step. A layer that always moves less than a tenth as much as the others is called stopped, too: a ratio cannot tell
    them apart. Of a record at which no layer moves nothing is known.

    The same undivided: r(l, t) < `below` M, with M the median of m(t) over the run. Here a learning rate that falls far
    enough stops every layer; both together tell a layer that stopped from a run that ended.

    Args:
        curves: (layers, records) relative weight change, at least 0. Records of NaN are left out of the judgement of
            their layer; infinity (all weights were 0) counts as moving.
        steps: of the records, in their order.
        names: of the layers; by default their positions.
        below: the share of the network's change; a tenth of it is beyond the usual differences between layers.
        records: how many, at least, so that one quiet record at the end stops nothing.

    Returns:
        The first steps, and the ratios they rest on.

    Raises:
        ValueError: shapes do not fit, a value is negative, or an option is out of range.

    **Source:** the claim that layers converge where their change stays small is that of the relative weight change
    paper and of WeightScale (Agrawal et al. 2020 and 2022). Neither gives a criterion; this one is ours.

    Example:
        >>> curves = np.full((3, 8), 1e-3)
        >>> curves[2, 2:] = 1e-5
        >>> stopped(curves, range(0, 800, 100), names=["stem", "middle", "head"]).stopped_at
        (None, None, 200)
    """
    values = np.asarray(curves, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(steps):
        message = f"curves are layers x records, {len(steps)} steps; got shape {values.shape}"
        raise ValueError(message)
    names = [str(index) for index in range(len(values))] if names is None else names
    if len(names) != len(values):
        message = f"{len(names)} names for {len(values)} layers"
        raise ValueError(message)
    check(values, below, records)
    reference = np.array([moving_median(column, below=below) for column in values.T])
    known = ~np.isnan(reference)
    overall = float(np.median(reference[known])) if known.any() else math.nan
    relative = np.where(known, values / np.where(known, reference, 1), math.nan)
    undivided = values / overall
    return Stopped(
        names=tuple(names),
        steps=tuple(int(step) for step in steps),
        below=below,
        records=records,
        reference=reference,
        relative=relative,
        undivided=undivided,
        stopped_at=_since(relative, steps, below, records),
        stopped_at_undivided=_since(undivided, steps, below, records),
    )


def _since(ratios: Array, steps: Sequence[int], below: float, records: int) -> tuple[int | None, ...]:
    """The first step of each layer's last stretch of known records that are all below."""
    found: list[int | None] = []
    for row in ratios:
        known = np.flatnonzero(~np.isnan(row))
        above = np.flatnonzero(row[known] >= below)
        stretch = known[above[-1] + 1 :] if len(above) else known
        found.append(int(steps[stretch[0]]) if len(stretch) >= records else None)
    return tuple(found)
