"""The plates of the whole network and the whole run: clusterability, and when branches specialised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightatlas.branching.drawing import captions
from weightatlas.branching.drawing.network_charts import clusterability_chart, onset_chart, share_rows, shares_chart
from weightatlas.branching.drawing.titles import clusterability_title, falls_apart, onset_title, shares_title
from weightatlas.plate import Chart, Heading, Plate

if TYPE_CHECKING:
    from weightatlas.branching.clusterability import Clusterability
    from weightatlas.branching.survey import BranchingSurvey


def network_plates(survey: BranchingSurvey) -> list[Plate]:
    """Clusterability where it was measured, the course of specialisation where there is a run."""
    plates: list[Plate] = []
    if survey.clusterability is not None:
        if not falls_apart(survey.clusterability):
            plates.append(_clusterability(survey.clusterability))
        if survey.clusterability.sizes:
            plates.append(_shares(survey.clusterability))
    if any(step.skipped is None for onset in survey.onsets for step in onset.steps):
        plates.append(_onset(survey))
    return plates


def _clusterability(found: Clusterability) -> Chart:
    return Chart(
        Heading(
            key="clusterability",
            title=clusterability_title(found),
            reading=(
                f"The n-cut of the network in {found.clusters} clusters (the line) beside that of {len(found.null)} "
                "shuffled networks (the bars). The further to the left, the more its units fall into clusters."
            ),
            method=f"{captions.CLUSTERABILITY_METHOD} {captions.note_sentences(found.notes)}".strip(),
            null=captions.CLUSTERABILITY_NULL,
        ),
        spec=clusterability_chart(found).to_dict(),
        rows=tuple({"shuffle": place, "ncut": value} for place, value in enumerate(np.asarray(found.null).tolist())),
    )


def _shares(found: Clusterability) -> Chart:
    return Chart(
        Heading(
            key="cluster-shares",
            title=shares_title(found),
            reading=(
                "One bar a layer, from the input down; a stretch is the share of its units in one cluster. A cluster "
                "that runs through many layers is a path; one that fills a layer is the layer itself."
            ),
            method=f"{captions.CLUSTERABILITY_METHOD} Units without connections are left out.",
            null="Spectral clustering divides any network; whether it divides this one well is told by its n-cut.",
        ),
        spec=shares_chart(found).to_dict(),
        rows=tuple(share_rows(found)),
    )


def _onset(survey: BranchingSurvey) -> Chart:
    measured = [onset for onset in survey.onsets if any(step.skipped is None for step in onset.steps)]
    notes = captions.note_sentences(list(dict.fromkeys(note for onset in measured for note in onset.notes)))
    first = min(measured, key=lambda onset: (onset.onset is None, onset.onset or 0))
    return Chart(
        Heading(
            key="onset",
            title=onset_title(first),
            reading=captions.ONSET_READING,
            method=f"{captions.INFORMATION_METHOD} {notes}".strip(),
            null="Branches permuted over units at every step; q is Benjamini-Hochberg over the steps of the run.",
        ),
        spec=onset_chart(measured).to_dict(),
        rows=tuple(row for onset in measured for row in onset.rows()),
    )
