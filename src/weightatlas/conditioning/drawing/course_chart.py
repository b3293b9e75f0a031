"""The course of conditioning over a run: small multiples, one figure a panel."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.conditioning.drawing.smoothness_charts import DOT
from weightatlas.drawing.axes import inline, step_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.conditioning.charts import AnyChart
    from weightatlas.conditioning.survey import Conditioning

WIDTH: Final = 270
HEIGHT: Final = 150
ACROSS: Final = 3

PANELS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "mean_distance": ("means from 0", ".3~g"),
        "std_distance": ("deviations from 1", ".3~g"),
        "near_dead": ("channels nearly dead", ".2~p"),
        "loss_lipschitz_relative": ("slope of the loss", ".3~s"),
        "gradient_lipschitz_relative": ("change of the gradient", ".3~s"),
        "top_eigenvalue": ("top Hessian eigenvalue", ".3~s"),
        "centring": ("share that centring takes", ".2~p"),
    }
)
"""Figures of the table of steps, with the title of each panel and the form of its axis."""

NULLS: Final = ("loss_lipschitz_relative", "gradient_lipschitz_relative", "centring")
"""Figures that random directions have too."""


def course_chart(survey: Conditioning) -> alt.VConcatChart:
    """A panel for each figure that is known at two steps or more; grey is what random directions give."""
    rows = course_rows(survey)
    panels = [_panel(rows, figure) for figure in shown(rows)]
    lines = [alt.hconcat(*panels[start : start + ACROSS], spacing=26) for start in range(0, len(panels), ACROSS)]
    chart: alt.VConcatChart = alt.vconcat(*lines, spacing=18)
    return chart


def course_rows(survey: Conditioning) -> list[dict[str, Any]]:
    """The table of steps, with what random directions give made relative as the figures are."""
    rows = []
    for row in survey.rows("steps"):
        weight = row["weight_norm"]
        loss, gradient = row["loss_lipschitz_random"], row["gradient_lipschitz_random"]
        rows.append(
            {
                "step": row["step"],
                **{figure: row[figure] for figure in PANELS},
                "loss_lipschitz_relative_chance": None if loss is None else loss * weight,
                "gradient_lipschitz_relative_chance": None if gradient is None else gradient * weight**2,
                "centring_chance": row["null"],
            }
        )
    return rows


def shown(rows: list[dict[str, Any]]) -> list[str]:
    """The figures that are known at two steps or more."""
    return [figure for figure in PANELS if sum(row[figure] is not None for row in rows) > 1]


def _panel(rows: list[dict[str, Any]], figure: str) -> AnyChart:
    title, form = PANELS[figure]
    known = [row for row in rows if row[figure] is not None]
    x = step_axis([row["step"] for row in rows], "step")
    y = alt.Y(f"{figure}:Q", title=None, axis=alt.Axis(format=form, tickCount=5), scale=alt.Scale(zero=True))
    line = (
        inline(known)
        .mark_line(color=palette.ACCENT, strokeWidth=2, point=DOT)
        .encode(x=x, y=y, tooltip=["step:Q", alt.Tooltip(f"{figure}:Q", format=".4g", title=title)])
    )
    layers: list[Any] = [line]
    if figure in NULLS:
        layers.insert(
            0,
            inline(known)
            .mark_line(color=palette.GREY, strokeWidth=1.2, strokeDash=[4, 3])
            .encode(x=x, y=f"{figure}_chance:Q"),
        )
    chart: AnyChart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=title)
    return chart
