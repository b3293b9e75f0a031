"""The graph of interactions: a column a point of the network, a dot a basis direction, a band a module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.drawing.axes import axis_names, inline, spread
from weightatlas.result import plain
from weightatlas.wording import counted, printable

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.degeneracy.interactions import Interactions
    from weightatlas.degeneracy.modules import Modules

TALL: Final = 560
"""Height that dots are pushed together for, in pixels."""
PITCH: Final = (3.2, 24.0)
"""Least and most room of a dot."""
LETTERED: Final = 15.0
"""Room from which on a dot bears its module's letter."""
GAP: Final = (0.6, 80)
"""Between two bands, in dots: so many, and one more for every so many dots of the fullest column."""
LETTER: Final = 13.0
"""Room of a letter beside the bands."""
FEW: Final = 150
"""Up to so many edges the lightest are drawn so that they can be told apart."""
HEAD: Final = 38
"""Room of the columns' heads, in pixels."""
MOST: Final = 900
"""Edges that are drawn, the heaviest; the rest is left to the table."""
BANDS: Final = 24
"""Modules that have a band of their own; smaller ones share the last."""
COLOURS: Final = tuple(colour for colour in palette.CATEGORIES if colour != palette.GREY)
NONE: Final = ""
"""The letter of a direction that is in no module."""


def graph_chart(interactions: Interactions, modules: Modules) -> alt.LayerChart:
    """Columns of dots, joined by lines that are wider and darker where an edge is heavier.

    Where modules were found that chance does not make, each is a band through all columns, with a letter and, the
    largest ones, a colour; edges between two modules are grey. Within a band the most important direction is on top.
    Directions without an edge are hollow, at the foot.
    """
    nodes, edges = graph_rows(interactions, modules), edge_rows(interactions, modules)
    rows = max((node["row"] for node in nodes), default=0.0) + 1
    pitch = min(max(TALL / rows, PITCH[0]), PITCH[1])
    columns = list(dict.fromkeys((node["column"], node["point"]) for node in nodes))
    x = alt.X("column:Q", axis=None, scale=alt.Scale(domain=[-0.18, len(columns) - 0.82], nice=False))
    y = alt.Y("row:Q", axis=None, scale=alt.Scale(domain=[-HEAD / pitch, rows], reverse=True, nice=False))
    colours = _colours(nodes)
    layers: list[Any] = [_lines(edges, colours, x, y), *_dots(nodes, pitch, colours, x, y), _heads(nodes, pitch, x, y)]
    if any(node["letter"] for node in nodes):
        layers.append(_bands(nodes, pitch, colours, x, y))
    layered: Any = alt.layer(*layers)
    chart: alt.LayerChart = layered.properties(width="container", height=round(rows * pitch) + HEAD)
    return chart


def graph_rows(interactions: Interactions, modules: Modules) -> list[dict[str, Any]]:
    """A row a direction: where it is drawn, its module and how important it is."""
    labels = modules.labels if modules.count > 1 else np.minimum(modules.labels, 0)
    points = list(dict.fromkeys(point for point, _ in modules.nodes))
    names = dict(zip(points, axis_names([printable(point, limit=60) for point in points]), strict=True))
    rows = _rows(modules, labels, points)
    return [
        {
            "point": point,
            "name": names[point],
            "direction": direction,
            "column": points.index(point),
            "row": float(row),
            "letter": letter_of(int(label)) if modules.count > 1 and label >= 0 else NONE,
            "joined": bool(label >= 0),
            "importance": plain(float(interactions.basis[point].importances[direction])),
        }
        for (point, direction), label, row in zip(modules.nodes, labels, rows, strict=True)
    ]


def edge_rows(interactions: Interactions, modules: Modules) -> list[dict[str, Any]]:
    """A row an edge that is drawn, the lightest first."""
    nodes = graph_rows(interactions, modules)
    strengths = {(one.source, one.target): one.strengths for one in interactions.edges}
    weights = np.abs(modules.weights.tocoo().data)
    adjacency = modules.weights.tocoo()
    forward = [
        place
        for place in np.argsort(-weights, kind="stable")
        if nodes[adjacency.row[place]]["column"] < nodes[adjacency.col[place]]["column"]
    ][:MOST]
    top = float(weights.max(initial=0.0)) or 1.0
    found = []
    for place in reversed(forward):
        first, second = nodes[adjacency.row[place]], nodes[adjacency.col[place]]
        strength = strengths[first["point"], second["point"]][second["direction"], first["direction"]]
        found.append(
            {
                "column": first["column"],
                "row": first["row"],
                "column2": second["column"],
                "row2": second["row"],
                "source": f"{first['point']}, {first['direction']}",
                "target": f"{second['point']}, {second['direction']}",
                "strength": plain(float(strength)),
                "share": plain(float(weights[place] / top)),
                "letter": first["letter"] if first["letter"] == second["letter"] else NONE,
            }
        )
    return found


def letter_of(module: int) -> str:
    """The name of a module: A to Z, then AA, AB and so on.

    Example:
        >>> letter_of(0), letter_of(25), letter_of(26), letter_of(53)
        ('A', 'Z', 'AA', 'BB')
    """
    letters = ""
    number = module + 1
    while number:
        number, place = divmod(number - 1, 26)
        letters = chr(ord("A") + place) + letters
    return letters


def _rows(modules: Modules, labels: npt.NDArray[np.int64], points: list[str]) -> npt.NDArray[np.float64]:
    """How far down each direction is drawn: its band, then its place there."""
    bands = np.where(labels < 0, BANDS + 1, np.minimum(labels, BANDS))
    column = np.array([points.index(point) for point, _ in modules.nodes], dtype=np.int64)
    rows = np.zeros(len(labels))
    gap = GAP[0] + int(np.bincount(column).max(initial=0)) / GAP[1]
    top = 0.0
    for band in np.unique(bands):
        members = [np.flatnonzero((bands == band) & (column == place)) for place in range(len(points))]
        height = max(len(each) for each in members)
        for each in members:
            rows[each] = top + (height - len(each)) / 2 + np.arange(len(each))
        top += height + gap
    return rows


def _colours(nodes: list[dict[str, Any]]) -> alt.Scale:
    """A colour a module, the largest first; grey for those beyond the palette, and for what is in none.

    They are in the scale and not in the data, for a page exchanges colours at night and leaves data as they are.
    """
    letters = sorted({node["letter"] for node in nodes} - {NONE}, key=lambda letter: (len(letter), letter))
    known = [COLOURS[place] if place < len(COLOURS) else palette.GREY for place in range(len(letters))]
    return alt.Scale(domain=[*letters, NONE], range=[*known, palette.GREY])


def _lines(edges: list[dict[str, Any]], colours: alt.Scale, x: alt.X, y: alt.Y) -> alt.Chart:
    least = (0.3, 0.8) if len(edges) <= FEW else (0.08, 0.4)
    faint, fine = (alt.Scale(domain=[0, 1], range=[low, high]) for low, high in zip(least, (0.8, 2.2), strict=True))
    chart: alt.Chart = (
        inline(edges)
        .mark_rule(clip=True)
        .encode(
            x=x,
            y=y,
            x2="column2:Q",
            y2="row2:Q",
            color=alt.Color("letter:N", scale=colours, legend=None),
            opacity=alt.Opacity("share:Q", scale=faint, legend=None),
            strokeWidth=alt.StrokeWidth("share:Q", scale=fine, legend=None),
            tooltip=["source:N", "target:N", alt.Tooltip("strength:Q", format=".3g")],
        )
    )
    return chart


def _dots(nodes: list[dict[str, Any]], pitch: float, colours: alt.Scale, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Dots of the modules' colours, hollow without an edge, with letters where there is room."""
    across = min(max(pitch - 1.0, 2.6), 17.0)
    base = inline(nodes).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("point:N"),
            alt.Tooltip("direction:Q"),
            alt.Tooltip("letter:N", title="module"),
            alt.Tooltip("importance:Q", format=".3g"),
        ],
    )
    dots = base.mark_circle(size=round(0.785 * across**2, 1), opacity=1, strokeWidth=1).encode(
        fill=alt.condition("datum.joined", alt.Fill("letter:N", scale=colours, legend=None), alt.value(palette.PAPER)),
        stroke=alt.Stroke("letter:N", scale=colours, legend=None),
    )
    if pitch < LETTERED:
        return [dots]
    letters = base.mark_text(fontSize=10, fontWeight=600, color=palette.PAPER).encode(text="letter:N")
    return [dots, letters]


def _heads(nodes: list[dict[str, Any]], pitch: float, x: alt.X, y: alt.Y) -> alt.LayerChart:
    """The name of each column, and how many directions it has."""
    counts: dict[int, int] = {}
    names: dict[int, str] = {}
    for node in nodes:
        counts[node["column"]] = counts.get(node["column"], 0) + 1
        names[node["column"]] = node["name"]
    rows = [
        {"column": column, "row": -1.1 * 12 / pitch, "name": name, "many": counted(counts[column], "direction")}
        for column, name in names.items()
    ]
    base = inline(rows).encode(x=x, y=y)
    head = base.mark_text(fontWeight=600, fontSize=11.5, dy=-14, color=palette.INK).encode(text="name:N")
    many = base.mark_text(fontSize=10.5, dy=-1, color=palette.GREY).encode(text="many:N")
    layered: Any = alt.layer(head, many)
    both: alt.LayerChart = layered
    return both


def _bands(nodes: list[dict[str, Any]], pitch: float, colours: alt.Scale, x: alt.X, y: alt.Y) -> alt.Chart:
    """The letter of each module and how many directions it has, left of its band."""
    members: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        if node["letter"]:
            members.setdefault(node["letter"], []).append(node)
    largest = sorted(members.items(), key=lambda item: -len(item[1]))[:BANDS]
    middles = [(min(node["row"] for node in own) + max(node["row"] for node in own)) / 2 for _, own in largest]
    rows = [
        {"column": -0.06, "row": place, "text": f"{letter}  {len(own)}", "letter": letter}
        for (letter, own), place in zip(largest, spread(middles, LETTER / pitch), strict=True)
    ]
    chart: alt.Chart = (
        inline(rows)
        .mark_text(align="right", fontSize=12, fontWeight=700)
        .encode(x=x, y=y, text="text:N", color=alt.Color("letter:N", scale=colours, legend=None))
    )
    return chart
