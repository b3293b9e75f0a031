"""How a survey of connectivity is shown: findings, lines, layers, prediction, what may change places, the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.connectivity.drawing.coverage_chart import coverage_chart, coverage_rows
from weightatlas.connectivity.drawing.curves_chart import curve_rows, curves_chart
from weightatlas.connectivity.drawing.layers_chart import (
    cumulative_chart,
    cumulative_rows,
    layer_bars,
    layers_chart,
    rank_rows,
    ranks_chart,
)
from weightatlas.connectivity.drawing.plane_chart import plane_chart, plane_rows
from weightatlas.connectivity.findings import (
    LINKED,
    connection_findings,
    coverage_title,
    cumulative_title,
    layers_title,
    path_title,
    plane_title,
    ranks_title,
)
from weightatlas.plate import Chart, Column, Heading, Plate, Subject, Table
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from weightatlas.connectivity.landscape import Plane
    from weightatlas.connectivity.pair import Pair
    from weightatlas.connectivity.survey import Connection


def connection_plates(found: Connection) -> list[Plate]:
    """All plates that the survey can fill."""
    plates: list[Plate] = [_subject(found), *connection_findings(found)]
    if any(pair.lines for pair in found.pairs):
        plates += [_path(found), _barriers(found)]
    for number, pair in enumerate(found.pairs, start=1):
        plates += _of_pair(pair, f"-{number}" if len(found.pairs) > 1 else "")
    if found.plane is not None:
        plates.append(_plane(found, found.plane))
    if found.symmetries is not None:
        plates += [_coverage(found), _groups(found)]
    return plates


def _subject(found: Connection) -> Subject:
    facts = [f"with {counted(len(found.others), 'other network')}"]
    if found.data is not None:
        facts.append(f"on {found.data}")
    if found.symmetries is not None:
        facts.append(counted(len(found.symmetries.groups), "group"))
    return Subject(found.source, tuple(facts))


def _path(found: Connection) -> Chart:
    pairs = [pair for pair in found.pairs if pair.lines]
    title = path_title(pairs[0]) if len(pairs) == 1 else f"The lines from {found.source} to {len(pairs)} networks"
    seen = pairs[0].lines[-1].barrier
    return Chart(
        Heading(
            key="path",
            title=title,
            reading=(
                "Accent: the second network's units brought to the first one's; grey: as they are. Dashed: statistics "
                "of norms interpolated like weights; solid: estimated anew at every point. Thin: the chord of the line "
                "that most was done for; the broad stroke is its barrier."
            ),
            method=(
                f"Mean over {seen.examples:,} examples at each point of the straight line. Barrier: the largest height "
                f"above the {seen.reference}; its interval over the data is of a band that holds the whole curve."
            ),
            null=f"Two networks count as joined where the error barrier is below {LINKED:.0%} with 95 % certainty.",
        ),
        spec=curves_chart(found).to_dict(),
        rows=tuple(curve_rows(found)),
    )


def _barriers(found: Connection) -> Table:
    columns = (
        Column("pair", "pair"),
        Column("aligned", "aligned"),
        Column("recalibrated", "statistics anew"),
        Column("loss_barrier", "loss barrier", "signed", description="nats"),
        Column("loss_barrier_low", "95 % from", "signed"),
        Column("loss_barrier_high", "to", "signed"),
        Column("loss_barrier_alpha", "at", "number", digits=2),
        Column("error_barrier", "error barrier", "signed"),
        Column("error_barrier_low", "95 % from", "signed"),
        Column("error_barrier_high", "to", "signed"),
        Column("similarity", "cosine", "number", description="of all trained weights"),
        Column("distance", "distance", "number", digits=2),
        Column("curvature_seen", "curvature seen", "signed", description="nats; by second derivatives"),
        Column("curvature_in_kinks", "in kinks", "signed", description="nats; what they do not see"),
    )
    rows = found.rows("barriers")
    return Table(
        Heading(
            key="barriers",
            title=capitalized(f"{counted(len(rows), 'line')}, before and after"),
            reading="One row a line between two networks.",
            method=(
                "Cosine and distance of all trained weights. Curvature seen: the Green-weighted integral of the "
                "second derivative along the line, at its middle; what it misses of the barrier lies in kinks of ReLU "
                "and max pooling, or in statistics estimated anew."
            ),
        ),
        columns=tuple(one for one in columns if any(row[one.key] is not None for row in rows)),
        rows=tuple(rows),
    )


def _of_pair(pair: Pair, suffix: str) -> list[Plate]:
    plates: list[Plate] = []
    of = "" if not suffix else f" ({pair.second})"
    if pair.layers:
        plates.append(
            Chart(
                Heading(
                    key=f"layers{suffix}",
                    title=layers_title(pair) + of,
                    reading=(
                        "A bar a layer: how far the loss rises above its chord if this layer alone goes over to the "
                        "other network, both ways averaged; in the accent where the interval over the data lies above "
                        "0. The tick is the same along random directions of the same length."
                    ),
                    method="Half-way; aligned and with statistics estimated anew, where the networks were.",
                    null="Random directions: as long as the difference of the layer's weights, tensor by tensor.",
                ),
                spec=layers_chart(pair).to_dict(),
                rows=tuple(layer_bars(pair)),
            )
        )
    if cumulative_rows(pair):
        plates.append(
            Chart(
                Heading(
                    key=f"cumulative{suffix}",
                    title=cumulative_title(pair) + of,
                    reading="Each dot is a barrier with several layers going over at once: all before, or all behind.",
                    method="As for single layers.",
                ),
                spec=cumulative_chart(pair).to_dict(),
                rows=tuple(cumulative_rows(pair)),
            )
        )
    if rank_rows(pair):
        plates.append(_ranks(pair, suffix, of))
    return plates


def _ranks(pair: Pair, suffix: str, of: str) -> Chart:
    found = pair.agreement
    p_value = "" if found is None else f" p = {found.p_value:.3g}, {found.count} layers."
    return Chart(
        Heading(
            key=f"ranks{suffix}",
            title=ranks_title(pair) + of,
            reading="A dot a layer, ranked by how the loss rises or sags half-way; on the diagonal both orders agree.",
            method=(
                "Predicted: a Taylor expansion of second order at both ends, restricted to the layer's weights. Its "
                "height may be a tenth or four times the true one where the ends are far apart: only the order counts."
            ),
            null=f"Spearman's rank correlation; p by permutation.{p_value}",
        ),
        spec=ranks_chart(pair).to_dict(),
        rows=tuple(rank_rows(pair)),
    )


def _coverage(found: Connection) -> Chart:
    rows = [] if found.symmetries is None else coverage_rows(found.symmetries)
    return Chart(
        Heading(
            key="coverage",
            title=coverage_title(found),
            reading=(
                "All weights and buffers in one bar: what may change places without changing the outputs, and why the "
                "rest may not."
            ),
            method=(
                "Axes that must move together, followed through the graph of operators that torch.export gives; then "
                "random permutations of every group in float64."
            ),
        ),
        spec=coverage_chart(found).to_dict(),
        rows=tuple(rows),
    )


def _groups(found: Connection) -> Table:
    rows = [row for row in found.rows("groups") if row["pinned"] is None]
    return Table(
        Heading(
            key="groups",
            title=capitalized(f"{counted(len(rows), 'group')} of units that move together"),
            reading="One row a group; moved: the share of its units that stand elsewhere after alignment (first pair).",
            method="Named by the first layer whose units they are.",
        ),
        columns=(
            Column("group", "group", "layer"),
            Column("size", "units", "integer"),
            Column("moved", "moved", "share", digits=0),
            Column("axes", "axes"),
        ),
        rows=tuple({**row, "axes": ", ".join(row["axes"])} for row in rows),
    )


def _plane(found: Connection, drawn: Plane) -> Chart:
    return Chart(
        Heading(
            key="plane",
            title=plane_title(found),
            reading=(
                f"Dark is a high loss. First: {found.source}; second and third: {listed(list(found.others[:2]))}. Both "
                "axes have the weights' own units; the uppermost tenth of all losses has one colour."
            ),
            method=(
                "The plane through three sets of weights, orthonormal; the loss at each point of a grid, statistics "
                "of norms estimated anew where the networks have them."
            ),
        ),
        spec=plane_chart(drawn).to_dict(),
        rows=tuple(plane_rows(drawn)),
    )
