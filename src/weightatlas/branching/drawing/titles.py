"""The titles of a branching survey's plates: each states what was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from weightatlas.branching.charts import cardinal
from weightatlas.branching.drawing.hidden_charts import has_test, hides, strongest
from weightatlas.branching.drawing.tuning_plates import CONTINUUM
from weightatlas.branching.specialization import SIGNIFICANT
from weightatlas.wording import capitalized, counted, listed, number, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.branching.clusterability import Clusterability
    from weightatlas.branching.drawing.tuned_groups import TunedColumn, TunedGroup
    from weightatlas.branching.onset import Onset
    from weightatlas.branching.specialization import Specialization
    from weightatlas.branching.survey import BranchingSurvey
    from weightatlas.branching.surveying.tested_families import Families
    from weightatlas.branching.surveying.tested_pairs import HiddenPair

FAMILY_NAMES: Final = {
    ("colour", "colour"): "colour",
    ("colour", "black-and-white"): "black-and-white",
    ("frequency", "high"): "high-frequency",
    ("frequency", "low"): "low-frequency",
}
"""What the families that tuning gives are called in a sentence."""
FOLLOWS: Final = 0.7
"""|rho| from which an axis is said to follow a figure: half of its ranks' variance."""
NOTHING: Final = 1e-6
"""An n-cut below this is rounding."""
MOSTLY: Final = 0.9
"""Share of a layer's units from which it is said to be of one cluster."""


def gathering(one: Families, found: Specialization) -> str:
    """Where the rarest gathering of a layer's families is, as a sentence without its full stop."""
    layer = printable(one.layer, limit=60)
    if not found.gathered:
        return f"families by {one.by} depend on the branch in {layer}, though no family stands out by itself"
    pair = found.gathered[0]
    family = FAMILY_NAMES.get((one.by, pair.family), printable(pair.family, limit=60))
    return f"{family} units gather in {printable(pair.branch, limit=60)} of {layer}: {pair.k} of {pair.family_size}"


def families_title(survey: BranchingSurvey) -> str:
    """The title of families against branches."""
    significant, tested = tested_families(survey)
    if not tested:
        return "No layer has both families of units and branches"
    if not significant:
        return f"No family gathers in a branch of {_where(tested)}"
    one, found = significant[0]
    rest = "" if len(significant) == 1 else f"; {number(len(significant) - 1)} more tests find a gathering"
    return capitalized(gathering(one, found)) + rest.replace("one more tests find", "one more test finds")


def branches_title(survey: BranchingSurvey) -> str:
    """The title of the table of branches."""
    if not survey.branchings:
        return capitalized(survey.no_branches.partition(":")[0])
    layers = {branching.layer for branching in survey.branchings}
    kinds = list(dict.fromkeys(branching.kind for branching in survey.branchings))
    words = {
        "concatenation": "paths laid side by side",
        "groups": "groups of a convolution",
        "sum": "paths that are added",
        "heads": "attention heads",
        "mlp": "MLP blocks",
    }
    are = "layer is" if len(layers) == 1 else "layers are"
    return f"{capitalized(number(len(layers)))} {are} branched: {listed([words.get(kind, kind) for kind in kinds])}"


def columns_title(groups: Sequence[TunedGroup]) -> str:
    """The title of the units in columns: which branch sees colour, or how many units do."""
    branched = [group for group in groups if group.by_branch and len(_measured(group)) > 1]
    if not branched:
        group = groups[0]
        named = listed([f"{len(column.rows)} {column.title}" for column in group.columns])
        return f"The {counted(group.units, 'unit')} of {printable(group.layer, limit=60)}: {named}"
    group = max(branched, key=lambda group: _share(_measured(group)[0]) - _share(_measured(group)[-1]))
    most, least = _measured(group)[0], _measured(group)[-1]
    layer = printable(group.layer, limit=60)
    if _share(most) == _share(least):
        return f"Every branch of {layer} sees colour in {_share(most):.0%} of its units"
    names = [printable(column.title, limit=60) for column in (most, least)]
    return f"In {layer}, {_share(most):.0%} of {names[0]} see colour, {_share(least):.0%} of {names[1]}"


def tuning_title(groups: Sequence[TunedGroup]) -> str:
    """The title of chroma against frequency: whether colour splits a layer in two."""
    group = groups[0]
    gap = group.columns[0].tuning.colour_gap
    counts = f"{group.colour} of {counted(group.units, 'unit')} of {printable(group.layer, limit=60)} see colour"
    if len({column.layer.layer for column in group.columns}) > 1 or not math.isfinite(gap.p_value):
        return counts
    return f"{counts}, a group apart" if gap.p_value <= CONTINUUM else f"{counts}, along a continuum"


def orientation_title(groups: Sequence[TunedGroup]) -> str:
    """The title of orientations: how many are horizontal or vertical."""
    near, oriented = cardinal(groups)
    units = counted(oriented, "oriented unit")
    are = "are" if near > 1 else "is"
    many = capitalized(number(near)) if near else "None"
    return f"{many} of {units} {are} nearly horizontal or vertical; evenly spread, a third are"


def hidden_title(survey: BranchingSurvey) -> str:
    """The title of the table of pairs."""
    looked = [pair for pair in survey.pairs if pair.hidden is not None]
    found = [pair for pair in looked if hides(pair)]
    if not looked:
        return "No two layers follow each other in a way that can be looked through for hidden branches"
    if not any(map(has_test, looked)):
        return f"The first axis of {counted(len(looked), 'pair')} of layers: by this method it has no test"
    if not found:
        return f"None of {counted(len(looked), 'pair')} of layers hides branches"
    most = strongest(survey, 1)[0]
    hide = "hides" if len(found) == 1 else "hide"
    where = f"{printable(most.layer, limit=40)} → {printable(most.next_layer, limit=40)}"
    start = f"{capitalized(number(len(found)))} of {counted(len(looked), 'pair')} of layers {hide} branches"
    return f"{start}: {where}" if len(found) == 1 else f"{start}, most strongly {where}"


def matrix_title(pair: HiddenPair) -> str:
    """The title of the reordered matrices: what the strongest pair's first axis follows."""
    followed = follows(pair)
    name = f"{printable(pair.layer, limit=40)} → {printable(pair.next_layer, limit=40)}"
    if followed:
        parts = [f"{figure} (|rho| = {abs(rho):.2f})" for figure, rho in followed]
        return f"The first axis of {name} follows {listed(parts)}"
    if hides(pair):
        return f"{name}: units at either end of the first axis keep to themselves"
    if not has_test(pair):
        return f"{name} in order of its first axis, which by this method has no test"
    return f"In order of its first axis {name} looks as random connections do"


def follows(pair: HiddenPair) -> list[tuple[str, float]]:
    """The figures of units that a pair's first axis follows, with their rank correlations."""
    if pair.hidden is None:
        return []
    first = {name: axes[0] for name, axes in pair.hidden.correlations.items() if len(axes)}
    return [(name, one.rho) for name, one in first.items() if abs(one.rho) >= FOLLOWS and one.p_value < SIGNIFICANT]


def clusterability_title(found: Clusterability) -> str:
    """The title of clusterability: whether it stands out from shuffled networks."""
    if falls_apart(found):
        return "The graph of the network falls into pieces by itself: clusters cut nothing"
    if 1 / (1 + len(found.null)) >= SIGNIFICANT:
        side = "below" if found.z_score < 0 else "above"
        height = f"{abs(found.z_score):.1f} standard deviations {side}"
        return f"The n-cut lies {height} that of {counted(len(found.null), 'shuffle')}, too few for a verdict"
    much = "more" if found.p_value < SIGNIFICANT else "no more"
    height = f" (z = {_minus(found.z_score)})" if math.isfinite(found.z_score) else ""
    return f"The network is {much} clustered than its shuffles{height}"


def falls_apart(found: Clusterability) -> bool:
    """Whether clusters cut no edge, since the graph has as many pieces without any between them."""
    return abs(found.ncut) < NOTHING


def shares_title(found: Clusterability) -> str:
    """The title of clusters by layer: how many layers are mostly of one cluster."""
    shares = [sizes.max() / sizes.sum() for sizes in found.sizes.values() if sizes.sum()]
    whole = sum(share >= MOSTLY for share in shares)
    layers = f"{number(whole) if whole else 'None'} of {counted(len(shares), 'layer')}"
    return f"{capitalized(layers)} {'are' if whole > 1 else 'is'} nearly all of one cluster"


def onset_title(onset: Onset) -> str:
    """The title of specialisation over a run: from which step on it stands out."""
    measured = [step for step in onset.steps if step.skipped is None]
    layer = printable(onset.layer, limit=60)
    if not measured:
        return f"No {onset.unit} of the run could be tested in {layer}"
    if onset.onset is None:
        return f"The branches of {layer} do not specialise by {onset.unit} {measured[-1].step:,}"
    return f"The branches of {layer} specialise by {onset.by} from {onset.unit} {onset.onset:,} on"


def tested_families(
    survey: BranchingSurvey,
) -> tuple[list[tuple[Families, Specialization]], list[tuple[Families, Specialization]]]:
    """The families that depend on branches, those with the most information first, and all that were tested."""
    tested = [(one, one.specialization) for one in survey.families if one.specialization is not None]
    significant = [(one, found) for one, found in tested if one.q_value < SIGNIFICANT]
    return sorted(significant, key=lambda pair: -pair[1].excess), tested


def _measured(group: TunedGroup) -> list[TunedColumn]:
    """Columns with a measured unit, the most colourful first."""
    return sorted((column for column in group.columns if column.chroma.size), key=_share, reverse=True)


def _share(column: TunedColumn) -> float:
    return float(column.colour / column.chroma.size) if column.chroma.size else 0.0


def _where(tested: Sequence[tuple[Families, Specialization]]) -> str:
    layers = list(dict.fromkeys(printable(one.layer, limit=60) for one, _ in tested))
    return layers[0] if len(layers) == 1 else counted(len(layers), "layer")


def _minus(value: float) -> str:
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")
