"""What WeightScale's experiment measures of a run: where along the network its layers change most."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.change.analysis import Analysis
from weightatlas.change.clusters.pipeline import PUBLISHED
from weightatlas.change.depth import depth_trend
from weightatlas.change.survey import survey
from weightatlas.checkpoints import open_checkpoint
from weightatlas.lab.experiments.experiment import Measure, Measurement
from weightatlas.lab.records import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from weightatlas.change.changes import Changes
    from weightatlas.lab.experiments.experiment import Figure
    from weightatlas.lab.running import Run

FIGURES: Final = {"ratio_l1": "", "elementwise": "_elementwise"}
"""The two variants of relative weight change, and the ends of their measures' names."""

NAMES: Final = {"ratio_l1": "equation 1", "elementwise": "elementwise"}
ONCE: Final = MappingProxyType({"permutations": 1, "resamples": 1})
"""Of the tests of one run: intervals and tests come from seeds here."""

ROLES: Final = ("depthwise", "pointwise")
"""Roles within which recruitment is measured too: the paper tells EfficientNet's apart."""

PARTS: Final = 3
"""The first and the last of so many parts of the layers are compared."""

FEWEST: Final = 6
"""Layers of a role without which it has no recruitment: two in each part."""

ANALYSIS: Final = Analysis(figure="elementwise", pipeline=PUBLISHED, clusters=4)
"""Clusters as published: of the elementwise curves, four as for ResNet on CIFAR-10 and CIFAR-100."""


def _of_variant(figure: str) -> tuple[Measure, ...]:
    end, name = FIGURES[figure], NAMES[figure]
    return (
        Measure(
            f"recruitment{end}",
            f"recruitment, {name}",
            compared=True,
            description="mean log change of the last third of the layers less that of the first",
        ),
        *(
            Measure(
                f"recruitment_{role}{end}",
                f"recruitment of {role} layers, {name}",
                description=f"the same of {role} layers",
            )
            for role in ROLES
        ),
        Measure(f"depth{end}", f"rank correlation with depth, {name}", description="Spearman of change with depth"),
        Measure(
            f"size{end}",
            f"rank correlation with size, {name}",
            description="Spearman of change with the number of weights",
        ),
        Measure(
            f"depth_given_size{end}",
            f"rank correlation with depth given size, {name}",
            compared=True,
            description="partial Spearman of change with depth given size",
        ),
        Measure(
            f"size_given_depth{end}",
            f"rank correlation with size given depth, {name}",
            description="and with size given depth",
        ),
    )


MEASURES: Final = (
    Measure("train_top5", "top-5, training", "number", description="top-5 on training data"),
    *_of_variant("ratio_l1"),
    *_of_variant("elementwise"),
    Measure(
        "size_excess",
        "rank correlation with size, elementwise less equation 1",
        description="how much more it follows size",
    ),
    Measure(
        "recruitment_undivided",
        "recruitment, undivided",
        compared=True,
        description="the same of the mean |change| of a weight, not divided by the weights",
    ),
    Measure(
        "recruitment_start",
        "recruitment from first weights",
        description="what equation 1 would give if every weight moved as far and the first weights stayed",
    ),
    Measure("scale", "rank correlation with 1 / |w|, equation 1", description="with how small the first weights are"),
    Measure(
        "depth_given_scale",
        "rank correlation with depth given 1 / |w|, equation 1",
        compared=True,
        description="partial Spearman of change with depth given the size of the first weights",
    ),
    Measure("layers", "layers", "integer", description="that were measured: first, last and embeddings left out"),
    Measure("records", "records", "integer", description="pairs of checkpoints that follow each other"),
    Measure("stopped", "stopped layers", "integer", description="whose change stays far below the others' to the end"),
    Measure("stability", "clusters: ARI of starts", description="adjusted Rand index of single starts with the best"),
    Measure("reached", "clusters: starts that reach it", "share", description="single starts that reach the best"),
    Measure("cluster_p", "clusters: p", "probability", description="curves without groups that separate as well"),
)
"""The figures of each run, in the order of the tables."""


def measure_change(run: Run) -> Measurement:
    r"""Measure where along the network a finished run's layers changed most, from all its checkpoints.

    With c_l(t) the change of layer l from checkpoint t - 1 to t, by equation 1 (`ratio_l1`) or elementwise as the
    paper's code has it, L layers in the order of the network and k = L // 3,

    $$m_l = \operatorname{median}_t \ln c_l(t), \qquad
      R = \frac1k \sum_{l > L - k} m_l - \frac1k \sum_{l \le k} m_l$$

    is the recruitment of later layers: R = 0 where the last third changes by as large a part of its weights as the
    first, ln 2 = .69 where by twice as large a part. The first and the last layer are left out, as the paper does,
    and so are embeddings; with them goes the one layer whose size depends on the number of classes. So two tasks that
    one network learns have layers of the same sizes, and the difference of their R is not confounded with size; R
    itself is. Values of 0 and those that are not finite are left out of the median.

    "depth", "size" and the partial figures are Spearman's with m_l; "scale" is that with how small a layer's weights
    are at the start, one over the mean of |w|. If Adam moves all weights by about as much, small ones change by a
    larger part, and where first weights shrink as layers widen, later layers change more before anything is learned.
    Two figures tell this from learning. Equation 1 is the mean |change| of a weight over the mean |weight|:
    "recruitment_undivided" is R of the first alone, how much farther later weights move; "recruitment_start" is R of
    one over the second at the start, what R would be if all weights moved as far. Clusters are those of the published
    pipeline on the elementwise curves, four of them; "stability" compares single starts of k-means with the best one,
    where the paper keeps the best of ten.

    Arrays: `change/ratio_l1` and `change/elementwise`, (layers, records), of all layers, with `change/layers`,
    `change/steps`, `change/sizes` and `change/inner`, which of them are measured; `change/first`, the mean |weight| of
    each at the start, NaN where the run has not kept its first weights.

    Raises:
        SourceError: the run's checkpoints cannot be read.

    **Source:** WeightScale (Agrawal and others, 2022), section 4, which reads recruitment off its curves and gives no
    figure; R is ours.
    """
    changes = survey(str(run.folder), analysis=ANALYSIS, jobs=1)
    inner = inner_layers(changes)
    figures: dict[str, Figure] = {
        "train_top5": run.train_top5,
        "layers": len(inner),
        "records": len(changes.steps),
        "stopped": None if changes.stopped is None else len(changes.stopped.layers),
    }
    for figure in FIGURES:
        figures |= _along(changes, inner, figure)
    weights = _mean_weights(run, changes)
    figures |= _against_scale(weights, changes, inner)
    excess = [figures.get(f"size{FIGURES[figure]}") for figure in ("elementwise", "ratio_l1")]
    if isinstance(excess[0], float) and isinstance(excess[1], float):
        figures["size_excess"] = excess[0] - excess[1]
    return Measurement(figures | _clustering(changes), _arrays(changes, inner, weights[:, 0]))


def inner_layers(changes: Changes) -> list[int]:
    """The positions of the layers between the first and the last that are no embeddings."""
    last = len(changes.layers) - 1
    return [number for number in range(1, last) if changes.layers[number].role != "embedding"]


def typical_change(curves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The median over records of the logarithm of each layer's change, (layers,); NaN where none is above 0.

    Example:
        >>> typical_change(np.array([[1.0, np.e, 0.0], [0.0, 0.0, np.nan]])).tolist()
        [0.5, nan]
    """
    known = np.isfinite(curves) & (curves > 0)
    logs = np.log(np.where(known, curves, 1.0))
    return np.array([np.median(row[kept]) if kept.any() else np.nan for row, kept in zip(logs, known, strict=True)])


def recruitment(typical: Iterable[float]) -> float:
    """How much more the last third of the layers changes than the first, in logarithms; NaN below three layers.

    Args:
        typical: the logarithm of each layer's change, in the order of the network; layers without one are left out.

    Example:
        >>> recruitment([0.0, 0.5, 5.0, 5.0, 1.0, 1.5])
        1.0
    """
    values = [value for value in typical if math.isfinite(value)]
    part = len(values) // PARTS
    return sum(values[-part:]) / part - sum(values[:part]) / part if part else math.nan


def _along(changes: Changes, inner: list[int], figure: str) -> dict[str, Figure]:
    """Recruitment and rank correlations of one variant."""
    end = FIGURES[figure]
    typical = typical_change(changes.curves(figure)[inner])
    found: dict[str, Figure] = {f"recruitment{end}": recruitment(typical.tolist())}
    roles = [changes.layers[number].role for number in inner]
    for role in ROLES:
        within = [value for value, its in zip(typical.tolist(), roles, strict=True) if its == role]
        if len(within) >= FEWEST:
            found[f"recruitment_{role}{end}"] = recruitment(within)
    depth = np.arange(len(inner), dtype=np.float64)
    size = np.array([changes.layers[number].parameters for number in inner], dtype=np.float64)
    trend = depth_trend(typical, depth, size, **ONCE)
    turned = depth_trend(typical, size, depth, **ONCE)
    found |= {
        f"depth{end}": trend.with_depth,
        f"size{end}": trend.with_size,
        f"depth_given_size{end}": trend.partial,
        f"size_given_depth{end}": turned.partial,
    }
    return found


def _mean_weights(run: Run, changes: Changes) -> npt.NDArray[np.float64]:
    """The mean |weight| of each layer before each change, (layers, records); NaN where no checkpoint is kept."""
    found = np.full((len(changes.layers), len(changes.since)), np.nan)
    for record, step in enumerate(changes.since):
        path = RunFolder(run.folder).checkpoint(step)
        if path.is_file():
            state = open_checkpoint(path)
            found[:, record] = [float(state[layer.tensor].abs().mean(dtype=torch.float64)) for layer in changes.layers]
    return found


def _against_scale(weights: npt.NDArray[np.float64], changes: Changes, inner: list[int]) -> dict[str, Figure]:
    """How far weights move and how small the first ones are; nothing where the run has not kept them."""
    first = weights[inner, 0]
    if changes.since[0] != 0 or not np.isfinite(first).all():
        return {}
    curves = changes.curves("ratio_l1")[inner]
    trend = depth_trend(typical_change(curves), np.arange(len(inner), dtype=np.float64), -first, **ONCE)
    return {
        "recruitment_undivided": recruitment(typical_change(curves * weights[inner]).tolist()),
        "recruitment_start": -recruitment(typical_change(first[:, None]).tolist()),
        "scale": trend.with_size,
        "depth_given_scale": trend.partial,
    }


def _clustering(changes: Changes) -> dict[str, Figure]:
    """How stable the published clustering of the elementwise curves is; nothing for runs too short to cluster."""
    groups = () if changes.trends is None else changes.trends.groups
    stability = next((group.stability for group in groups if group.stability is not None), None)
    if stability is None:
        return {}
    return {"stability": stability.inits, "reached": stability.reached, "cluster_p": stability.p}


def _arrays(changes: Changes, inner: list[int], first: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    names = np.array(changes.names, dtype=np.str_)
    kept = np.zeros(len(names), dtype=bool)
    kept[inner] = True
    return {
        **{f"change/{figure}": changes.curves(figure) for figure in FIGURES},
        "change/layers": names,
        "change/steps": np.array(changes.steps, dtype=np.int64),
        "change/sizes": np.array([layer.parameters for layer in changes.layers], dtype=np.int64),
        "change/inner": kept,
        "change/first": first,
    }
