"""How a survey of degeneracy is shown: findings, free directions, spectra, the graph of interactions, chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.degeneracy.counts import EVERY
from weightatlas.degeneracy.drawing.ablation_chart import ablation_chart, ablation_points
from weightatlas.degeneracy.drawing.counts_chart import (
    ALONE,
    KINDS,
    WORDS,
    counts_chart,
    layers_chart,
    share_rows,
    whole_rows,
)
from weightatlas.degeneracy.drawing.curve_chart import curve_chart, curve_points
from weightatlas.degeneracy.drawing.graph_chart import graph_chart, graph_rows
from weightatlas.degeneracy.drawing.powers import figure
from weightatlas.degeneracy.drawing.spectra_chart import spectra_chart, spectra_rows
from weightatlas.degeneracy.drawing.trace_chart import trace_chart, trace_rows
from weightatlas.degeneracy.findings import (
    ablation_title,
    coefficient_title,
    counts_title,
    curve_title,
    degeneracy_findings,
    layers_title,
    modules_title,
)
from weightatlas.degeneracy.modules import SHARE
from weightatlas.plate import Chart, Column, Heading, Plate, Subject, Table
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from weightatlas.degeneracy.counts import Counts
    from weightatlas.degeneracy.learning_coefficient import LearningCoefficient
    from weightatlas.degeneracy.modules import Modules
    from weightatlas.degeneracy.structure import Structure
    from weightatlas.degeneracy.survey import Degeneracy

REMOVED: Final = {"edges": "edges", "nodes": "directions"}
BASES: Final = {"interaction": "interaction basis", "pca": "principal components"}
"""How the page says what was left out, and of which basis."""


def degeneracy_plates(survey: Degeneracy) -> list[Plate]:
    """All plates that the survey can fill."""
    plates: list[Plate] = [_subject(survey), *degeneracy_findings(survey)]
    if survey.counts is not None:
        plates += _of_counts(survey, survey.counts)
    if survey.structure is not None:
        plates += _of_structure(survey, survey.structure)
    if survey.coefficient is not None:
        plates.append(_chains(survey.coefficient))
    return plates


def _subject(survey: Degeneracy) -> Subject:
    facts = [f"on {survey.data}"]
    if survey.counts is not None:
        facts.append(counted(survey.counts.parameters, "trained weight"))
        facts.append(counted(len(survey.counts.layers), "layer"))
    return Subject(survey.source, tuple(facts))


def _of_counts(survey: Degeneracy, found: Counts) -> list[Plate]:
    plates: list[Plate] = [_whole(survey, found)]
    if share_rows(survey):
        plates.append(_shares(survey, found))
    plates.append(_layers(survey))
    if spectra_rows(survey):
        plates.append(_spectra(survey))
    if curve_points(survey):
        plates.append(_curve(survey, found))
    return plates


def _whole(survey: Degeneracy, found: Counts) -> Chart:
    return Chart(
        Heading(
            key="counts",
            title=counts_title(found),
            reading=(
                "A bar a source: how many directions of all weights it frees. One direction may be freed by several: "
                "the bars of the kinds do not add up, and what all free together is the rank of their union."
            ),
            method=(
                f"First-order directions: no output changes along them on {counted(found.examples, 'example')}. "
                f"{_followed(found)} {_known(found, survey.tolerance)}"
            ),
            null=_least(found),
        ),
        spec=counts_chart(survey).to_dict(),
        rows=tuple(whole_rows(survey)),
    )


def _followed(found: Counts) -> str:
    """How many directions were followed, and how those of all kinds were put together."""
    if found.union_kind == EVERY:
        if not found.checked:
            return "Each kind is built as explicit directions: there are none."
        said = f"Each kind is built as explicit directions, and each of these {found.checked:,} was followed."
        return f"{said} All together: the part of their span along which no output changes."
    combinations = capitalized(counted(found.checked, "random combination"))
    said = f"Each kind is built as explicit directions. {combinations} of all of them {_was(found.checked)} followed."
    return f"{said} All together: {found.union_kind}."


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _known(found: Counts, tolerance: float) -> str:
    """How the exact number was had, or why it was not."""
    if found.exact is None:
        return f"How many are free in all is not known: {found.exact_kind}."
    rows = "random combinations of the Jacobian's rows" if found.exact_kind == "estimate" else "the Jacobian"
    return (
        f"All that are free: weights less the rank of {rows} of all outputs, singular values up to "
        f"{figure(tolerance)} of the largest counted as 0."
    )


def _least(found: Counts) -> str:
    """What the number of examples alone makes free."""
    examples, outputs = (
        f"{count:,} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((found.examples, "example"), (found.outputs, "output"))
    )
    rows = f"{examples} × {outputs} = {found.limit:,}"
    if found.limit >= found.parameters:
        said = f"{rows}, no fewer than there are weights: the number of examples alone frees none."
    else:
        least = found.parameters - found.limit
        said = f"{rows}: no network of {found.parameters:,} weights has fewer than {least:,} free directions on them."
    if not found.data_limited:
        return said
    rank = "The rank may be" if found.exact is None else "The rank is"
    return f"{said} {rank} as large as these examples allow: then no count is of the network."


def _shares(survey: Degeneracy, found: Counts) -> Chart:
    rows = share_rows(survey)
    there = {row["source"] for row in rows}
    several = [kind for kind in KINDS if kind in there and kind not in ALONE]
    reading = (
        f"The bar is the share of a layer's directions that {_alone(there)} free together, without moving another "
        "layer; a dot marks what each frees."
    )
    if several:
        reading += f" The dots of {listed([WORDS[kind] for kind in several])} need several layers and are not in it."
    if "exact" in there:
        reading += " The tick is all that is free when this layer alone moves."
    return Chart(
        Heading(
            key="shares",
            title=layers_title(found),
            reading=reading,
            method=(
                "The bar: the rank of these directions together. The tick: the layer's weights less the rank of their "
                "columns of the Jacobian."
                if "exact" in there
                else "The bar: the rank of these directions together."
            ),
        ),
        spec=layers_chart(survey).to_dict(),
        rows=tuple(rows),
    )


def _alone(sources: Collection[str]) -> str:
    """The kinds that are free without moving another layer, in words."""
    return listed([WORDS[kind] for kind in ALONE if kind in sources] or [WORDS[kind] for kind in ALONE])


def _layers(survey: Degeneracy) -> Table:
    rows = survey.rows("layers")
    sources = {row["source"] for row in share_rows(survey)}
    sides = tuple(
        column
        for side, words in (("activation", "activations"), ("gradient", "gradients"))
        for column in (
            Column(
                f"{side}_width", words, "integer", description=f"how many {words} the layer has, the constant counted"
            ),
            Column(f"{side}_rank", "rank", "integer", description=f"of the {words}' Gram matrix"),
            Column(
                f"{side}_effective_rank", "effective", "number", digits=1, description="exp of the spectrum's entropy"
            ),
            Column(f"{side}_participation_ratio", "participation", "number", digits=1, description="(Σλ)² / Σλ²"),
        )
    )
    return Table(
        Heading(
            key="layers",
            title=capitalized(f"{counted(len(rows), 'layer')}: what their activations and gradients span"),
            reading=(
                f"One row a layer. Free: directions of its weights that {_alone(sources)} free together, without "
                "moving another layer."
            ),
            method=(
                "Gram matrices over all examples and positions; effective rank: the exponential of the entropy of the "
                "eigenvalues as shares; participation ratio: the square of their sum over the sum of their squares."
            ),
        ),
        columns=(
            Column("layer", "layer", "layer"),
            Column("parameters", "weights", "integer"),
            *sides,
            Column("free", "free", "integer"),
            Column("share", "share", "share", digits=1),
        ),
        rows=tuple(rows),
    )


def _spectra(survey: Degeneracy) -> Chart:
    return Chart(
        Heading(
            key="spectra",
            title="How fast activations and gradients fall off",
            reading=(
                "A line a layer: singular values over the largest, in descending order. What lies below the dashed "
                "line counts as 0."
            ),
            method="Square roots of the eigenvalues of the Gram matrices, all examples and positions.",
        ),
        spec=spectra_chart(survey).to_dict(),
        rows=tuple(spectra_rows(survey)),
    )


def _curve(survey: Degeneracy, found: Counts) -> Chart:
    return Chart(
        Heading(
            key="curve",
            title=curve_title(found),
            reading=(
                "While the rank follows its limit, examples times outputs, what is free is the data's doing; where it "
                "levels off, it is the network's."
            ),
            method="The Jacobian's rank on the first examples, doubled from point to point.",
        ),
        spec=curve_chart(survey).to_dict(),
        rows=tuple(curve_points(survey)),
    )


def _of_structure(survey: Degeneracy, found: Structure) -> list[Plate]:
    plates: list[Plate] = [_graph(found)]
    if found.edges:
        plates += [_ablations(survey, found), _ablation_table(survey)]
    return plates


def _graph(found: Structure) -> Chart:
    modules = found.modules
    bands = (
        " A band a module, with its letter; grey lines join two modules. Within a band the most important direction is "
        "on top."
        if modules.count > 1
        else " The most important direction is on top."
    )
    floor = (
        "the weakest edge that the accuracy needs"
        if found.edges
        else f"below the strongest edges that carry {SHARE:.0%} of what acts between two points"
    )
    return Chart(
        Heading(
            key="graph",
            title=modules_title(found),
            reading=(
                "A column a point of the network, a dot a direction of the interaction basis; a line an interaction, "
                f"darker where it is stronger; hollow dots have no line that counts.{bands}"
            ),
            method=(
                "Edges: mean squared effect of a direction on one of the next point. Modules: Leiden communities of a "
                f"graph whose weights are log10(E / ε), with ε {floor}."
            ),
            null=_rewired(modules),
        ),
        spec=graph_chart(found.interactions, modules).to_dict(),
        rows=tuple(graph_rows(found.interactions, modules)),
    )


def _rewired(modules: Modules) -> str:
    """What graphs with the same degrees have by chance."""
    nulls = int(np.size(modules.null_modularity))
    if not modules.weights.nnz:
        return "No edge counts, so there is nothing to rewire."
    if not nulls:
        return f"Modularity {modules.modularity:.3f}; no graph was rewired to compare it with."
    return (
        f"Graphs rewired between each two points, every degree kept: modularity {modules.modularity:.3f}, "
        f"p = {modules.p_value:.2g} by {counted(nulls, 'rewired graph')}."
    )


def _ablations(survey: Degeneracy, found: Structure) -> Chart:
    return Chart(
        Heading(
            key="ablations",
            title=ablation_title(found),
            reading=(
                "Accuracy over the number of edges kept, the strongest first; the dot: the smallest number that costs "
                f"no more than {survey.drop:.1%}."
            ),
            method=(
                "Each direction of the next point is computed from those directions alone that its edges come from; "
                "edges from the constant are free. Bisection over the number of edges."
            ),
            null="Grey: the same with principal components of the activations, which know nothing of what follows.",
        ),
        spec=ablation_chart(found).to_dict(),
        rows=tuple(ablation_points(found)),
    )


def _ablation_table(survey: Degeneracy) -> Table:
    rows = [
        row | {"removed": REMOVED[row["removed"]], "basis": BASES[row["basis"]]}
        for row in survey.rows("ablations")
        if row["skipped"] is None
    ]
    return Table(
        Heading(
            key="needed",
            title="How many edges and directions the accuracy needs",
            reading="One row a pair of points and basis, for edges; one a point and basis, for directions.",
            method="Edges by strength; directions by importance, the last ones left out first.",
        ),
        columns=(
            Column("layer", "point"),
            Column("target", "to"),
            Column("removed", "left out"),
            Column("basis", "basis"),
            Column("needed", "needed", "integer"),
            Column("total", "of", "integer"),
            Column("reached", "accuracy", "number", digits=4),
            Column("base", "before", "number", digits=4),
        ),
        rows=tuple(rows),
    )


def _chains(found: LearningCoefficient) -> Chart:
    return Chart(
        Heading(
            key="chains",
            title=coefficient_title(found),
            reading=_chain_reading(found),
            method=(
                f"Langevin dynamics held near the weights by a prior of precision {figure(found.localization)}, "
                f"nβ = {figure(found.nbeta)}; the estimate is nβ times the mean loss above the first."
            ),
            null=""
            if found.bracket is None
            else f"The rank of the loss's curvature allows {figure(found.bracket[0])} to {figure(found.bracket[1])}.",
        ),
        spec=trace_chart(found).to_dict(),
        rows=tuple(trace_rows(found)),
    )


def _chain_reading(found: LearningCoefficient) -> str:
    said = "A line a chain: its loss at each draw. Dashed is the loss where all begin"
    if np.isfinite(found.estimate):
        said += ", the bold line the mean over all draws: what lies between, times nβ, is the estimate"
    return f"{said}. What stands on grey is burn-in, and left out." if found.burn_in else f"{said}."
