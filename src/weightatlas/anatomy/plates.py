"""How a layer survey is shown: the subject of the chapter, findings, the list of layers, their figures by depth."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from weightatlas.anatomy.charts import depth_chart
from weightatlas.anatomy.findings import HEAVY_TAILS, layer_findings, rank_ratio
from weightatlas.anatomy.spectral import random_rank_spread
from weightatlas.plate import Chart, Column, Heading, Plate, Strip, Subject, Table
from weightatlas.wording import capitalized, counted, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from weightatlas.anatomy.layer_survey import LayerSurvey, MeasuredLayer

_WEIGHTS: Final = ("convolution", "linear", "embedding")
_UNITS: Final = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
_NULL: Final = (
    "A matrix of independent Gaussian entries of the same shape: Johnstone's centre and scale of the largest "
    "eigenvalue of a Wishart matrix with the mean of the Tracy-Widom law; simulated below nine rows or columns. "
    "A Gaussian has excess kurtosis 0."
)
_METHOD: Final = (
    "Every tensor is read once; sums are in double precision. Excess kurtosis is the fourth central moment over the "
    "squared variance, less 3. Stable rank is the squared Frobenius norm over the squared spectral norm of the matrix "
    "with one row an output; the spectral norm is exact up to 256 rows or columns, else found by Lanczos iteration to "
    "1e-4."
)
_COLUMNS: Final = (
    Column("layer", "layer", "layer"),
    Column("role", "role", description="what the layer is for, from its module or its name and shape"),
    Column("shape", "shape", "shape", description="out × in, then the extent of the kernel"),
    Column("parameters", "parameters", "integer"),
    Column("norm", "norm", "number", digits=2, description="Euclidean norm of all weights"),
    Column("std", "std", "number", digits=4, description="standard deviation"),
    Column("largest", "largest", "number", digits=3, description="largest magnitude"),
    Column(
        "kurtosis", "kurtosis", "signed", digits=1, description="excess kurtosis: 0 for a Gaussian, 3 for a Laplacian"
    ),
    Column("stable_rank", "stable rank", "number", digits=1),
    Column(
        "strip",
        "of random",
        "strip",
        domain=(0.0, 1.25),
        description="stable rank over that of a random matrix of the shape; grey is where 95 % of those fall",
    ),
)


def plates(survey: LayerSurvey) -> list[Plate]:
    """All plates of a survey; the charts only where there is a weight to draw."""
    weights = _weights(survey)
    made: list[Plate] = [_subject(survey), *layer_findings(survey.measured, weights), _table(survey, weights)]
    if weights:
        made.append(_statistics(weights))
    return made


def chart(survey: LayerSurvey) -> alt.VConcatChart:
    """Spread, tails and stable rank of every layer by depth."""
    return depth_chart(_chart_rows(_weights(survey)))


def _weights(survey: LayerSurvey) -> list[MeasuredLayer]:
    """What the charts draw: weights of more than one axis with figures that are all there."""
    return [
        entry
        for entry in survey.measured
        if entry.layer.kind in _WEIGHTS and len(entry.layer.shape) > 1 and entry.statistics.skipped is None
    ]


def _subject(survey: LayerSurvey) -> Subject:
    parameters = [entry.layer for entry in survey.measured if entry.layer.kind != "buffer"]
    size = sum(entry.layer.nbytes for entry in survey.measured)
    types = Counter[str]()
    for layer in parameters:
        types[layer.dtype] += layer.parameters
    roles = Counter(layer.role for layer in parameters if layer.kind in (*_WEIGHTS, "norm"))
    facts = [
        f"{_spoken(sum(layer.parameters for layer in parameters))} parameters in {_counted(len(parameters), 'tensor')}",
        f"{' and '.join(name for name, _ in types.most_common(3))}, {_bytes(size)}" if types else "",
        ", ".join(f"{count} {role}" for role, count in roles.most_common()),
    ]
    title = survey.source.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Subject(title or survey.source, tuple(fact for fact in facts if fact))


def _table(survey: LayerSurvey, weights: Sequence[MeasuredLayer]) -> Table:
    drawn = {id(entry) for entry in weights}
    rows: list[dict[str, Any]] = []
    marked: list[bool] = []
    for entry, row in zip(survey.measured, survey.rows(), strict=False):
        kept = id(entry) in drawn or (entry.layer.kind not in ("buffer", "bias") and len(entry.layer.shape) > 1)
        if kept or entry.statistics.non_finite:
            rows.append(row | {"strip": _strip(entry)})
            marked.append(bool(entry.statistics.non_finite) or entry.statistics.kurtosis >= HEAVY_TAILS)
    for row in survey.rows()[len(survey.measured) :]:
        rows.append(row)
        marked.append(False)
    heavy = sum(entry.statistics.kurtosis >= HEAVY_TAILS for entry in weights)
    layers = counted(len(weights), "layer")
    have = "has" if heavy == 1 else "have"
    title = capitalized(
        f"{number(heavy)} of {layers} {have} heavy tails" if heavy else f"{layers}, none with heavy tails"
    )
    return Table(
        Heading(
            key="layers",
            title=title if weights else "No layer has weights that can be measured",
            reading=(
                "One row a weight of two or more axes, in the order of the network. The dot is the stable rank as a "
                "part of a random matrix's: on the grey bar nothing is learnt that the spectrum shows, far left few "
                "directions carry the layer. A filled accent marks heavy tails: an excess kurtosis of 10 or more "
                "(a Gaussian has 0, a Laplacian 3). Norms, biases and buffers are in the data."
            ),
            method=_METHOD,
            null=_NULL,
        ),
        _COLUMNS,
        tuple(rows),
        tuple(marked),
    )


def _strip(entry: MeasuredLayer) -> Strip | None:
    ratio = rank_ratio(entry)
    if not math.isfinite(ratio):
        return None
    reach = 1.96 * random_rank_spread(entry.layer.shape[0], math.prod(entry.layer.shape[1:]))
    return Strip(ratio, 1.0 - reach, 1.0 + reach)


def _statistics(weights: Sequence[MeasuredLayer]) -> Chart:
    rows = _chart_rows(weights)
    return Chart(
        Heading(
            key="statistics",
            title=_rank_title(weights),
            reading=(
                "Each dot is a layer, from the input on the left to the output on the right; colour and thin line are "
                "its role. Above: the spread of its weights. Middle: how heavy their tails are, a Gaussian's at the "
                "dashed line. Below: its stable rank over that of a random matrix of its shape, which lies at the "
                "dashed line."
            ),
            method=_METHOD,
            null=_NULL,
        ),
        depth_chart(rows).to_dict(),
        tuple(rows),
    )


def _rank_title(weights: Sequence[MeasuredLayer]) -> str:
    ratios = sorted((rank_ratio(entry), entry.layer.layer) for entry in weights if math.isfinite(rank_ratio(entry)))
    if not ratios:
        return "Spread and tails of every layer by depth"
    lowest, layer = ratios[0]
    middle = ratios[len(ratios) // 2][0]
    if lowest > 0.9:
        return "By their stable rank, all layers look random"
    if len(ratios) < 3 or middle > 0.9:
        return f"The stable rank of {layer} is {lowest:.0%} of a random matrix's"
    return f"Half the layers have {middle:.0%} or less of a random matrix's stable rank; {layer} has {lowest:.0%}"


def _chart_rows(weights: Sequence[MeasuredLayer]) -> list[dict[str, Any]]:
    return [
        {
            "depth": depth,
            "layer": entry.layer.layer,
            "role": entry.layer.role,
            "shape": " × ".join(map(str, entry.layer.shape)),
            "std": _finite(entry.statistics.std),
            "kurtosis": _finite(entry.statistics.kurtosis),
            "stable_rank": _finite(entry.statistics.stable_rank),
            "stable_rank_null": _finite(entry.statistics.stable_rank_null),
            "stable_rank_ratio": _finite(rank_ratio(entry)),
        }
        for depth, entry in enumerate(weights, start=1)
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _spoken(number: int) -> str:
    for unit, name in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:,}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError
