"""How the plates of a branching survey are read, how they were computed, and what chance would give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.branching.charts import BIN, CARDINAL, ORIENTED, PANELS, TOGETHER
from weightatlas.branching.drawing.enrichment_charts import MATRICES
from weightatlas.branching.drawing.hidden_charts import CELLS
from weightatlas.branching.kernels.colour import COLOUR
from weightatlas.branching.specialization import SIGNIFICANT
from weightatlas.wording import capitalized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.branching.drawing.tuned_groups import TunedGroup
    from weightatlas.branching.survey import BranchingSurvey

CHROMA: Final = (
    "Chroma is the share of a kernel's energy in differences between its colours: the squares of each channel less the "
    f"mean of the three, over all squares. A unit sees colour where it is above {COLOUR:g}, the gap between the two "
    "groups of units of a network that has them."
)
FREQUENCY: Final = (
    "Frequency is the mean radius of the zero-padded power spectrum, orientation half the angle of its second moment, "
    "selectivity that moment's length."
)
SIZES_DIFFER: Final = "Kernels differ in size: a larger one resolves lower frequencies, whatever it learnt."
TUNING_NULL: Final = (
    "None for a single unit. Whether colour parts the layer in two is judged by the gap at the threshold: chroma taken "
    "for independent draws from one smooth density, in which so wide a gap would be rarer than 1 in 20."
)
ORIENTATION_NULL: Final = (
    f"The line is an even spread: a third of it lies within {CARDINAL} degrees of horizontal or vertical. On small "
    "kernels the square of pixels alone favours some orientations, and units come in pairs of opposite sign, which are "
    "not independent: there is no p."
)
FAMILIES_READING: Final = (
    "Families of units down, branches across. The area of a dot is the share of the family that stands in the branch, "
    "the figure beside it how many units they are; accent marks more than chance gives, the darker the rarer."
)
FAMILIES_NULL: Final = (
    "For a family and a branch, the exact hypergeometric tail: as many units of the family in a branch of this size, "
    "drawn from the layer; q is Benjamini-Hochberg over all pairs of the layer."
)
INFORMATION_NULL: Final = (
    "Branches permuted over the units that have both; q is Benjamini-Hochberg over all that was tested here."
)
INFORMATION_METHOD: Final = (
    "Mutual information of family and branch in bits, over the units that have both: no larger than the entropy of the "
    "branches. Few units and many families give some by chance alone, so each stands beside its null."
)
METHODS: Final = {
    "balanced": "balanced (rows and columns of mean 1, by Sinkhorn's iteration), less 1",
    "correspondence": "in the form of correspondence analysis",
    "centred": "less the mean of each row",
    "raw": "as they are",
}
CLUSTERABILITY_METHOD: Final = (
    "Units are nodes, sizes of kernels edges, batch norm folded in and residual streams merged. Spectral clustering; "
    "n-cut is the sum over clusters of the edges that leave it over all its edges (Filan et al., 2021)."
)
CLUSTERABILITY_NULL: Final = "The same network with the weights of each layer in random places, clustered the same way."
ONSET_READING: Final = (
    "Steps of the run to the right. The accent is the mutual information of family and branch, the band what 95 in 100 "
    "permutations of branches give, the dashed line their mean."
)


def columns_reading(groups: Sequence[TunedGroup]) -> str:
    """How to read units in columns."""
    column = "branch" if any(group.by_branch for group in groups) else "class of units"
    return (
        f"A column a {column}, a square a unit, those that see most colour first. Kernels are drawn in their own "
        "colours, grey where they are zero, each scaled to its own maximum; a column is as long as it has units. "
        "Hover for figures, click for a link, or sort by another figure."
    )


def columns_method(groups: Sequence[TunedGroup]) -> str:
    """How the units of the columns were drawn and measured."""
    expanded = any(column.layer.by == "expanded weights" for group in groups for column in group.columns)
    pictures = (
        " Units of deeper layers are drawn as expanded weights: what reaches them from the image with every ReLU taken "
        "for the identity and every maximum for a mean."
        if expanded
        else ""
    )
    return CHROMA + pictures


def tuning_reading(groups: Sequence[TunedGroup]) -> str:
    """How to read chroma against frequency."""
    columns = [column for group in groups for column in group.columns]
    many = len(groups) > 1 or len(columns) > TOGETHER
    by = "branch" if any(group.by_branch for group in groups) else "class"
    text = (
        f"A dot a unit, its colour the {by}, its shape the class; above the dashed line it sees colour. Fine stripes "
        "stand at the right, coarse ones and blobs at the left."
    )
    parts = [text]
    if many:
        parts.append(f"One panel a {by}, all on the same axes.")
    if len(columns) > PANELS:
        parts.append(f"The first {PANELS} of {len(columns)} panels; the data have all.")
    if len({column.kernel for column in columns}) > 1:
        parts.append(SIZES_DIFFER)
    return " ".join(parts)


def orientation_reading() -> str:
    """How to read orientations."""
    return (
        f"Units with one orientation (selectivity {ORIENTED:g} or more), counted in bars of {BIN} degrees. 0 and 180 "
        "are horizontal stripes, 90 vertical ones; counter-clockwise."
    )


def families_method(survey: BranchingSurvey) -> str:
    """Where families come from and how they were compared with branches."""
    ways = {one.by for one in survey.families}
    texts = []
    if "colour" in ways:
        texts.append(f"Colour: chroma above {COLOUR:g}.")
    if "frequency" in ways:
        texts.append("High and low frequency: either side of the layer's median, where all kernels have one size.")
    if "class" in ways:
        texts.append("Class: what kind of detector a kernel is, as its tuning names it.")
    if ways - {"colour", "frequency", "class"}:
        texts.append("Other families are as they were given.")
    if any(one.specialization is not None and one.specialization.chosen_after_looking for one in survey.families):
        texts.append("They were chosen after looking at these units: p and q overstate the evidence.")
    tested = sum(one.specialization is not None for one in survey.families)
    if tested > MATRICES:
        texts.append(f"The {MATRICES} of {tested} with the most information over chance are drawn.")
    return " ".join(texts)


def hidden_method(survey: BranchingSurvey) -> str:
    """How hidden branches were looked for."""
    hidden = next((pair.hidden for pair in survey.pairs if pair.hidden is not None), None)
    form = METHODS.get(hidden.method, hidden.method) if hidden is not None else METHODS["balanced"]
    return (
        f"Sizes of the kernels that join two layers (Euclidean norms), {form}: what the sizes of the two units leave. "
        "Its first singular vectors are the axes; a share is an axis's part of the sum of squares."
    )


def hidden_null(survey: BranchingSurvey) -> str:
    """What connections without branches give."""
    hidden = next((pair.hidden for pair in survey.pairs if pair.hidden is not None), None)
    if hidden is not None and not np.isfinite(hidden.p_values[:1]).all():
        return (
            f'By the method "{hidden.method}" no test of a first axis holds its level, so that it has neither p nor q. '
            "Rank correlations by permutation of the units."
        )
    way = (
        "in random places, balanced again"
        if hidden is not None and hidden.null == "shuffled"
        else "with random signs, connection by connection"
    )
    return (
        f"The same sizes {way}, so that unequal units stay unequal; q is Benjamini-Hochberg over the first axes "
        f"of all pairs, and {SIGNIFICANT:g} the level. Rank correlations by permutation of the units."
    )


def matrices_reading(*, chroma: bool) -> str:
    """How to read a reordered matrix."""
    text = (
        "Units of the first layer down, of the next across, both in order of the first axis. A cell in the accent is a "
        "connection stronger than the sizes of its two units give by chance, blue a weaker one, white one as strong. "
        "Two branches are two blocks of accent at opposite corners."
    )
    if chroma:
        text += " The strip beside the rows is the chroma of the units: the darker, the more colour."
    return f"{text} Beyond {CELLS} units of a side, neighbours are drawn as one."


def note_sentences(notes: Sequence[str]) -> str:
    """Notes as sentences."""
    return " ".join(capitalized(note) + ("" if note.endswith(".") else ".") for note in notes)
