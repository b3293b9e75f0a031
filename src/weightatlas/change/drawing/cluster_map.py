"""The map of layers that move alike: two principal components, the regions of clusters, names; without a theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.change.drawing.panels import ALONE, cluster_name, group_title, line_colour
from weightatlas.change.drawing.regions import Box, place_labels, voronoi
from weightatlas.change.drawing.thinning import short
from weightatlas.drawing.axes import axis_names, inline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from weightatlas.change.clusters.groups import LayerGroup, LayerTrend
    from weightatlas.change.trends import Trends

WIDE: Final = (820, 430)
"""Pixels of the map where there is one; of each of several, `NARROW`."""
NARROW: Final = (390, 260)
NAMED: Final = 28
"""Layers that are named on a map at most."""
MARGIN: Final = 0.1
"""Of the map round the layers in clusters."""
EDGE: Final = 0.03
"""Of the map between its edge and the layers that lie beyond it."""
REACH: Final = 0.4
"""How far beyond them, as a part of their span, layers without a cluster stretch the map; further ones lie at its edge.
"""


def map_chart(trends: Trends) -> alt.ConcatChart:
    """Layers by the first two principal components of their curves, over the regions nearest to each cluster's mean.

    A panel for each group of layers that were clustered together; rings belong to no cluster.
    """
    groups = mapped(trends)
    size = WIDE if len(groups) == 1 else NARROW
    drawn = [_map(trends, group, size, titled=len(groups) > 1) for group in groups]
    joined: alt.ConcatChart = alt.concat(*drawn, columns=2, spacing=28).resolve_scale(color="independent")
    return joined


def mapped(trends: Trends) -> list[LayerGroup]:
    """The groups that have a map: those with layers to tell apart."""
    return [
        group
        for group in trends.groups
        if _placed(trends, group) and (len(group.clusters) > 1 or len(group.fitted) < len(group.layers))
    ]


def map_rows(trends: Trends) -> list[dict[str, Any]]:
    """The data behind it: a row a layer."""
    return [
        {
            "layer": layer.name,
            "group": layer.group,
            "cluster": layer.cluster,
            "first_component": short(layer.coordinates[0]),
            "second_component": short(layer.coordinates[1]),
            "silhouette": short(layer.silhouette),
            "left_out": layer.reason,
        }
        for layer in trends.layers
    ]


def _placed(trends: Trends, group: LayerGroup) -> list[LayerTrend]:
    """The layers of a group that have a place on the map."""
    found = [trends.layers[layer] for layer in group.layers]
    return [layer for layer in found if np.isfinite(layer.coordinates).all()]


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """A panel of the map: what lies where.

    Attributes:
        layers: those that have a place.
        points: (layers, 2): their places, moved to the edge where they lie beyond it.
        box: what is seen.
        size: in pixels.
        x, y: the axes.
    """

    layers: Sequence[LayerTrend]
    points: npt.NDArray[np.float64]
    box: Box
    size: tuple[int, int]
    x: alt.X
    y: alt.Y

    def drawn(self, rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
        """A chart of some rows on these axes."""
        return inline(rows).encode(x=self.x, y=self.y)

    def scaled(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Places in pixels from the lower left."""
        low, high = np.array(self.box[0::2]), np.array(self.box[1::2])
        pixels: npt.NDArray[np.float64] = (points - low) / (high - low) * self.size
        return pixels


def _frame(layers: Sequence[LayerTrend], explained: tuple[float, float], size: tuple[int, int]) -> _Frame:
    box = _room(layers)
    low, high = np.array(box[0::2]), np.array(box[1::2])
    edge = EDGE * (high - low)
    points = np.array([layer.coordinates for layer in layers]).clip(low + edge, high - edge)
    first, second = (
        f"{name} component, {share:.0%} of the variance"
        for name, share in zip(("first", "second"), explained, strict=True)
    )
    across = alt.Scale(domain=[box.left, box.right], nice=False, zero=False)
    up = alt.Scale(domain=[box.bottom, box.top], nice=False, zero=False)
    x = alt.X("x:Q", title=first, scale=across, axis=alt.Axis(tickCount=5))
    y = alt.Y("y:Q", title=second, scale=up, axis=alt.Axis(tickCount=5, grid=False))
    return _Frame(layers, points, box, size, x, y)


def _map(trends: Trends, group: LayerGroup, size: tuple[int, int], *, titled: bool) -> alt.LayerChart:
    """One panel: regions, layers, names."""
    frame = _frame(_placed(trends, group), group.explained, size)
    names = {cluster.number: cluster_name(cluster) for cluster in group.clusters}
    rows = [
        {"layer": layer.name, "line": ALONE if layer.cluster is None else names[layer.cluster], **_place(point)}
        for layer, point in zip(frame.layers, frame.points.tolist(), strict=True)
    ]
    base = frame.drawn(rows).encode(
        color=line_colour(group), tooltip=["layer:N", alt.Tooltip("line:N", title="cluster")]
    )
    dots = base.transform_filter(f"datum.line != '{ALONE}'").mark_point(filled=True, size=44, opacity=0.95)
    rings = base.transform_filter(f"datum.line == '{ALONE}'").mark_point(filled=False, size=44, strokeWidth=1.4)
    regions = _regions(group, frame) if len(group.clusters) > 1 else []
    options = {"title": group_title(group.name, len(group.layers))} if titled else {}
    chart: Any = alt.layer(*regions, dots, rings, *_texts(frame))
    panel: alt.LayerChart = chart.properties(width=size[0], height=size[1], **options)
    return panel


def _room(layers: Sequence[LayerTrend]) -> Box:
    """The layers in clusters with a margin round them, and somewhat more where others lie."""
    everywhere = np.array([layer.coordinates for layer in layers])
    inside = np.array([layer.coordinates for layer in layers if layer.cluster is not None] or everywhere)
    low, high = inside.min(axis=0), inside.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    low = np.maximum(everywhere.min(axis=0), low - REACH * span) - MARGIN * span
    high = np.minimum(everywhere.max(axis=0), high + REACH * span) + MARGIN * span
    return Box(float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def _regions(group: LayerGroup, frame: _Frame) -> list[alt.Chart]:
    """What of the map is nearest to the mean of each cluster, as the paper draws it, and the cluster's number."""
    found = voronoi([cluster.coordinates for cluster in group.clusters], frame.box)
    corners: list[dict[str, Any]] = []
    numbers: list[dict[str, Any]] = []
    for cluster, region in zip(group.clusters, found, strict=True):
        if not len(region):
            continue
        name = cluster_name(cluster)
        numbers.append({"line": name, "text": str(cluster.number), **_place(_free_spot(region, frame))})
        corners += [{"line": name, "corner": index, **_place(point)} for index, point in enumerate(region.tolist())]
    colour = line_colour(group)
    tint = frame.drawn(corners).mark_line(filled=True, strokeWidth=0, opacity=0.1)
    number = frame.drawn(numbers).mark_text(fontSize=30, fontWeight=600, opacity=0.28)
    return [
        tint.encode(order="corner:O", color=colour, detail="line:N"),
        number.encode(text="text:N", color=colour),
    ]


def _free_spot(region: npt.NDArray[np.float64], frame: _Frame) -> list[float]:
    """Where in a region its number covers the fewest layers: of a few places, the one furthest from all."""
    middle = region.mean(axis=0)
    places = np.vstack([middle, (region + middle) / 2])
    distances = np.linalg.norm(frame.scaled(places)[:, None] - frame.scaled(frame.points)[None], axis=2)
    spot: list[float] = places[int(np.argmax(distances.min(axis=1)))].tolist()
    return spot


def _texts(frame: _Frame) -> list[alt.Chart]:
    """Names of layers where there is room: those without a cluster first, then those furthest from the middle."""
    layers, pixels = frame.layers, frame.scaled(frame.points)
    texts = axis_names([layer.name for layer in layers])
    far = np.linalg.norm(pixels - np.median(pixels, axis=0), axis=1)
    order = sorted(range(len(layers)), key=lambda place: (layers[place].cluster is not None, -far[place]))
    most = NAMED if frame.size == WIDE else NAMED // 3
    labels = place_labels(pixels, texts, order, Box(0, frame.size[0], 0, frame.size[1]), most=most)
    rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for label in labels:
        rows[label.is_right].append({"text": texts[label.point], **_place(frame.points[label.point].tolist())})
    right = frame.drawn(rows[True]).mark_text(align="left", dx=7, fontSize=10, color=palette.GREY)
    left = frame.drawn(rows[False]).mark_text(align="right", dx=-7, fontSize=10, color=palette.GREY)
    return [text.encode(text="text:N") for text in (right, left)]


def _place(point: Sequence[float]) -> dict[str, float | None]:
    return {"x": short(point[0], 6), "y": short(point[1], 6)}
