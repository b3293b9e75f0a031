"""How a survey of conditioning is shown: findings, layers, the plane, positive shares, terms, walks, the course."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from weightatlas.conditioning.charts import plane_chart, plane_rows, positive_chart, positive_rows
from weightatlas.conditioning.drawing.course_chart import course_chart, course_rows, shown
from weightatlas.conditioning.drawing.smoothness_charts import terms_chart, terms_rows, walks_chart, walks_rows
from weightatlas.conditioning.findings import (
    conditioning_findings,
    course_title,
    plane_title,
    positive_title,
    terms_title,
    walks_title,
)
from weightatlas.plate import Chart, Column, Heading, Plate, Subject, Table
from weightatlas.wording import capitalized, counted

if TYPE_CHECKING:
    from weightatlas.conditioning.smoothness import Smoothness
    from weightatlas.conditioning.survey import Conditioning

OURS: Final = "The paper gives no formula for its distance; root mean squares over channels are our reading."


def conditioning_plates(survey: Conditioning) -> list[Plate]:
    """All plates that the survey can fill."""
    last = survey.last
    plates: list[Plate] = [_subject(survey), *conditioning_findings(survey)]
    if last.points:
        plates.append(_layers(survey))
    if plane_rows(survey):
        plates.append(_plane(survey))
    if last.measured:
        plates.append(_positive(survey))
    if terms_rows(survey):
        plates.append(_terms(survey))
    if last.smoothness is not None and walks_rows(survey):
        plates.append(_walks(survey, last.smoothness))
    if shown(course_rows(survey)):
        plates.append(_course(survey))
    return plates


def _subject(survey: Conditioning) -> Subject:
    last = survey.last
    facts = [f"on {survey.data}"]
    if len(survey.snapshots) > 1:
        facts.append(f"{counted(len(survey.snapshots), 'moment')} of a run")
    if last.measured:
        channels = sum(one.channels for one in last.measured)
        facts += [counted(len(last.measured), "place"), counted(channels, "channel")]
    return Subject(survey.source, tuple(facts))


def _when(survey: Conditioning) -> str:
    step = survey.last.step
    return "" if step is None else f" Step {step:,} of the run."


def _layers(survey: Conditioning) -> Table:
    step = survey.last.step
    rows = [row for row in survey.rows("layers") if row["step"] == step]
    columns = (
        Column("layer", "layer", "layer"),
        Column("function", "function", description="the nonlinearity"),
        Column("norm", "norm"),
        Column("channels", "channels", "integer"),
        Column("mean_distance", "means from 0", "number", description="rms over channels, before the norm's affine"),
        Column("mean_q_value", "q", "probability", description="of such a distance by chance"),
        Column("std_distance", "deviations from 1", "number", description="rms over channels"),
        Column("std_q_value", "q", "probability", description="of such a distance by chance"),
        Column("positive", "positive", "share", digits=1, description="mean share of positive values"),
        Column("least_positive", "least", "share", digits=2, description="of the channel that is positive least"),
        Column("dead", "dead", "share", digits=1),
        Column("near_dead", "nearly dead", "share", digits=1),
    )
    return Table(
        Heading(
            key="conditioning",
            title=capitalized(f"{counted(len(rows), 'place')} where channels meet a nonlinearity"),
            reading=(
                "One row a nonlinearity, named by what made its inputs. A filled accent marks layers with dead "
                f"channels.{_when(survey)}"
            ),
            method=f"Moments over examples and positions, each example counted alike. {OURS}",
            null="Distances: channels that truly have mean 0 and deviation 1, seen through as many examples.",
        ),
        columns=tuple(column for column in columns if any(row[column.key] is not None for row in rows)),
        rows=tuple(rows),
        marked=tuple(bool(row["dead"]) for row in rows),
    )


def _plane(survey: Conditioning) -> Chart:
    return Chart(
        Heading(
            key="plane",
            title=plane_title(survey.last),
            reading=(
                "A dot a layer behind a norm. The ring at the origin is batch norm by the statistics of its own batch; "
                "layers near it are far from elimination singularities. The stroke left of a dot is as long as chance "
                f"alone reaches in nineteen of twenty cases.{_when(survey)}"
            ),
            method=(
                "Means and deviations of every channel as the norm gives it before its own affine map; root mean "
                f"square over the layer's channels of the mean, and of the deviation less 1. {OURS}"
            ),
            null="Bootstrap over examples: what channels that are at (0, 1) would show with as many.",
        ),
        spec=plane_chart(survey).to_dict(),
        rows=tuple(plane_rows(survey)),
    )


def _positive(survey: Conditioning) -> Chart:
    found = survey.last.channels
    few = "" if found is None else f" ({found.dead_below:.1%} and {found.near_dead_below:.0%})"
    return Chart(
        Heading(
            key="positive",
            title=positive_title(survey.last),
            reading=(
                "Dot: the middle channel of a layer; the bar holds nine of ten; the triangle is the one that is "
                f"positive least, in the accent where a channel is dead. Dashed: the thresholds{few}.{_when(survey)}"
            ),
            method=(
                "Share of examples and positions at which a channel is above 0 before its nonlinearity. Dead and "
                "nearly dead are thresholds of ours."
            ),
            null=(
                "A Gaussian channel of the same mean and deviation has Φ(mean / deviation); that of the middle one "
                "stands in the data."
            ),
        ),
        spec=positive_chart(survey).to_dict(),
        rows=tuple(positive_rows(survey)),
    )


def _terms(survey: Conditioning) -> Chart:
    return Chart(
        Heading(
            key="terms",
            title=terms_title(survey.last),
            reading=(
                "A bar a convolution: how much of its squared gradient lies along the constant direction of each unit "
                "(centring) and along the unit's own standardised weights (scaling). Standardised layers, drawn full, "
                "do not have it; from the others, drawn pale, standardisation would take it. The tick is chance."
                f"{_when(survey)}"
            ),
            method=(
                "⟨1, g⟩² / (I |g|²) and ⟨Ŵ, g⟩² / (I |g|²), g the gradient with respect to the standardised weights Ŵ "
                "of a unit with I of them; squared lengths summed over units. Of standardised weights behind a batch "
                "norm by the statistics of its batch, in training mode, the second is 0: it forgets a unit's scale."
            ),
            null="A gradient in a random direction has 1 / I along each; the tick is at 2 / I.",
        ),
        spec=terms_chart(survey).to_dict(),
        rows=tuple(terms_rows(survey)),
    )


def _walks(survey: Conditioning, found: Smoothness) -> Chart:
    return Chart(
        Heading(
            key="walks",
            title=walks_title(found),
            reading=(
                "Left: how the loss changes along a straight walk from the weights; right: how far its gradient moves. "
                f"Accent: against the gradient; grey: random directions.{_when(survey)}"
            ),
            method=(
                f"Mean loss over {counted(found.examples, 'example')}; lengths relative to the length of all "
                "parameters, as networks under a norm have no scale of their own."
            ),
            null=f"{capitalized(counted(len(found.random), 'random direction'))}, isotropic over all parameters.",
        ),
        spec=walks_chart(survey).to_dict(),
        rows=tuple(walks_rows(survey)),
    )


def _course(survey: Conditioning) -> Chart:
    rows: list[dict[str, Any]] = course_rows(survey)
    dashed = any(math.isfinite(row["centring_chance"] or math.nan) for row in rows)
    return Chart(
        Heading(
            key="course",
            title=course_title(survey),
            reading="A panel a figure, over the steps of the run."
            + (" Dashed: random directions of the same length." if dashed else ""),
            method=(
                "Distances and shares are means over layers, each counted by its channels; slopes are relative to the "
                "weights' length; all steps see the same examples."
            ),
        ),
        spec=course_chart(survey).to_dict(),
        rows=tuple(rows),
    )
