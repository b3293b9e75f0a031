"""The rows of a survey of conditioning: the fields of the command line's JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.conditioning.snapshots import PLANE, TERMS, distance_p
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from weightatlas.conditioning.singularities import ChannelStatistics
    from weightatlas.conditioning.smoothness import LayerTerms, Smoothness
    from weightatlas.conditioning.snapshots import Snapshot
    from weightatlas.conditioning.survey import Conditioning
    from weightatlas.conditioning.walks import Walk

_OF_DISTANCES: Final = tuple(
    f"{which}_{figure}"
    for which in PLANE
    for figure in ("distance", "low", "high", "chance", "chance_high", "p_value", "q_value")
)
_OF_TERMS: Final = tuple(f"{which}{figure}" for which in TERMS for figure in ("", "_p_value", "_q_value"))
_WALKS: Final = ("loss_lipschitz", "gradient_lipschitz")

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "layers": (
        "layer",
        "step",
        "function",
        "norm",
        "channels",
        *_OF_DISTANCES,
        "dead",
        "dead_low",
        "dead_high",
        "near_dead",
        "near_dead_low",
        "near_dead_high",
        "least_positive",
        "positive",
        "positive_gaussian",
        "examples",
        "skipped",
    ),
    "channels": (
        "layer",
        "step",
        "channel",
        "mean",
        "std",
        "positive",
        "positive_low",
        "positive_high",
        "positive_gaussian",
        "normalized_mean",
        "normalized_std",
        "skipped",
    ),
    "weights": (
        "layer",
        "step",
        "kind",
        "shape",
        "standardized",
        "units",
        *_OF_TERMS,
        "null",
        "gradient_before",
        "gradient_after",
        "removed",
        "skipped",
    ),
    "steps": (
        "step",
        "loss",
        "gradient_norm",
        "weight_norm",
        *(
            f"{figure}{of}"
            for figure in _WALKS
            for of in ("", "_random", "_random_low", "_random_high", "_p_value", "_relative")
        ),
        "top_eigenvalue",
        "residual",
        "converged",
        "mean_distance",
        "std_distance",
        "dead",
        "near_dead",
        "centring",
        "scaling",
        "null",
        "examples",
        "skipped",
    ),
    "walks": (
        "step",
        "direction",
        "length",
        "relative_length",
        "learning_rate",
        "loss_change",
        "gradient_distance",
        "skipped",
    ),
}


def layer_rows(survey: Conditioning) -> Iterator[Row]:
    """One row a nonlinearity and a step."""
    for snapshot in survey.snapshots:
        if not snapshot.points:
            yield {"step": snapshot.step, "skipped": snapshot.unmeasured}
        for point in snapshot.points:
            yield {"step": snapshot.step, **_point_row(snapshot, point)}


def _point_row(snapshot: Snapshot, point: ChannelStatistics) -> Row:
    row: Row = {
        "layer": point.layer,
        "function": point.function,
        "norm": point.norm,
        "channels": point.channels,
        "examples": point.examples,
        "skipped": point.skipped,
    }
    for which, distance in zip(PLANE, (point.means, point.stds), strict=True):
        row |= {
            f"{which}_distance": plain(distance.value),
            f"{which}_low": plain(distance.interval[0]),
            f"{which}_high": plain(distance.interval[1]),
            f"{which}_chance": plain(distance.chance),
            f"{which}_chance_high": plain(distance.chance_high),
            f"{which}_p_value": plain(distance_p(point, which)),
            f"{which}_q_value": snapshot.q_values.get((point.layer, which)),
        }
    for which, value, (low, high) in (
        ("dead", point.dead, point.dead_interval),
        ("near_dead", point.near_dead, point.near_dead_interval),
    ):
        row |= {which: plain(value), f"{which}_low": plain(low), f"{which}_high": plain(high)}
    if point.skipped is None and point.channels:
        row |= {
            "least_positive": plain(point.least_positive),
            "positive": plain(float(np.mean(point.positive))),
            "positive_gaussian": plain(float(np.mean(point.gaussian_positive))),
        }
    return row


def channel_rows(survey: Conditioning) -> Iterator[Row]:
    """One row a channel of every nonlinearity and step."""
    for snapshot in survey.snapshots:
        if not snapshot.points:
            yield {"step": snapshot.step, "skipped": snapshot.unmeasured}
        for point in snapshot.points:
            head: Row = {"layer": point.layer, "step": snapshot.step}
            if point.skipped is not None:
                yield head | {"skipped": point.skipped}
                continue
            figures = {name: getattr(point, name) for name in COLUMNS["channels"][3:-1] if name != "positive_gaussian"}
            figures["positive_gaussian"] = point.gaussian_positive
            for channel in range(point.channels):
                yield head | {"channel": channel, **{name: plain(values[channel]) for name, values in figures.items()}}


def weight_rows(survey: Conditioning) -> Iterator[Row]:
    """One row a convolution and a step."""
    for snapshot in survey.snapshots:
        if not snapshot.terms:
            yield {"step": snapshot.step, "skipped": snapshot.rough or "it has no convolution"}
        for layer in snapshot.terms:
            yield {"step": snapshot.step, **_weight_row(snapshot, layer)}


def _weight_row(snapshot: Snapshot, layer: LayerTerms) -> Row:
    row: Row = {
        "layer": layer.layer,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "standardized": layer.standardized,
        "skipped": layer.skipped,
    }
    found = None if layer.terms is None else layer.terms.layer
    if layer.terms is None or found is None:
        return row
    for which, p_value in zip(TERMS, (found.centring_p, found.scaling_p), strict=True):
        row |= {
            which: plain(getattr(found, which)),
            f"{which}_p_value": plain(p_value),
            f"{which}_q_value": snapshot.q_values.get((layer.layer, which)),
        }
    return row | {
        "units": len(layer.terms.units),
        "null": plain(found.null),
        "gradient_before": plain(found.before),
        "gradient_after": plain(found.after),
        "removed": plain(found.removed),
    }


def step_rows(survey: Conditioning) -> Iterator[Row]:
    """One row a moment: the network as a whole."""
    for snapshot in survey.snapshots:
        row: Row = {"step": snapshot.step, "skipped": None}
        for figure in ("mean_distance", "std_distance", "dead", "near_dead"):
            row[figure] = plain(snapshot.mean(figure))
        if snapshot.channels is not None:
            row["examples"] = snapshot.channels.examples
        if snapshot.smoothness is not None:
            row |= {**_smoothness_row(snapshot.smoothness), "null": plain(snapshot.chance())}
            row |= {term: plain(snapshot.share(term)) for term in TERMS}
        if snapshot.channels is None and snapshot.smoothness is None:
            row["skipped"] = snapshot.unmeasured or snapshot.rough
        yield row


def _smoothness_row(found: Smoothness) -> Row:
    row: Row = {name: plain(getattr(found, name)) for name in ("loss", "gradient_norm", "weight_norm")}
    for figure in _WALKS:
        random = getattr(found, f"random_{figure}")
        low, high = (math.nan, math.nan)
        middle = float(np.median(random)) if random.size else math.nan
        if np.isfinite(random).all() and random.size:
            low, high = np.quantile(random, (0.025, 0.975)).tolist()
        row |= {
            figure: plain(getattr(found, figure)),
            f"{figure}_random": plain(middle),
            f"{figure}_random_low": plain(low),
            f"{figure}_random_high": plain(high),
            f"{figure}_p_value": plain(getattr(found, f"{figure}_p")),
            f"{figure}_relative": plain(getattr(found, f"relative_{figure}")),
        }
    if found.hessian is not None:
        row |= {
            "top_eigenvalue": plain(found.hessian.values[0]),
            "residual": plain(found.hessian.residuals[0]),
            "converged": found.hessian.converged,
        }
    return row


def walk_rows(survey: Conditioning) -> Iterator[Row]:
    """One row a step of every walk from every moment's weights."""
    for snapshot in survey.snapshots:
        found = snapshot.smoothness
        if found is None or found.descent is None:
            yield {"step": snapshot.step, "skipped": snapshot.rough or "the gradient is 0: there is no way down"}
            continue
        yield from _walk_rows(snapshot.step, found, "gradient", found.descent)
        for number, walk in enumerate(found.random, start=1):
            yield from _walk_rows(snapshot.step, found, f"random {number}", walk)


def _walk_rows(step: int | None, found: Smoothness, direction: str, walk: Walk) -> Iterator[Row]:
    for length, change, distance in zip(walk.lengths, walk.loss_change, walk.gradient_distance, strict=True):
        yield {
            "step": step,
            "direction": direction,
            "length": plain(length),
            "relative_length": plain(length / found.weight_norm) if found.weight_norm else None,
            "learning_rate": plain(length / found.gradient_norm) if found.gradient_norm else None,
            "loss_change": plain(change),
            "gradient_distance": plain(distance),
        }


ROWS: Final[Mapping[str, Callable[[Conditioning], Iterator[Row]]]] = {
    "layers": layer_rows,
    "channels": channel_rows,
    "weights": weight_rows,
    "steps": step_rows,
    "walks": walk_rows,
}
