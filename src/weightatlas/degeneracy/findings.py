"""What a survey of degeneracy shows, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.degeneracy.counts import EVERY, LIMITED
from weightatlas.degeneracy.drawing.powers import figure
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.degeneracy.ablation import EdgeAblation
    from weightatlas.degeneracy.counts import Counts, LayerCounts
    from weightatlas.degeneracy.learning_coefficient import LearningCoefficient
    from weightatlas.degeneracy.structure import Structure
    from weightatlas.degeneracy.survey import Degeneracy

KINDS: Final = {
    "activations": "dependent activations",
    "gradients": "dependent gradients",
    "synchronised": "synchronised ReLUs",
    "conditional": "activations where units are live",
    "heads": "bases inside attention heads",
    "linear": "bases between linear layers",
    "norms": "scales and shifts of norms",
}
NAMED: Final = 3
STEADY: Final = 0.01
"""Share of all weights by which the count may fall over the last examples and still be said to hold."""


def degeneracy_findings(survey: Degeneracy) -> list[Finding]:
    """The sentences of the cover, the most important first."""
    said: list[Finding] = []
    if survey.counts is not None:
        said.append(Finding(counts_title(survey.counts), _counts_evidence(survey.counts), "counts", 1.0))
        said.append(Finding(layers_title(survey.counts), _layers_evidence(survey.counts), "shares", 0.8))
    if survey.structure is not None:
        found = survey.structure
        if found.edges:
            said.append(Finding(ablation_title(found), _ablation_evidence(found), "ablations", 0.7))
        said.append(Finding(modules_title(found), _modules_evidence(found), "graph", 0.75))
    if survey.coefficient is not None:
        found_coefficient = survey.coefficient
        said.append(
            Finding(coefficient_title(found_coefficient), coefficient_evidence(found_coefficient), "chains", 0.6)
        )
    return said


def counts_title(found: Counts) -> str:
    """How many directions are free, or why that says little."""
    limit = found.limit
    few = f"{counted(found.examples, 'example')} {'is' if found.examples == 1 else 'are'} too few to tell"
    if found.exact is None:
        least = max(found.union, found.exact_low)
        said = f"{least:,} of {found.parameters:,} directions of the weights ({_share(least, found)}) are free"
        return capitalized(f"{few}: at least {said}" if found.data_limited else f"at least {said}")
    about = "about " if found.exact_kind == "estimate" else ""
    if found.data_limited:
        words = f"no network has fewer than {max(found.parameters - limit, 0):,} on so many"
        if (found.rank or 0) <= LIMITED * limit:
            words = "each example fixes as many as it would by itself"
        return capitalized(f"{few}: {about}{found.exact:,} of {found.parameters:,} directions are free, and {words}")
    half = halved(found)
    if half is not None and _falls(found, half[1]):
        return capitalized(
            f"{about}{found.exact:,} of {found.parameters:,} directions of the weights ({_share(found.exact, found)}) "
            f"are free on these examples, fewer on more: {half[1]:,} on half of them"
        )
    return capitalized(
        f"{about}{found.exact:,} of {found.parameters:,} directions of the weights ({_share(found.exact, found)}) "
        "change no output"
    )


def _counts_evidence(found: Counts) -> tuple[str, ...]:
    said = [
        f"{counted(getattr(found, kind), 'direction')} by {words}"
        for kind, words in KINDS.items()
        if getattr(found, kind)
    ]
    if found.gap is not None:
        said.append(f"{found.gap:,} not explained")
    said.append(f"{found.examples:,} examples × {found.outputs:,} outputs = {found.limit:,}")
    half = halved(found)
    if half is not None:
        said.append(f"on half the examples {half[1]:,}")
    if found.checked:
        each = f"{found.checked:,}" if found.union_kind == EVERY else "random combinations of all"
        said.append(f"{each} followed: at most {figure(found.largest_change, 1)} of the steepest change")
    return tuple(said)


def halved(found: Counts) -> tuple[int, int] | None:
    """About half of all examples and how many directions are free on them; None where that was not measured."""
    curve = found.curve
    if curve is None or found.exact is None or len(curve.examples) < 2 or curve.examples[-1] != found.examples:
        return None
    return int(curve.examples[-2]), int(curve.nullities[-2])


def curve_title(found: Counts) -> str:
    """Whether more examples might show fewer free directions."""
    if found.data_limited:
        return "More examples might show fewer free directions"
    half = halved(found)
    if half is None or found.exact is None:
        return "How many directions are free, over the number of examples"
    examples, nullity = half
    if _falls(found, nullity):
        return f"The count still falls: {nullity:,} on {examples:,} examples, {found.exact:,} on {found.examples:,}"
    return f"The count holds: {nullity:,} on {examples:,} examples, {found.exact:,} on {found.examples:,}"


def _falls(found: Counts, before: int) -> bool:
    """Whether there were clearly more on half of the examples."""
    return bool(found.exact) and before - (found.exact or 0) > STEADY * found.parameters


def layers_title(found: Counts) -> str:
    """Which layers have most that is free."""
    known = [layer for layer in found.layers if layer.union is not None and layer.parameters]
    if not known:
        return "No layer's free directions were counted"
    free = sorted(known, key=_free, reverse=True)
    if _free(free[0]) == 0:
        return f"No direction of {'the layer' if len(known) == 1 else f'{len(known)} layers'} is free on its own"
    names = [f"{layer.layer} ({_free(layer):.0%})" for layer in free[:NAMED] if _free(layer) > 0]
    if len(known) == 1:
        return f"{_free(free[0]):.0%} of the directions of {free[0].layer} are free on their own"
    return f"Most is free on its own in {listed(names)}"


def _free(layer: LayerCounts) -> float:
    return (layer.union or 0) / layer.parameters


def _layers_evidence(found: Counts) -> tuple[str, ...]:
    skipped = [layer for layer in found.layers if layer.skipped is not None]
    spectra = [(layer.layer, layer.activation_spectrum) for layer in found.layers[:NAMED]]
    ranks = [
        f"{layer} {spectrum.effective_rank:.0f} of {np.size(spectrum.singular_values)}"
        for layer, spectrum in spectra
        if spectrum is not None
    ]
    said = (
        [f"effective ranks of activations: {', '.join(ranks)}{', …' if len(found.layers) > NAMED else ''}"]
        if ranks
        else []
    )
    return tuple(said + ([f"{counted(len(skipped), 'layer')} not counted"] if skipped else []))


def ablation_title(found: Structure) -> str:
    """Whether the interaction basis needs fewer edges than principal components."""
    ours, theirs = (_needed(edges) for edges in (found.edges, found.baseline_edges))
    if ours is None or theirs is None:
        return "How few edges keep the accuracy"
    if ours == theirs == 0:
        return "No edge is needed: the accuracy without any is as high"
    if ours < theirs:
        return f"The interaction basis needs {ours:,} edges where principal components need {theirs:,}"
    return f"The interaction basis needs no fewer edges: {ours:,}, and principal components {theirs:,}"


def _needed(edges: Sequence[EdgeAblation]) -> int | None:
    known = [one.needed for one in edges if one.needed is not None]
    return sum(known) if known and len(known) == len(edges) else None


def _ablation_evidence(found: Structure) -> tuple[str, ...]:
    baseline = {(one.source, one.target): _needed_of(one) for one in found.baseline_edges}
    return tuple(
        f"{one.source} to {one.target}: {_needed_of(one)}, principal components "
        f"{baseline.get((one.source, one.target), 'not tried')}"
        for one in found.edges
    )


def _needed_of(edges: EdgeAblation) -> str:
    return f"not even all {edges.total:,}" if edges.needed is None else f"{edges.needed:,} of {edges.total:,}"


def modules_title(found: Structure) -> str:
    """How many modules there are, if more than chance makes."""
    modules = found.modules
    if math.isnan(modules.modularity):
        return "No edge counts: there is no graph to divide"
    if modules.count < 2:
        return "The graph of interactions falls into modules no more than chance makes it"
    return f"The directions form {counted(modules.count, 'module')} that chance does not make"


def _modules_evidence(found: Structure) -> tuple[str, ...]:
    modules = found.modules
    null = np.asarray(modules.null_modularity)
    if math.isnan(modules.modularity):
        return (counted(len(modules.nodes), "direction"),)
    said = [f"modularity {modules.modularity:.3f}"]
    if null.size:
        said.append(f"rewired graphs {np.median(null):.3f} (at most {null.max():.3f}), p = {modules.p_value:.2g}")
    said.append(f"{counted(len(modules.nodes), 'direction')}")
    return tuple(said)


def coefficient_title(found: LearningCoefficient) -> str:
    """The estimate, or that it is not to be trusted."""
    if found.flags:
        return f"The learning coefficient's estimate, {found.estimate:.3g}, is not to be trusted: {found.flags[0]}"
    return f"The local learning coefficient is {found.estimate:.3g} ({found.low:.3g} to {found.high:.3g})"


def coefficient_evidence(found: LearningCoefficient) -> tuple[str, ...]:
    """Figures of the chains."""
    said = [
        f"{counted(len(found.chains), 'chain')}, {found.effective_draws:,.0f} effective draws",
        f"nβ {found.nbeta:.3g}, prior of precision {found.localization:.3g}",
    ]
    if found.bracket is not None:
        said.append(f"the rank of the loss's curvature allows {found.bracket[0]:.4g} to {found.bracket[1]:.4g}")
    return (*said, *found.flags[1:])


def _share(directions: int, found: Counts) -> str:
    return f"{directions / found.parameters:.1%}" if found.parameters else "0 %"
