"""How the pages of weight change are read, how they were computed, and what chance would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.change.drawing.heat_map import colour_reach, over_median
from weightatlas.change.drawing.thinning import thinned

if TYPE_CHECKING:
    from weightatlas.change.changes import Changes
    from weightatlas.change.clusters.pipeline import Pipeline
    from weightatlas.change.stopped import Stopped
    from weightatlas.change.trends import Trends

FORMULAS: Final = {
    "ratio_l1": "Relative change is the sum of |after − before| over the sum of |before|, from each checkpoint to the "
    "next (WeightScale, equation 1).",
    "elementwise": "The mean over weights of |after − before| / |before|, as in WeightScale's code: it grows with the "
    "number of weights, and one weight near 0 makes a spike.",
    "ratio_l2": "The Euclidean length of after − before over that of before, from each checkpoint to the next.",
}
LAYERS: Final = "Layers are all weights of two dimensions or more, unless all tensors were asked for."
DEPTH_NULL: Final = (
    "Given size, change does not go with depth: what size leaves of change is permuted over the layers (Freedman and "
    "Lane, 1983)."
)


def curves_reading(changes: Changes) -> str:
    """How to read the curves."""
    if changes.trends is None or not any(group.clusters for group in changes.trends.groups):
        return "A thin line is a layer, the heavy one the median layer of each step. The scale is logarithmic."
    return (
        "A thin line is a layer, a heavy one the median of the layers that move alike, with its number and how many "
        "they are; the lowest number moves most. Grey belongs to no cluster. The scale is logarithmic; what lies at "
        "its foot did not change, or far less than anything else."
    )


def curves_method(changes: Changes) -> str:
    """How the curves were computed."""
    thin = thinned(changes.curves(changes.figure), join_layers=False)
    return " ".join(
        part for part in (FORMULAS[changes.figure], LAYERS, _together(thin.steps_together), uneven(changes)) if part
    )


def uneven(changes: Changes) -> str:
    """What is said where checkpoints are not evenly apart; nothing where they are."""
    apart = {step - since for step, since in zip(changes.steps, changes.since, strict=True)}
    if len(apart) < 2:
        return ""
    return (
        f"Checkpoints lie {min(apart):,} to {max(apart):,} {changes.unit}s apart: the further, the larger a change. "
        "Within one step layers can be compared; one step with another, with care."
    )


def heat_map_reading(changes: Changes) -> str:
    """How to read layers against steps."""
    reach = colour_reach(thinned(over_median(changes)).values)
    part = {2: "half", 5: "a fifth", 10: "a tenth"}[int(reach)]
    text = (
        f"A row a layer, from the input down; a column a step. White changes as the median of the layers that move "
        f"does, the accent more, blue less; the colours end at {reach:g} times and {part} of it."
    )
    if not np.isfinite(changes.curves(changes.figure)).all():
        text = f"{text} Crossed cells have no figures."
    if changes.stopped is not None and changes.stopped.layers:
        return f"{text} A line runs through the cells of a layer that has stopped, from where it did."
    return text


def heat_map_method(changes: Changes) -> str:
    """How its cells were computed."""
    thin = thinned(changes.curves(changes.figure))
    text = f"{FORMULAS[changes.figure]} Each value is divided by the median of the layers that move at its step."
    return " ".join(part for part in (text, _together(thin.steps_together), _joined(thin.layers_together)) if part)


def clusters_method(trends: Trends) -> str:
    """How layers were clustered, step by step."""
    chosen = "; ".join(
        f"{group.name}: {group.chosen}" if len(trends.groups) > 1 else group.chosen for group in trends.groups
    )
    return f"{' '.join(_steps(trends.pipeline))} Number of clusters: {chosen}. Seed {trends.seed}."


def clusters_null(trends: Trends) -> str:
    """What curves without groups would give."""
    pipeline = trends.pipeline
    return (
        f"Twice {pipeline.nulls} tables of curves without groups, clustered the same way: one Gaussian, and layers "
        f"spread evenly along the principal axes, both with the mean and the covariance of this table. Every method "
        f"finds clusters in anything: they are called stable where at most {pipeline.alpha:.0%} of the tables of "
        f"either kind are as far apart and as often found again."
    )


def outliers_method(trends: Trends) -> str:
    """How values and layers were set apart."""
    pipeline = trends.pipeline
    texts = {
        "mean": f"As published: a value further than {pipeline.outlier_cut:g} standard deviations from the mean of its "
        "curve becomes that mean before clustering. It stays in all other figures.",
        "name": f"A value further than {pipeline.spike_cut:g} robust standard deviations from the running median of "
        f"its curve becomes that median before clustering; a layer whose surroundings are {pipeline.outlier_cut:g} "
        f"times emptier than its neighbours' (local outlier factor) takes no part in it. Both stay in all other "
        f"figures.",
        "keep": "Nothing was taken for an outlier; missing values were filled in before clustering.",
    }
    return texts[pipeline.outliers]


def stopped_reading(stopped: Stopped) -> str:
    """How to read which layers have stopped."""
    return (
        f"Each line is a layer's change over that of the network, so that what all layers do together (a "
        f"learning-rate schedule, say) divides out. Below the dashed line, at {stopped.below:g}, a layer hardly takes "
        f"part; in the accent, from its dot on, are those that stay there to the end."
    )


def stopped_method(stopped: Stopped) -> str:
    """How it was decided."""
    return (
        f"A layer has stopped at the first record from which its relative change is below {stopped.below:g} of the "
        f"median of the layers that move, to the end of the run, for {stopped.records} records at least. No test: the "
        f"bound is a convention, and an option."
    )


def _steps(pipeline: Pipeline) -> list[str]:
    """Sentences on what was done with the table before and while it was clustered."""
    scaling = {
        "none": "Curves as they are.",
        "log": "Logarithms of the ratio to the median layer of each record, so that a common schedule has no say.",
        "relative": "The ratio to the median layer of each record.",
        "robust": "Each record less its median, over its interquartile range.",
        "log-robust": "Logarithms of the ratio to the median layer of each record, over its interquartile range.",
    }
    method = {
        "kmeans": "k-means (k-means++)",
        "hierarchical": "Hierarchical clustering (Ward)",
        "mixture": "A mixture of Gaussians",
    }
    ends = ["The first and the last layer are left out."] if pipeline.drop_ends else []
    level = ["Each curve less its own mean: shapes are compared."] if pipeline.level == "remove" else []
    space = "the curves" if pipeline.space == "curves" else "their first two principal components"
    return [*ends, scaling[pipeline.scaling], *level, f"{method[pipeline.method]} on {space}."]


def _together(steps: int) -> str:
    return f"Up to {steps} neighbouring steps are drawn as one, their median." if steps > 1 else ""


def _joined(layers: int) -> str:
    return f"So are up to {layers} neighbouring layers." if layers > 1 else ""
