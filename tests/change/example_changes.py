"""Runs made up for tests: curves of a known form without weights, and what an analysis of them would say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.change.changes import FIGURES, Changes, LayerChange
from weightatlas.change.clusters.groups import Cluster, LayerGroup, LayerTrend
from weightatlas.change.clusters.pipeline import DEFAULT
from weightatlas.change.clusters.scree import Scree
from weightatlas.change.clusters.stability import Stability
from weightatlas.change.depth import DepthTrend
from weightatlas.change.stopped import Stopped
from weightatlas.change.trends import Trends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.checkpoints import Skipped

ROLES = ("dense", "depthwise", "pointwise", "linear")


def example(
    layers: int = 6,
    steps: int = 10,
    *,
    groups: int = 2,
    stopped: Mapping[int, int] | None = None,
    roles: Sequence[str] = ("dense",),
    missing: Mapping[tuple[int, int], str] | None = None,
    noise: float = 0.05,
    seed: int = 0,
    every: int = 1,
    skipped: Sequence[Skipped] = (),
) -> Changes:
    """A run whose layers fall into groups of curves, neighbours into one: group g moves 3 ** g times as much.

    Args:
        layers: how many.
        steps: records.
        groups: of curves; every second one rises instead of falling.
        stopped: layer -> position of the step from which it hardly moves.
        roles: given out in turn.
        missing: (layer, position of a step) -> why it has no figures.
        noise: of the logarithm.
        seed: of the noise.
        every: steps between checkpoints.
        skipped: what was left out.
    """
    generator = np.random.default_rng(seed)
    time = np.arange(steps)
    made = []
    for layer in range(layers):
        group = layer * groups // layers
        curve = 0.02 * 3**group * np.exp(-time / steps * (1 if group % 2 == 0 else -0.5))
        curve = curve * np.exp(noise * generator.normal(size=steps))
        if stopped and layer in stopped:
            curve[stopped[layer] :] *= 1e-3
        reasons = {place: reason for (of, place), reason in (missing or {}).items() if of == layer}
        known = np.array([place not in reasons for place in range(steps)])
        figures = {figure: np.full(steps, np.nan) for figure in FIGURES}
        figures["ratio_l1"] = np.where(known, curve, np.nan)
        figures["ratio_l2"] = np.where(known, 1.1 * curve, np.nan)
        figures["from_start"] = np.where(known, np.cumsum(curve) ** 0.5, np.nan)
        figures["zeros"] = np.where(known, 0.0, np.nan)
        width = 2 ** (3 + layer * 5 // layers)
        name = f"block{layer // 2}.conv{layer % 2}"
        made.append(
            LayerChange(name, f"{name}.weight", roles[layer % len(roles)], (width, width, 3, 3), figures, reasons)
        )
    ends = tuple(range(every, every * steps + 1, every))
    return Changes(
        source="example run",
        unit="epoch",
        steps=ends,
        since=tuple(end - every for end in ends),
        layers=tuple(made),
        skipped=tuple(skipped),
    )


def told(
    changes: Changes,
    *,
    groups: int = 2,
    stable: bool = True,
    alone: Sequence[int] = (),
    replaced: Mapping[int, tuple[int, ...]] | None = None,
    by_role: bool = False,
    depth: DepthTrend | None = None,
) -> Changes:
    """The same run with the planted groups as its clusters and the planted stops, as an analysis would find them.

    Args:
        changes: from `example` with as many groups.
        groups: that were planted.
        stable: what is said of all clusters.
        alone: layers that no cluster holds.
        replaced: layer -> positions of the records that were replaced.
        by_role: whether the layers of each role were clustered by themselves.
        depth: how change goes with depth.
    """
    curves = changes.curves()
    logs = np.log(np.where(curves > 0, curves, np.nan))
    logs = np.where(np.isfinite(logs), logs, np.nanmedian(logs))
    _, sizes, axes = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    places = (logs - logs.mean(axis=0)) @ axes[:2].T
    count = len(changes.layers)
    planted = [layer * groups // count for layer in range(count)]
    roles = list(dict.fromkeys(layer.role for layer in changes.layers)) if by_role else ["all"]

    def trend_of(index: int, role: str, cluster: int | None) -> LayerTrend:
        apart = None if cluster is not None else "moves like no other layer"
        values = (replaced or {}).get(index, ())
        spikes = f"{len(values)} values far from the rest of its curve" if values else None
        place = (float(places[index, 0]), float(places[index, 1]))
        silhouette = 0.8 if cluster is not None else float("nan")
        return LayerTrend(changes.names[index], role, cluster, apart, apart or spikes, values, place, silhouette)

    found: list[LayerGroup] = []
    trends: dict[int, LayerTrend] = {}
    number = 0
    for role in roles:
        members = [index for index, layer in enumerate(changes.layers) if not by_role or layer.role == role]
        fitted = [index for index in members if index not in alone]
        clusters = []
        for group in sorted({planted[index] for index in fitted}, reverse=True):
            inside = [index for index in fitted if planted[index] == group]
            centre = np.nanmedian(curves[inside], axis=0)
            middle = places[inside].mean(axis=0)
            clusters.append(
                Cluster(
                    number, role, tuple(inside), centre, (middle[0], middle[1]), float(np.median(centre)), 0.8, 0.95
                )
            )
            for index in inside:
                trends[index] = trend_of(index, role, number)
            number += 1
        for index in alone:
            if index in members:
                trends[index] = trend_of(index, role, None)
        share = sizes**2 / np.sum(sizes**2)
        found.append(
            LayerGroup(
                role,
                tuple(members),
                tuple(fitted),
                tuple(clusters),
                (float(share[0]), float(share[1])),
                f"{len(clusters)} clusters, by the best mean silhouette",
                _scree(len(clusters)),
                _stability(stable),
            )
        )
    names = changes.names
    records = tuple(map(str, changes.steps))
    layers = tuple(trends[index] for index in range(count))
    return replace(
        changes,
        trends=Trends(names, records, curves, logs, DEFAULT, layers, tuple(found), 0),
        stopped=halted(changes),
        depth=depth,
    )


def halted(changes: Changes, below: float = 0.1, records: int = 5) -> Stopped:
    """Layers whose last records, five or more, lie below a tenth of the median layer's: obvious, not general."""
    curves = changes.curves()
    reference = np.nanmedian(curves, axis=0)
    relative, undivided = curves / reference, curves / np.median(reference)

    def since(row: np.ndarray) -> int | None:
        low = np.flatnonzero(~(row < below))
        first = 0 if low.size == 0 else int(low[-1]) + 1
        return changes.steps[first] if len(row) - first >= records else None

    return Stopped(
        changes.names,
        changes.steps,
        below,
        records,
        reference,
        relative,
        undivided,
        tuple(map(since, relative)),
        tuple(map(since, undivided)),
    )


def depth_example(partial: float = 0.1, p: float = 0.6) -> DepthTrend:
    """A trend with depth that is mostly one with size."""
    return DepthTrend(37, 0.7, 0.8, 0.85, partial, p, (partial - 0.3, partial + 0.3))


def _scree(taken: int) -> Scree:
    tried = np.arange(1, 9)
    return Scree(
        tuple(tried.tolist()),
        100.0 / tried**2 + 3,
        95.0 / tried**2,
        np.array([np.nan, *(0.8 - 0.08 * np.abs(tried[1:] - taken))]),
        np.full(8, np.nan),
        taken,
    )


def _stability(stable: bool) -> Stability:
    null = np.linspace(0.1, 0.5, 99)
    return Stability(0.9, 0.6, 0.97 if stable else 0.4, 0.8, null, null, 0.01 if stable else 0.4, stable)
