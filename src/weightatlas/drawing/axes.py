"""Axes that the charts of several rooms share, and where their labels have room."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

DEEPEST: Final = 1e-5
"""What lies this far under the largest value is drawn at the foot of a logarithmic axis, as 0 is: with more decades
the differences between layers that move are too small to see."""
TICKS: Final = (
    ((1, 2, 3, 4, 5, 6, 8), 1),
    ((1, 2, 3, 5), 1),
    ((1, 2, 5), 1),
    ((1, 3), 1),
    *(((1,), every) for every in (1, 2, 3, 4)),
)
"""Round numbers from dense to sparse: digits of a decade, and every how many decades."""
THOUSANDS: Final = 10_000
"""Steps from which an axis counts in thousands: 20k."""
UNEVEN: Final = 4
"""Steps are spread by their logarithm where the last is more than so many times the one in the middle; evenly spaced
ones come to 2 at most."""
NAMES_UP_TO: Final = 48
"""With more layers than this an axis of layers counts them; names stand in the tooltip."""
NAME: Final = 30
"""Letters of a layer's name on an axis; a longer one loses its beginning."""


class LogRange:
    """The reach of a logarithmic axis over some values, with room for those that have no logarithm at its foot.

    Attributes:
        low: the foot.
        high: the head.
        foot: what is said of the values at the foot, "0" or "less"; None where there are none.
    """

    __slots__ = ("foot", "high", "low")

    def __init__(self, values: npt.ArrayLike, *, least: float = 2.0, floor: float = 0.0) -> None:
        """Take the finite values; the axis spans `least` times at least and ends at `floor`."""
        array = np.asarray(values, dtype=np.float64)
        known = array[np.isfinite(array)]
        positive = known[known > 0]
        high = float(positive.max()) if positive.size else 1.0
        kept = positive[positive >= max(high * DEEPEST, floor)]
        low = float(kept.min()) if kept.size else high / 10
        widen = math.sqrt(max(1.0, least * low / high)) * 1.12
        below = known[known < low]
        self.foot = None if not below.size else "0" if not below.any() else "less"
        self.low, self.high = low / (widen * (1 if self.foot is None else 2.5)), high * widen

    def placed(self, value: float) -> float | None:
        """Where a value is drawn; None where it is not finite."""
        if not math.isfinite(value):
            return None
        return self.low if value < self.low * 1.01 else float(f"{value:.4g}")

    def share(self, value: float) -> float:
        """How far up the axis a value lies, 0 to 1."""
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)

    def scale(self) -> alt.Scale:
        """The scale."""
        return alt.Scale(type="log", domain=[self.low, self.high], nice=False, clamp=True)

    def axis(self, form: str = "~g") -> alt.Axis:
        """An axis with few round ticks, and what lies at the foot where something does."""
        ticks = round_ticks(self.low * (1 if self.foot is None else 1.5), self.high)
        text = f"format(datum.value, '{form}')"
        if self.foot is not None:
            ticks = [self.low, *ticks]
            text = f"datum.value <= {self.low * 1.01} ? '{self.foot}' : {text}"
        return ticks_axis(ticks, labelExpr=text, labelOverlap=False)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within a range, even by their logarithm: 1, 2, 5 a decade, or decades, or every so many of them.

    Example:
        >>> round_ticks(0.004, 0.3), round_ticks(1e-7, 20)
        ([0.005, 0.01, 0.02, 0.05, 0.1, 0.2], [1e-07, 1e-05, 0.001, 0.1, 10.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits, every in TICKS:
        ticks = [float(f"{digit}e{power}") for power in range(first, last + 1, every) for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            break
    return ticks


def whole_ticks(first: int, last: int, most: int = 13) -> list[int]:
    """Round whole numbers within a range, evenly apart.

    Example:
        >>> whole_ticks(1, 3), whole_ticks(1, 25), whole_ticks(500, 100_000)[:3]
        ([1, 2, 3], [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24], [10000, 20000, 30000])
    """
    for power in itertools.count():
        for digit in (1, 2, 5):
            apart = digit * 10**power
            ticks = range(-(-first // apart) * apart, last + 1, apart)
            if len(ticks) <= most:
                return list(ticks)
    return []


def ticks_axis(values: Sequence[Any], **options: Any) -> alt.Axis:  # noqa: ANN401 - Altair's own
    """An axis with just these ticks; without their number Vega thins them to what the theme asks for."""
    return alt.Axis(values=list(values), tickCount=len(values), **options)


def step_axis(steps: Sequence[int], unit: str, *, field: str = "step", room: float = 0.0) -> alt.X:
    """The steps of a run along x; by their logarithm where they were spread so.

    Args:
        steps: that are drawn.
        unit: what they count.
        field: that holds them.
        room: left free at the right for labels, as a share of the axis.
    """
    first, last = steps[0], steps[-1]
    form = "~s" if last >= THOUSANDS else ",d"
    if first > 0 and last > UNEVEN * sorted(steps)[len(steps) // 2]:
        end = last * (last / first) ** (room / (1 - room))
        return alt.X(
            f"{field}:Q",
            title=unit,
            scale=alt.Scale(type="log", domain=[first, end], nice=False),
            axis=ticks_axis(round_ticks(first, last), format=form),
        )
    end = last + max(last - first, 1) * room / (1 - room)
    whole = ticks_axis(whole_ticks(first, last), format=form)
    return alt.X(f"{field}:Q", title=unit, scale=alt.Scale(domain=[first, end], nice=False), axis=whole)


def axis_names(names: Sequence[str], limit: int = NAME) -> list[str]:
    """Layer names for an axis: without the path that all of them begin with, and not longer than fits.

    Example:
        >>> axis_names(["model.layers.0.mlp", "model.layers.1.mlp"])
        ['0.mlp', '1.mlp']
    """
    stem = 0
    if len(names) > 1:
        shared = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
        alike = shared.index(False) if False in shared else len(shared)
        stem = names[0].rfind(".", 0, alike) + 1
    return [_tail(name[stem:], limit) for name in names]


def depth_axis(layers: int, *, names: bool = True, field: str = "label", order: str = "depth") -> alt.X:
    """The layers along x in the order of the network: by name where there is room, by number where there is not.

    Args:
        layers: how many are drawn.
        names: whether they may be named.
        field: that holds their names.
        order: field that holds their places.
    """
    if names and layers <= NAMES_UP_TO:
        axis = alt.Axis(labelAngle=-40, labelLimit=120, title=None)
        return alt.X(f"{field}:N", sort=alt.EncodingSortField(order, op="min"), axis=axis)
    return alt.X(f"{order}:Q", title="layer, from the input", scale=alt.Scale(nice=False, padding=8))


def names_axis(texts: Sequence[str], shown: Sequence[int] | None = None) -> alt.Axis:
    """An axis of rows by their numbers, 0 to n - 1, with a name each; the rows of data need not hold names, then."""
    return ticks_axis(
        range(len(texts)) if shown is None else shown,
        labelExpr=f"{json.dumps(list(texts))}[datum.value]",
        labelOverlap=False,
        labelFontSize=10,
        ticks=False,
        domain=False,
    )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move labels on a line apart until neighbours are `gap` from each other, none further than it must.

    Example:
        >>> [round(place, 2) for place in spread([1.0, 1.1, 5.0], 1.0)]
        [0.55, 1.55, 5.0]
    """
    order = np.argsort(places, kind="stable")
    blocks: list[tuple[float, int]] = []  # of labels that touch: the middle of where they belong, and how many
    for index in order:
        middle, count = float(places[index]), 1
        while blocks and middle - blocks[-1][0] < gap * (count + blocks[-1][1]) / 2:
            before, more = blocks.pop()
            middle = (middle * count + before * more) / (count + more)
            count += more
        blocks.append((middle, count))
    moved = [middle + gap * (place - (count - 1) / 2) for middle, count in blocks for place in range(count)]
    result = [0.0] * len(moved)
    for index, place in zip(order, moved, strict=True):
        result[int(index)] = place
    return result


def series(rows: Iterable[Mapping[str, Any]], steps: Sequence[int]) -> alt.Chart:
    """A chart with a row of data for each line and step: each line's `ratio` holds its values at `steps`.

    The steps stand in the specification once, and not with every line.
    """
    numbered = [{**row, "column": list(range(len(steps)))} for row in rows]
    flat = inline(numbered).transform_flatten(["column", "ratio"])
    return flat.transform_calculate(step=f"{json.dumps(list(steps))}[datum.column]")


def inline(rows: Iterable[Mapping[str, Any]]) -> alt.Chart:
    """A chart with its data in the specification."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def _tail(name: str, limit: int) -> str:
    return name if len(name) <= limit else f"…{name[len(name) - limit + 1 :]}"
