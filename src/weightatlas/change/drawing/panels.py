"""How the layers of a run are shown: which stand together in a panel, in what colour, under what name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import altair as alt

from weightatlas import palette
from weightatlas.change.drawing.axes import colour_of

if TYPE_CHECKING:
    from weightatlas.change.changes import Changes
    from weightatlas.change.clusters.groups import Cluster, LayerGroup, LayerTrend

ALONE: Final = "no cluster"
ALL: Final = "median"
"""Names of lines that are no cluster's."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Layers that are drawn together.

    Attributes:
        title: what they have in common; empty where all layers are in one panel.
        layers: their positions in the run.
        group: what is known of their clusters; None where nothing is.
    """

    title: str
    layers: tuple[int, ...]
    group: LayerGroup | None = None


def panels(changes: Changes) -> list[Panel]:
    """One panel a group of layers that were clustered together; one of all layers where none were."""
    trends = changes.trends
    if trends is None or not trends.groups:
        return [Panel("", tuple(range(len(changes.layers))))]
    place = {name: index for index, name in enumerate(changes.names)}
    found = []
    for group in trends.groups:
        title = "" if len(trends.groups) == 1 else group_title(group.name, len(group.layers))
        found.append(Panel(title, tuple(place[trends.names[layer]] for layer in group.layers), group))
    return found


def layer_trends(changes: Changes) -> dict[str, LayerTrend]:
    """What is known of each layer's curve, by the layer's name in the run."""
    return {} if changes.trends is None else {trend.name: trend for trend in changes.trends.layers}


def line_colour(group: LayerGroup | None, field: str = "line") -> alt.Color:
    """Colours by the name of a cluster: that which moves most has the accent in every group; one alone is ink."""
    clusters = () if group is None else group.clusters
    names = [cluster_name(cluster) for cluster in clusters]
    colours = [colour_of(place) for place in range(len(clusters))] if len(clusters) > 1 else [palette.INK] * len(names)
    scale = alt.Scale(domain=[*names, ALONE, ALL], range=[*colours, palette.GREY, palette.INK])
    return alt.Color(f"{field}:N", scale=scale, legend=None)


def cluster_name(cluster: Cluster) -> str:
    """A cluster as a label names it."""
    return f"{cluster.number} · {_layers(len(cluster.layers))}"


def group_title(name: str, layers: int) -> str:
    """What stands above the panel of a group."""
    return f"{name}, {_layers(layers)}"


def _layers(count: int) -> str:
    """A count in figures, as labels have it."""
    return f"{count} layer" if count == 1 else f"{count} layers"
