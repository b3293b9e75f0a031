"""How tuning is shown by itself: chroma against frequency, a dot a unit; what a model's layers answer to."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

import altair as alt

from weightatlas import palette
from weightatlas.branching.kernels.classes import CLASSES
from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.branching.responses.preferences import LABELS
from weightatlas.plate import Chart, Heading, Plate
from weightatlas.wording import capitalized, counted, listed, number

if TYPE_CHECKING:
    from weightatlas.branching.measured import MeasuredTuning
    from weightatlas.branching.tuning import Tuning

CONTINUUM: Final = 0.05
"""A gap at the colour threshold that a continuum shows more often than this splits nothing."""


def tuning_scatter(tuning: Tuning) -> alt.LayerChart:
    """Chroma against mean frequency, coloured by class, the colour threshold as a rule."""
    rows = [row for row in tuning.rows() if row["skipped"] is None]
    present = [name for name in CLASSES if name in tuning.classes]
    scale = alt.Scale(domain=present, range=[palette.CATEGORIES[CLASSES.index(name)] for name in present])
    dots = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(filled=True, size=50, opacity=0.8)
        .encode(
            x=alt.X("frequency:Q", title="mean frequency, cycles a pixel"),
            y=alt.Y("chroma:Q", title="chroma", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("class:N", title=None, scale=scale),
            shape=alt.Shape("class:N", title=None, scale=alt.Scale(domain=present)),
            tooltip=["unit:Q", "class:N", "chroma:Q", "frequency:Q", "orientation:Q", "gabor:Q"],
        )
    )
    rule = (
        alt.Chart(alt.InlineData(values=[{"chroma": COLOUR}]))
        .mark_rule(color=palette.GREY, strokeDash=[4, 4])
        .encode(y="chroma:Q")
    )
    chart: alt.LayerChart = (rule + dots).properties(width="container", height=260)
    return chart


def tuning_plates(tuning: Tuning) -> list[Plate]:
    """The scatter, titled with what it shows."""
    return [
        Chart(
            Heading(
                key="tuning",
                title=tuning_title(tuning),
                reading=(
                    f"One dot a unit; above the dashed line (chroma {COLOUR:g}) it sees colour. To the right "
                    "stand fine stripes, to the left coarse ones and blobs."
                ),
                method=(
                    "Chroma is the share of a kernel's energy in differences between channels; frequency the mean "
                    "radius of its zero-padded power spectrum, uniform light included."
                ),
                null=_null(tuning),
            ),
            spec=tuning_scatter(tuning).to_dict(),
            rows=tuple(tuning.rows()),
        )
    ]


def tuning_title(tuning: Tuning) -> str:
    """One sentence: how many units see colour, and whether they are a group of their own.

    Example:
        >>> import numpy as np
        >>> from weightatlas.branching.tuning import tuning
        >>> tuning_title(tuning(np.eye(3).reshape(3, 3, 1, 1)))
        'Three of three units see colour'
    """
    colour, measured = int(tuning.colour.sum()), len(tuning.classes) - len(tuning.skipped)
    counts = f"{number(colour)} of {counted(measured, 'unit')} see colour"
    p_value = tuning.colour_gap.p_value
    if p_value <= CONTINUUM:
        return capitalized(f"{counts}, a group apart")
    if p_value > CONTINUUM:
        return capitalized(f"{counts}, along a continuum")
    return capitalized(counts)


def _null(tuning: Tuning) -> str:
    sentences = []
    gap = tuning.colour_gap
    if not math.isnan(gap.p_value):
        sentences.append(
            f"No chroma lies between {gap.below:.2f} and {gap.above:.2f}: in a continuum so wide a gap at {COLOUR:g} "
            f"has p = {gap.p_value:.2g}."
        )
    if not math.isnan(tuning.gabor_null):
        sentences.append(f"Of white noise one kernel in twenty is a Gabor to more than {tuning.gabor_null:.0%}.")
    return " ".join(sentences) or f"{listed(tuning.notes)}."


def labels_chart(found: MeasuredTuning) -> alt.Chart:
    """One bar a layer, one stretch a label."""
    rows = [
        {"layer": name, "label": label, "units": layer.labels.count(label), "order": LABELS.index(label)}
        for name, layer in found.layers.items()
        for label in LABELS
        if label in layer.labels
    ]
    scale = alt.Scale(domain=list(LABELS), range=[*palette.CATEGORIES[: len(LABELS) - 1], palette.RULE])
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("units:Q", title="share of units", stack="normalize", axis=alt.Axis(format="%")),
            y=alt.Y("layer:N", title=None, sort=None),
            color=alt.Color("label:N", title=None, scale=scale),
            order="order:Q",
            tooltip=["layer:N", "label:N", "units:Q"],
        )
        .properties(width="container", height=alt.Step(22))
    )
    return chart


def labels_plates(found: MeasuredTuning) -> list[Plate]:
    """The bars, titled with what they show."""
    return [
        Chart(
            Heading(
                key="measured-tuning",
                title=labels_title(found),
                reading="One bar a layer, one stretch a label; grey is what prefers nothing asked.",
                method=(
                    "Answers to gratings, isoluminant colours, arcs and texture boundaries; a label is the highest "
                    "score against controls of equal energy."
                ),
                null="Units whose weights are shuffled within the unit: they would get a label in one case of twenty.",
            ),
            spec=labels_chart(found).to_dict(),
            rows=tuple(found.rows()),
        )
    ]


def labels_title(found: MeasuredTuning) -> str:
    """One sentence: how many units have a label, and which is the most frequent.

    Example:
        >>> from weightatlas.branching.measured import MeasuredTuning
        >>> labels_title(MeasuredTuning({}, {"fc": "it is a Linear, no two-dimensional convolution"}))
        'No layer could be asked'
    """
    labels = [label for layer in found.layers.values() for label in layer.labels]
    if not labels:
        return "No layer could be asked"
    named = Counter(label for label in labels if label != "other")
    counts = f"{number(named.total())} of {counted(len(labels), 'unit')}"
    if not named:
        return capitalized(f"{counts} prefer colour, curves or texture boundaries")
    label, most = named.most_common(1)[0]
    return capitalized(f"{counts} prefer what was asked, most often {label} ({number(most)})")
