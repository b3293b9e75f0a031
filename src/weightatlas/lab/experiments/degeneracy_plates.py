"""How the degeneracy experiment is shown: free directions, edges, modules, the course of training, ranks, verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.degeneracy_charts import (
    course_chart,
    course_rows,
    curve_chart,
    curve_rows,
    edge_rows,
    edges_chart,
)
from weightatlas.lab.experiments.degeneracy_findings import counts_title, degeneracy_findings, edges_title
from weightatlas.lab.experiments.degeneracy_measures import CHAINS, COUNTS, DRAWS, NULLS
from weightatlas.lab.experiments.degeneracy_result import FEWEST
from weightatlas.lab.experiments.plates import effects_table, runs_table, subject, summary, verdicts_table
from weightatlas.plate import Chart, Column, Heading, Plate, Table

if TYPE_CHECKING:
    from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult

COUNTING: Final = (
    "On the first 200 training examples (scenes: 500), in evaluation mode. A direction is free if the outputs on these "
    "examples do not change along it, to first order; each kind is counted by itself, and the union is the rank of all "
    "together. Of a modular network the zeros between tasks are parameters as well."
)


def degeneracy_plates(result: DegeneracyResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *degeneracy_findings(result), *summary(result)]
    if any(row["union"] is not None for row in result.rows("runs")):
        plates.append(_counts(result))
    if curve_rows(result):
        plates.append(_curve(result))
    if edge_rows(result):
        plates += [_edges(result), _modules(result)]
    if course_rows(result):
        plates.append(_course(result))
    plates.append(_ranks(result))
    if any(item.claim for item in result.comparisons):
        plates.append(verdicts_table(result))
    return [*plates, _layers(result), effects_table(result), runs_table(result)]


def _counts(result: DegeneracyResult) -> Table:
    return Table(
        Heading(
            key="counts",
            title=counts_title(result),
            reading="One row a run: directions by what frees them, their rank together, and the exact number.",
            method=COUNTING,
            null="“At most” is examples times outputs: a rank near it is the data's, and no count is the network's.",
        ),
        columns=(
            Column("variant", "variant"),
            Column("seed", "seed", "integer"),
            Column("parameters", "parameters", "integer"),
            *(Column(key, label, "integer", description=said) for key, label, said in COUNTS),
            Column("data_limited", "limited", "integer", description="1 where the data limit the rank"),
            Column(
                "followed_order",
                "followed",
                "number",
                1,
                description="log10 of the outputs' change along free directions",
            ),
            Column("followed_random", "at random", "number", 2, description="after a step as long in any direction"),
        ),
        rows=tuple(row for row in result.rows("runs") if row["union"] is not None),
    )


def _curve(result: DegeneracyResult) -> Chart:
    return Chart(
        Heading(
            key="curve",
            title="The rank of the Jacobian by the number of examples",
            reading="A panel a variant, a line a seed; the dashed line is what examples and parameters allow.",
            method=COUNTING,
        ),
        spec=curve_chart(result).to_dict(),
        rows=tuple(curve_rows(result)),
    )


def _edges(result: DegeneracyResult) -> Chart:
    return Chart(
        Heading(
            key="edges",
            title=edges_title(result),
            reading="A panel a variant, a row the point that edges come from, a dot a seed, a colour a basis.",
            method=(
                "The fewest edges, strongest first, that keep the accuracy on 1,500 training examples (scenes: 250) "
                "within a tenth of a point. Published counts stand beside networks of their size."
            ),
        ),
        spec=edges_chart(result).to_dict(),
        rows=tuple(edge_rows(result)),
    )


def _modules(result: DegeneracyResult) -> Table:
    rows = tuple(row for row in result.rows("runs") if row["modules"] is not None)
    return Table(
        Heading(
            key="modules",
            title="Modules of the interaction graphs",
            reading="One row a run.",
            method="Leiden communities of the graph of logarithms of edge strengths over the weakest that is needed.",
            null=f"{NULLS} rewired graphs of the same strengths.",
        ),
        columns=(
            Column("variant", "variant"),
            Column("seed", "seed", "integer"),
            Column("modules", "modules", "integer"),
            Column("modularity", "modularity", "number", 3),
            Column("modularity_gain", "above chance", "signed"),
            Column("modules_p", "p", "probability"),
            Column("modules_stability", "stability", "number", 2),
            Column("edges", "edges", "integer"),
            Column("edges_pca", "PCA's edges", "integer"),
            Column("nodes", "directions", "integer"),
            Column("nodes_pca", "PCA's", "integer"),
        ),
        rows=rows,
    )


def _course(result: DegeneracyResult) -> Chart:
    rows = course_rows(result)
    flagged = sum(bool(row["flags"]) for row in rows)
    return Chart(
        Heading(
            key="course",
            title=f"The learning coefficient over training, {flagged} of {len(rows)} estimates flagged",
            reading="A panel a variant, a line a seed. Hollow dots are flagged: something speaks against them.",
            method=(
                f"{CHAINS} chains of {DRAWS} draws at each checkpoint, on the training data; bars are 95 % of sampling."
            ),
        ),
        spec=course_chart(result).to_dict(),
        rows=tuple(rows),
    )


def _ranks(result: DegeneracyResult) -> Table:
    rows = tuple(result.rows("ranks"))
    known = [row for row in rows if row["rho"] is not None]
    return Table(
        Heading(
            key="ranks",
            title=f"Degeneracy and held-out loss over seeds: {len(known)} rank correlations",
            reading="One row a variant and measure: below 0, networks with more of it have the lower loss.",
            method=f"Spearman's rank correlation over the seeds of one task, where there are {FEWEST} or more.",
            null="All orders of the seeds, or 9,999 of them; two-sided.",
        ),
        columns=(
            Column("variant", "variant"),
            Column("measure", "measure"),
            Column("seeds", "seeds", "integer"),
            Column("rho", "correlation", "signed"),
            Column("p_value", "p", "probability"),
            Column("skipped", "not computed"),
        ),
        rows=rows,
    )


def _layers(result: DegeneracyResult) -> Table:
    return Table(
        Heading(
            key="layers",
            title="Free directions, layer by layer",
            reading="One row a layer of a run. The effective rank is that of its activations, of their width.",
            method=COUNTING,
        ),
        columns=(
            Column("variant", "variant"),
            Column("seed", "seed", "integer"),
            Column("layer", "layer"),
            Column("parameters", "parameters", "integer"),
            Column("activations", "by activations", "integer"),
            Column("gradients", "by gradients", "integer"),
            Column("synchronised", "by synchrony", "integer"),
            Column("union", "explained", "integer"),
            Column("effective_rank", "effective rank", "number", 1),
            Column("width", "width", "integer"),
        ),
        rows=tuple(result.rows("layers")),
    )
