"""A table of curves made ready for clustering: missing values, the ends, outliers, scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.ndimage import median_filter
from scipy.stats import median_abs_deviation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.change.clusters.pipeline import Pipeline

    Array = npt.NDArray[np.float64]

WINDOW: Final = 5
"""Records of the running median that a spike stands out from: two on either side outvote two spikes in a row."""

LARGEST: Final = 1e75
"""Beyond it a change counts as infinite, below its inverse as none: squares of ratios of changes stay finite numbers.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table of curves with its names: (layers, records)."""

    names: tuple[str, ...]
    records: tuple[str, ...]
    curves: Array


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A table after every step up to the clustering.

    Attributes:
        curves: (layers, records); NaN for layers that were left out.
        replaced: (layers, records) which values were missing or outliers and stand replaced.
        spikes: (layers, records) which of these were outliers.
        left_out: by position, why a layer takes no part.
    """

    curves: Array
    replaced: npt.NDArray[np.bool_]
    spikes: npt.NDArray[np.bool_]
    left_out: Mapping[int, str]


def table_of(curves: Any, names: Sequence[str] | None = None) -> Table:  # noqa: ANN401 - whatever holds a table
    """Read a table of curves from an array, a data frame or a mapping; what is past `LARGEST` is taken for infinite.

    Raises:
        ValueError: it is no table of numbers, is empty, or its names do not fit.
    """
    records: Sequence[object] | None = None
    if isinstance(curves, Mapping):
        rows, labels = list(curves.values()), list(curves)
    elif hasattr(curves, "columns") and hasattr(curves, "index"):
        rows, labels, records = curves.to_numpy(), list(curves.index), list(curves.columns)
    else:
        rows, labels = curves, None
    try:
        values = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        message = f"curves are a table of numbers, layers x records, all of one length: {error}"
        raise ValueError(message) from error
    if values.ndim != 2 or values.size == 0:
        message = f"curves are a table, layers x records, with a value at least; got shape {values.shape}"
        raise ValueError(message)
    values[np.abs(values) > LARGEST] *= np.inf
    values[np.abs(values) < 1 / LARGEST] = 0
    if names is None:
        names = [f"layer {index}" for index in range(len(values))] if labels is None else [str(name) for name in labels]
    if len(names) != len(values):
        message = f"{len(names)} names for {len(values)} layers"
        raise ValueError(message)
    return Table(tuple(names), tuple(map(str, records or range(values.shape[1]))), values)


def prepare(curves: Array, pipeline: Pipeline) -> Prepared:
    """Apply the steps of a pipeline that come before the clustering.

    Args:
        curves: (layers, records); NaN and infinity are missing values.
        pipeline: which steps, and how.

    Raises:
        ValueError: a logarithm is asked for and a value is negative.
    """
    left_out = _ends(curves, pipeline)
    values, replaced = _with_missing(curves, pipeline, left_out)
    taking_part = np.array([index not in left_out for index in range(len(curves))])
    spikes = np.zeros(values.shape, dtype=bool)
    kept = values[taking_part]
    if len(kept):
        if pipeline.outliers == "mean":
            kept, spikes[taking_part] = _to_mean(kept, pipeline.outlier_cut)
        kept = _scaled(kept, pipeline)
        if pipeline.outliers == "name":
            kept, spikes[taking_part] = _to_running_median(kept, pipeline.spike_cut)
        if pipeline.level == "remove":
            kept = kept - kept.mean(axis=1, keepdims=True)
    prepared = np.full(values.shape, np.nan)
    prepared[taking_part] = kept
    return Prepared(prepared, replaced | spikes, spikes, left_out)


def _ends(curves: Array, pipeline: Pipeline) -> dict[int, str]:
    if not pipeline.drop_ends:
        return {}
    return {len(curves) - 1: "the last layer of the table", 0: "the first layer of the table"}


def _with_missing(curves: Array, pipeline: Pipeline, left_out: dict[int, str]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Fill what is missing; add the layers where that cannot be done to `left_out`."""
    known = np.isfinite(curves)
    values = np.where(known, curves, 0.0)
    records = np.arange(curves.shape[1])
    for index in np.flatnonzero(~known.all(axis=1)):
        share = known[index].mean()
        if not share or (pipeline.missing == "interpolate" and share < 0.5):
            left_out.setdefault(int(index), f"only {known[index].sum()} of {len(records)} values are finite numbers")
        elif pipeline.missing == "biased-mean":
            values[index, ~known[index]] = values[index].sum() / len(records)
        else:
            values[index] = np.interp(records, records[known[index]], values[index, known[index]])
    return values, ~known


def _to_mean(values: Array, cut: float) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Equation 2, in one pass, with the standard deviation of a population."""
    mean, deviation = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True)
    beyond = np.abs(values - mean) > cut * deviation
    return np.where(beyond, mean, values), beyond


def _to_running_median(values: Array, cut: float) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Bridge single values far from their neighbours in time.

    Far is measured by the scatter from one record to the next, the layer's own or that of all layers, whichever is
    wider.
    """
    if values.shape[1] < WINDOW:
        return values, np.zeros(values.shape, dtype=bool)
    smooth = median_filter(values, size=(1, WINDOW), mode="nearest")
    rest = values - smooth
    noise = np.diff(values, axis=1) / np.sqrt(2)
    scatter = median_abs_deviation(noise, axis=1, scale="normal")
    scatter = np.maximum(scatter, median_abs_deviation(noise, axis=None, scale="normal"))[:, np.newaxis]
    beyond = (np.abs(rest) > cut * scatter) & (scatter > 0)
    return np.where(beyond, smooth, values), beyond


def _scaled(values: Array, pipeline: Pipeline) -> Array:
    scaling = pipeline.scaling
    if scaling in ("log", "log-robust"):
        values = _logarithms(values, pipeline.floor)
    elif scaling == "relative":
        middle = np.median(values, axis=0)
        values = values / np.where(middle == 0, 1, middle)
    if scaling in ("robust", "log-robust"):
        low, middle, high = np.percentile(values, [25, 50, 75], axis=0)
        values = (values - middle) / np.where(high > low, high - low, 1)
    return values


def _logarithms(values: Array, floor: float) -> Array:
    """The logarithm of each value over its record's median among values above 0, none below `floor`."""
    if (values < 0).any():
        message = "the logarithm of a negative change: take scaling='robust' or 'none' for such a table"
        raise ValueError(message)
    moving = np.where(values > 0, values, np.nan)
    logarithms: Array = np.zeros(values.shape)
    for record in np.flatnonzero((values > 0).any(axis=0)):
        ratios = values[:, record] / np.nanmedian(moving[:, record])
        logarithms[:, record] = np.log(np.maximum(ratios, floor))
    return logarithms
