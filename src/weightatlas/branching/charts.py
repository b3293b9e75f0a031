"""The charts of what units are tuned to, without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.branching.drawing.tuned_groups import panels, tuned_groups, unit_rows
from weightatlas.branching.kernels.classes import CLASSES
from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.drawing.axes import inline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.branching.drawing.tuned_groups import TunedGroup
    from weightatlas.branching.survey import BranchingSurvey

TOGETHER: Final = 4
"""Branches that share one panel; more have one each."""
PANELS: Final = 24
"""Small multiples at most; the table and the columns have all units."""
WIDTH: Final = 948
AXIS: Final = 36
BETWEEN: Final = 24
"""Pixels of small multiples together, of their one vertical axis, and between them."""
ORIENTED: Final = 0.5
"""Selectivity from which a unit counts as oriented: one orientation has most of its power."""
BIN: Final = 15
"""Degrees of a bar; those of stripes along and across the image are centred on 0 and on 90."""
CARDINAL: Final = 15
"""Degrees from horizontal or vertical within which an orientation is called cardinal: a third of all orientations."""
SHAPES: Final = ("circle", "diamond", "triangle-up", "cross")
"""One a class, in their order."""

AnyChart = alt.LayerChart | alt.FacetChart


def tuning_chart(survey: BranchingSurvey) -> AnyChart:
    """Chroma against frequency of every tuned unit: colour the branch, shape the class; small multiples beyond four.

    A survey without tuned units gives the empty axes.
    """
    groups = tuned_groups(survey)
    known = (row for row in unit_rows(groups) if row["frequency"] is not None and row["chroma"] is not None)
    rows = [{**row, "threshold": COLOUR} for row in known]
    names = panels(groups)
    shared = len(groups) <= 1 and len(names) <= TOGETHER
    base = inline(rows) if shared else alt.Chart()
    dots = base.mark_point(filled=True, size=48, opacity=0.85).encode(
        x=alt.X("frequency:Q", title="frequency, cycles per pixel", axis=alt.Axis(tickCount=8)),
        y=alt.Y("chroma:Q", title="chroma", scale=alt.Scale(domain=[0, 1])),
        color=branch_colour(groups, legend=shared),
        shape=_class_shape(rows, alone=not shared or any(group.by_branch for group in groups)),
        tooltip=["layer:N", "branch:N", "unit:Q", "class:N", *_figures("chroma", "frequency", "orientation")],
    )
    threshold = base.mark_rule(color=palette.GREY, strokeDash=[4, 4]).encode(
        y=alt.Y("min(threshold):Q", title="chroma")
    )
    layered: Any = alt.layer(threshold, dots)
    if shared:
        chart: alt.LayerChart = layered.properties(width="container", height=300)
        return chart
    return _small_multiples(layered, rows, names)


def orientation_chart(survey: BranchingSurvey) -> AnyChart:
    """Oriented units counted by orientation, one panel a branch, with the count that an even spread would give."""
    groups = tuned_groups(survey)
    counts = orientation_rows(groups)
    names = [name for name in panels(groups) if any(row["panel"] == name for row in counts)]
    base = alt.Chart() if len(names) > 1 else inline(counts)
    x = alt.X(
        "orientation:Q",
        title="orientation of the stripes, degrees",
        scale=alt.Scale(domain=[-BIN / 2, 180 - BIN / 2], nice=False),
        axis=alt.Axis(values=list(range(0, 180, 30)), tickCount=6),
    )
    bars = base.mark_bar(stroke=None).encode(
        x=x.copy(),
        y=alt.Y("units:Q", title="units", axis=alt.Axis(format="d", tickMinStep=1)),
        color=branch_colour(groups, legend=False),
        tooltip=["branch:N", "orientation:Q", "units:Q", alt.Tooltip("even:Q", format=".1f")],
    )
    even = base.mark_line(color=palette.INK, strokeWidth=1.2).encode(x=x.copy(), y="even:Q")
    layered: Any = alt.layer(bars.encode(size=alt.value(_bar(len(names)))), even)
    if len(names) <= 1:
        chart: alt.LayerChart = layered.properties(width="container", height=180)
        return chart
    return _small_multiples(layered, counts, names, height=110)


def orientation_rows(groups: Sequence[TunedGroup]) -> list[dict[str, Any]]:
    """For each branch with oriented units, how many have each orientation, and how many an even spread gives."""
    rows = []
    for name, found in _oriented(groups).items():
        angles = np.array([row["orientation"] for row in found])
        places = (np.floor((angles + BIN / 2) / BIN) % (180 // BIN)).astype(int)
        for place, count in enumerate(np.bincount(places, minlength=180 // BIN).tolist()):
            even = len(found) / (180 // BIN)
            head = {key: found[0][key] for key in ("layer", "branch", "class")}
            rows.append({**head, "panel": name, "orientation": place * BIN, "units": count, "even": even})
    return rows


def cardinal(groups: Sequence[TunedGroup]) -> tuple[int, int]:
    """How many oriented units are nearly horizontal or vertical, and how many oriented units there are."""
    angles = np.array([row["orientation"] for found in _oriented(groups).values() for row in found])
    off = np.abs((angles + 45) % 90 - 45)
    return int(np.count_nonzero(off <= CARDINAL)), len(angles)


def branch_colour(groups: Sequence[TunedGroup], *, legend: bool = True) -> alt.Color:
    """The colour of every column, one meaning throughout the chapter; classes where there are no branches."""
    names: dict[str, str] = {}
    for column in sorted((column for group in groups for column in group.columns), key=lambda column: column.category):
        names.setdefault(column.title, palette.CATEGORIES[column.category])
    scale = alt.Scale(domain=list(names), range=list(names.values()))
    field = "branch:N" if any(group.by_branch for group in groups) else "class:N"
    shown = legend and len(names) <= len(palette.CATEGORIES)
    return alt.Color(field, scale=scale, title=None) if shown else alt.Color(field, scale=scale, legend=None)


def _small_multiples(
    layered: alt.LayerChart, rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, height: int = 150
) -> alt.FacetChart:
    shown = list(names)[:PANELS]
    kept = [row for row in rows if row["panel"] in shown]
    across = -(-len(shown) // max(1, -(-len(shown) // 4)))
    columns = max(1, across)
    faceted: alt.FacetChart = layered.properties(width=(WIDTH - AXIS) // columns - BETWEEN, height=height).facet(
        facet=alt.Facet("panel:N", title=None, sort=shown), columns=columns, data=inline(kept).data
    )
    return faceted


def _bar(panels_across: int) -> int:
    """Pixels that a bar is wide."""
    return int(0.7 * BIN / 180 * (WIDTH - AXIS) / min(4, max(1, panels_across)))


def _class_shape(rows: Sequence[Mapping[str, Any]], *, alone: bool) -> alt.Shape:
    """Shapes of classes; their legend stands alone where colours mean something else."""
    present = [name for name in CLASSES if any(row["class"] == name for row in rows)]
    scale = alt.Scale(domain=present, range=[SHAPES[CLASSES.index(name)] for name in present])
    if alone:
        legend = alt.Legend(symbolFillColor=palette.GREY, symbolStrokeColor=palette.GREY)
        return alt.Shape("class:N", scale=scale, title=None, legend=legend)
    return alt.Shape("class:N", scale=scale, title=None)


def _oriented(groups: Sequence[TunedGroup]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in unit_rows(groups):
        if row["orientation"] is not None and (row["selectivity"] or 0) >= ORIENTED:
            found.setdefault(row["panel"], []).append(row)
    return found


def _figures(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", format=".3~g") for name in names]
