"""The losses along the chains that a learning coefficient was estimated from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.drawing.axes import THOUSANDS, inline
from weightatlas.result import plain

if TYPE_CHECKING:
    from weightatlas.degeneracy.learning_coefficient import LearningCoefficient

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

HEIGHT: Final = 260
MOST: Final = 400
"""Points of a chain that are drawn: more than there are pixels for are skipped evenly."""
DASH: Final = [5, 4]
_COLOURS: Final = tuple(colour for colour in palette.CATEGORIES if colour != palette.ACCENT)


def trace_chart(result: LearningCoefficient) -> AnyChart:
    """A line a chain: its loss at every draw, on a grey ground where steps are left out.

    Dashed is the loss that chains begin at, in accent the mean over draws; what lies between the two, times the inverse
    temperature, is the estimate.
    """
    rows = trace_rows(result)
    names = list(dict.fromkeys(row["chain"] for row in rows))
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(names))]
    last = result.burn_in + result.traces.shape[1] * result.thinning
    form = "~s" if last >= THOUSANDS else ",d"
    axis = alt.Axis(format=form, labelExpr="datum.value === 0 ? '0' : datum.label", tickMinStep=1)
    x = alt.X("step:Q", title="step", scale=alt.Scale(nice=False), axis=axis)
    lines = (
        inline(rows)
        .mark_line(strokeWidth=1, opacity=0.8)
        .encode(
            x=x,
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False)),
            color=alt.Color("chain:N", title="chain", scale=alt.Scale(domain=names, range=colours)),
            tooltip=["chain:N", "step:Q", alt.Tooltip("loss:Q", format=".5g"), alt.Tooltip("excess:Q", format=".4g")],
        )
    )
    layers = [lines]
    if result.burn_in:
        ground = [{"step": 0, "end": result.burn_in}]
        layers.insert(0, inline(ground).mark_rect(color=palette.NULL, opacity=0.7).encode(x=x, x2="end:Q"))
    initial = [{"step": 0, "end": last, "loss": result.initial_loss}]
    layers.append(_level(initial, x).mark_rule(color=palette.INK, strokeDash=DASH))
    mean = plain(result.initial_loss + result.estimate / result.nbeta)
    if mean is not None:
        drawn = [{"step": result.burn_in, "end": last, "loss": mean}]
        layers.append(_level(drawn, x).mark_rule(color=palette.ACCENT, strokeWidth=2))
    chart: AnyChart = alt.layer(*layers).properties(width="container", height=HEIGHT)
    return chart


def trace_rows(result: LearningCoefficient) -> list[dict[str, Any]]:
    """A row a point: chain, step, loss, what it adds to the estimate, and whether it is left out."""
    parts = (
        (result.burn_in_traces, 0, result.burn_in, True),
        (result.traces, result.burn_in, result.traces.shape[1] * result.thinning, False),
    )
    rows: list[dict[str, Any]] = []
    for traces, start, length, left_out in parts:
        count = traces.shape[1]
        every = -(-count // MOST) if count else 1
        for number, trace in enumerate(traces, start=1):
            rows.extend(
                {
                    "chain": str(number),
                    "step": start + round((place + 1) * length / count),
                    "loss": plain(trace[place]),
                    "excess": plain(result.nbeta * (trace[place] - result.initial_loss)),
                    "burn_in": left_out,
                }
                for place in range(0, count, every)
            )
    return sorted(rows, key=lambda row: (int(row["chain"]), row["step"]))


def _level(rows: list[dict[str, Any]], x: alt.X) -> alt.Chart:
    """A level line over a range of steps."""
    return inline(rows).encode(x=x, x2="end:Q", y="loss:Q")
