"""The rows of a run's weight change: by step, by layer, by cluster."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.change.drawing.thinning import median
from weightatlas.result import Row, plain
from weightatlas.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from weightatlas.change.changes import Changes, LayerChange

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "steps": (
        "layer",
        "role",
        "step",
        "ratio_l1",
        "elementwise",
        "ratio_l2",
        "cosine",
        "from_start",
        "angle_from_start",
        "median",
        "zeros",
        "since",
        "tensor",
        "parameters",
        "skipped",
    ),
    "layers": (
        "layer",
        "role",
        "cluster",
        "stopped_at",
        "outlier",
        "stopped_at_undivided",
        "ratio_l1_first",
        "ratio_l1_median",
        "ratio_l1_last",
        "from_start_last",
        "tensor",
        "parameters",
        "skipped",
    ),
    "clusters": (
        "cluster",
        "group",
        "size",
        "layers",
        "ratio_l1_median",
        "ratio_l1_first",
        "ratio_l1_last",
        "silhouette",
        "stability",
        "stable",
        "skipped",
    ),
}

NO_FIGURES: Final = "no weights but 0, before and after: no ratio"
"""What is said of a step where nothing was left out and yet there is no ratio."""


def steps_rows(changes: Changes) -> Iterator[Row]:
    """One row for each layer and step, then what was left out of the run."""
    for layer in changes.layers:
        head: Row = {"layer": layer.layer, "role": layer.role}
        tail: Row = {"tensor": layer.tensor, "parameters": layer.parameters}
        for place, (step, since) in enumerate(zip(changes.steps, changes.since, strict=True)):
            reason = reason_of(layer, place)
            figures = {} if reason else {name: _figure(name, layer, place) for name in layer.figures}
            yield head | {"step": step} | figures | {"since": since} | tail | {"skipped": reason}
    yield from _left_out(changes)


def layers_rows(changes: Changes) -> Iterator[Row]:
    """One row a layer: how much it moved first, mostly and last, with whom, and when it stopped."""
    trends = {} if changes.trends is None else {trend.name: trend for trend in changes.trends.layers}
    stopped = changes.stopped
    names = () if stopped is None else stopped.names
    at = {} if stopped is None else dict(zip(names, stopped.stopped_at, strict=True))
    undivided = {} if stopped is None else dict(zip(names, stopped.stopped_at_undivided, strict=True))
    for name, layer in zip(changes.names, changes.layers, strict=True):
        trend = trends.get(name)
        yield {
            "layer": layer.layer,
            "role": layer.role,
            "cluster": None if trend is None else trend.cluster,
            "stopped_at": at.get(name),
            "outlier": None if trend is None else trend.outlier or trend.reason,
            "stopped_at_undivided": undivided.get(name),
            **_summary(layer.figures["ratio_l1"]),
            "from_start_last": _last(layer.figures["from_start"]),
            "tensor": layer.tensor,
            "parameters": layer.parameters,
            "skipped": _whole_reason(layer),
        }
    yield from _left_out(changes)


def clusters_rows(changes: Changes) -> Iterator[Row]:
    """One row a cluster: its layers, how much they move, and how far it can be trusted."""
    trends = changes.trends
    if trends is None:
        yield {"skipped": f"{counted(len(changes.steps) + 1, 'checkpoint')}: too few to tell which layers move alike"}
        return
    curves = changes.curves()
    for group in trends.groups:
        for cluster in group.clusters:
            yield {
                "cluster": cluster.number,
                "group": group.name,
                "size": len(cluster.layers),
                "layers": [trends.names[layer] for layer in cluster.layers],
                **_summary(median(curves[list(cluster.layers)], 0)),
                "silhouette": plain(cluster.silhouette),
                "stability": plain(cluster.stability),
                "stable": group.stable,
                "skipped": None,
            }


def reason_of(layer: LayerChange, place: int) -> str | None:
    """Why a layer has no figures at the step in this position; None where it has."""
    if place in layer.reasons:
        return layer.reasons[place]
    return NO_FIGURES if math.isnan(layer.figures["ratio_l1"][place]) else None


def _figure(name: str, layer: LayerChange, place: int) -> object:
    value = plain(layer.figures[name][place])
    return int(value) if name == "zeros" and isinstance(value, float) else value


def _summary(ratios: npt.NDArray[np.float64]) -> Row:
    """The first of what is finite, its median, and the last."""
    known = ratios[np.isfinite(ratios)]
    if not known.size:
        return {}
    first, last = plain(known[0]), plain(known[-1])
    return {"ratio_l1_first": first, "ratio_l1_median": plain(np.median(known)), "ratio_l1_last": last}


def _last(values: npt.NDArray[np.float64]) -> object:
    known = values[np.isfinite(values)]
    return plain(known[-1]) if known.size else None


def _whole_reason(layer: LayerChange) -> str | None:
    """Why a layer has no figures at any step; None where it has some."""
    ratios = layer.figures["ratio_l1"]
    if not np.isnan(ratios).all():
        return None
    reasons = dict.fromkeys(reason_of(layer, place) or NO_FIGURES for place in range(len(ratios)))
    return "; ".join(reasons) or "no step was measured"


def _left_out(changes: Changes) -> Iterator[Row]:
    for skipped in changes.skipped:
        yield {"layer": skipped.name, "skipped": skipped.reason}


ROWS: Final[Mapping[str, Callable[[Changes], Iterator[Row]]]] = {
    "steps": steps_rows,
    "layers": layers_rows,
    "clusters": clusters_rows,
}
