"""Loss and error along the straight lines between networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.drawing.axes import inline
from weightatlas.result import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.connectivity.pair import Line, Pair
    from weightatlas.connectivity.survey import Connection

AnyChart = alt.LayerChart | alt.FacetChart
"""What Altair calls layers, whatever they become."""

HEIGHT: Final = 300
PANEL: Final = 440
SMALL: Final = (270, 190)
"""Width and height of one panel of several pairs."""
ACROSS: Final = 3
MOST: Final = 12
"""Pairs that have a panel; the table has all."""
DASH: Final = [5, 4]

KINDS: Final = ("as they are", "statistics anew", "aligned", "aligned, statistics anew")
COLOURS: Final = (palette.GREY, palette.GREY, palette.ACCENT, palette.ACCENT)
WHAT: Final = {"loss": "loss, nats", "error": "error"}


def curves_chart(found: Connection) -> alt.HConcatChart | alt.VConcatChart:
    """A panel for loss and one for error; of several pairs a panel for the loss of each.

    Accent is aligned, grey as the networks are; dashes have the statistics of norms interpolated. Thin and straight:
    the chord that a barrier is measured from. The upright stroke is the barrier of the line that most was done for.
    """
    pairs = [pair for pair in found.pairs if pair.lines]
    if len(pairs) == 1:
        pair = pairs[0]
        panels = [_panel(pair, what).properties(width=PANEL, height=HEIGHT) for what in WHAT]
        single: alt.HConcatChart = alt.hconcat(*panels, spacing=36)
        return single
    width, height = SMALL
    drawn = [_panel(pair, "loss").properties(width=width, height=height, title=pair.second) for pair in pairs[:MOST]]
    rows = [alt.hconcat(*drawn[start : start + ACROSS], spacing=28) for start in range(0, len(drawn), ACROSS)]
    several: alt.VConcatChart = alt.vconcat(*rows, spacing=20)
    return several


def curve_rows(found: Connection) -> list[dict[str, Any]]:
    """A row a point of every line, with the chord."""
    return [row for pair in found.pairs for row in _points(pair)]


def kind_of(line: Line) -> str:
    """What was done for a line, in words."""
    return KINDS[2 * line.aligned + line.recalibrated]


def _points(pair: Pair) -> list[dict[str, Any]]:
    rows = []
    for line in pair.lines:
        seen = line.barrier
        chords = {"loss": seen.reference_line(seen.losses), "error": seen.reference_line(seen.errors)}
        for place, alpha in enumerate(seen.alphas):
            rows.append(
                {
                    "pair": pair.name,
                    "kind": kind_of(line),
                    "best": line is pair.best,
                    "alpha": float(alpha),
                    "loss": plain(seen.losses[place]),
                    "error": plain(seen.errors[place]),
                    "loss_chord": plain(chords["loss"][place]),
                    "error_chord": plain(chords["error"][place]),
                }
            )
    return rows


def _panel(pair: Pair, what: str) -> AnyChart:
    rows = _points(pair)
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    colours = [COLOURS[KINDS.index(kind)] for kind in kinds]
    dashes = [[1, 0] if "anew" in kind or not _recalibrated(kinds) else DASH for kind in kinds]
    x = alt.X("alpha:Q", title="way from the first network to the second", scale=alt.Scale(nice=False))
    form = ".0%" if what == "error" else "~g"
    y = alt.Y(f"{what}:Q", title=WHAT[what], axis=alt.Axis(format=form), scale=alt.Scale(zero=what == "error"))
    legend = alt.Legend(orient="top", columns=2, symbolType="stroke", title=None)
    base = inline(rows).encode(x=x)
    tooltip = ["pair:N", "kind:N", alt.Tooltip("alpha:Q", format=".3f"), _figure("loss"), _figure("error")]
    curves = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=18, filled=True)).encode(
        y=y,
        color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
        strokeDash=alt.StrokeDash("kind:N", scale=alt.Scale(domain=kinds, range=dashes), legend=legend),
        tooltip=tooltip,
    )
    best = [row for row in rows if row["best"]]
    chord = inline(best).mark_line(color=palette.INK, strokeWidth=0.8).encode(x=x, y=f"{what}_chord:Q")
    chart: AnyChart = alt.layer(chord, curves, *_stroke(best, pair, what))
    return chart


def _stroke(best: Sequence[dict[str, Any]], pair: Pair, what: str) -> list[alt.Chart]:
    """The barrier of the best line, upright where it is highest."""
    if pair.best is None:
        return []
    seen = pair.best.barrier
    height = seen.loss_barrier if what == "loss" else seen.error_barrier
    at = min(best, key=lambda row: abs(row["alpha"] - height.alpha))
    if at[what] is None or height.height <= 0:
        return []
    return [
        inline([at])
        .mark_rule(color=palette.ACCENT, strokeWidth=5, opacity=0.3)
        .encode(x="alpha:Q", y=f"{what}_chord:Q", y2=what)
    ]


def _recalibrated(kinds: Sequence[str]) -> bool:
    return any("anew" in kind for kind in kinds)


def _figure(what: str) -> alt.Tooltip:
    return alt.Tooltip(f"{what}:Q", format=".3%" if what == "error" else ".4f")
