"""How a survey of degeneracy is shown: findings, free directions, spectra, the graph of interactions, chains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightatlas.degeneracy.drawing.ablation_chart import ablation_chart, ablation_points
from weightatlas.degeneracy.drawing.counts_chart import counts_chart, layers_chart, share_rows, whole_rows
from weightatlas.degeneracy.drawing.curve_chart import curve_chart, curve_points
from weightatlas.degeneracy.drawing.spectra_chart import spectra_chart, spectra_rows
from weightatlas.degeneracy.findings import (
    ablation_title,
    coefficient_title,
    counts_title,
    curve_title,
    degeneracy_findings,
    layers_title,
    modules_title,
    short,
)
from weightatlas.degeneracy.graph_chart import graph_chart, graph_rows
from weightatlas.degeneracy.trace_chart import trace_chart, trace_rows
from weightatlas.plate import Chart, Column, Heading, Plate, Subject, Table
from weightatlas.wording import capitalized, counted

if TYPE_CHECKING:
    from weightatlas.degeneracy.counts import Counts
    from weightatlas.degeneracy.learning_coefficient import LearningCoefficient
    from weightatlas.degeneracy.structure import Structure
    from weightatlas.degeneracy.survey import Degeneracy


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
                f"First-order directions: no output changes along them on {found.examples:,} examples. Each kind "
                f"is built as explicit directions, and they were followed ({found.union_kind}). All that are free: "
                "weights less the rank of the Jacobian of all outputs, singular values up to "
                f"{short(survey.tolerance)} of the largest counted as 0."
            ),
            null=_least(found),
        ),
        spec=counts_chart(survey).to_dict(),
        rows=tuple(whole_rows(survey)),
    )


def _least(found: Counts) -> str:
    """What the number of examples alone makes free."""
    rows = f"{found.examples:,} examples × {found.outputs:,} outputs = {found.limit:,}"
    if found.limit >= found.parameters:
        said = f"{rows}, no fewer than there are weights: the number of examples alone frees none."
    else:
        least = found.parameters - found.limit
        said = f"{rows}: no network of {found.parameters:,} weights has fewer than {least:,} free directions on them."
    return f"{said} The rank is near its limit: no count is of the network." if found.data_limited else said


def _shares(survey: Degeneracy, found: Counts) -> Chart:
    return Chart(
        Heading(
            key="shares",
            title=layers_title(found),
            reading=(
                "A bar a layer: the share of its weights' directions that some kind frees; a dot for each kind. The "
                "tick is the exact share when this layer alone moves, where that is known."
            ),
            method="Per layer; freedom that needs several layers to move at once is counted where it begins.",
        ),
        spec=layers_chart(survey).to_dict(),
        rows=tuple(share_rows(survey)),
    )


def _layers(survey: Degeneracy) -> Table:
    rows = survey.rows("layers")
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
            reading="One row a layer. Free: directions of its weights that some kind frees.",
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
    null = np.asarray(modules.null_modularity)
    tries = f"modularity {modules.modularity:.3f}, p = {modules.p_value:.2g} by {counted(null.size, 'rewired graph')}"
    return Chart(
        Heading(
            key="graph",
            title=modules_title(found),
            reading=(
                "A column a point of the network, a dot a direction of the interaction basis; a line an interaction, "
                "darker where it is stronger. A band a module, with its letter; grey lines join two modules, hollow "
                "dots have no line that counts. Within a band the most important direction is on top."
            ),
            method=(
                "Edges: mean squared effect of a direction on one of the next point. Modules: Leiden communities of a "
                "graph whose weights are log10(E / ε), with ε the weakest edge that the accuracy needs."
            ),
            null=f"Graphs rewired between each two points, every degree kept: {tries}.",
        ),
        spec=graph_chart(found.interactions, modules).to_dict(),
        rows=tuple(graph_rows(found.interactions, modules)),
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
    rows = [row for row in survey.rows("ablations") if row["skipped"] is None]
    return Table(
        Heading(
            key="needed",
            title="How many edges and directions the accuracy needs",
            reading="One row a pair of points (edges) or a point (nodes: directions), and a basis.",
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
            reading=(
                "A line a chain: the loss at each draw, above the loss where it began. Grey is burn-in, and left out."
            ),
            method=(
                f"Langevin dynamics held near the weights, nβ = {found.nbeta:.4g}; the estimate is nβ times the mean "
                "loss above the first."
            ),
            null=""
            if found.bracket is None
            else f"The Hessian's rank allows {found.bracket[0]:.4g} to {found.bracket[1]:.4g}.",
        ),
        spec=trace_chart(found).to_dict(),
        rows=tuple(trace_rows(found)),
    )
