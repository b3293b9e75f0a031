"""How Weight Banding's experiment is shown: bands by variant, slides side by side, the classifier over y."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from weightatlas.banding.plates import FLIP_NULL
from weightatlas.banding.score import BANDED_SLIDES, SMALLEST
from weightatlas.banding.single_plates import SLIDES_METHOD, SLIDES_READING
from weightatlas.lab.experiments.banding_charts import bands_chart, bands_rows, classifier_chart
from weightatlas.lab.experiments.banding_findings import banding_findings, bands_title, classifier_title
from weightatlas.lab.experiments.banding_measures import PLACES
from weightatlas.lab.experiments.plates import (
    INTERVALS,
    effects_table,
    runs_table,
    subject,
    summary,
    tally,
    verdicts_table,
)
from weightatlas.plate import Chart, Heading, Plate, SlideLayer, Slides
from weightatlas.wording import counted

if TYPE_CHECKING:
    from weightatlas.lab.experiments.banding_result import BandingExperimentResult
    from weightatlas.lab.experiments.result import ExperimentRun

SCORE: Final = (
    "B is the mean over units of R − C: the share of a unit's spatial variance that lies between the rows of its "
    f"kernels, less that between columns; below {SMALLEST:g} it counts as none. Slides B is the same on tissue slides, "
    f"where {BANDED_SLIDES:g} gives the verdicts of Petrov et al. (2021)."
)


def banding_plates(result: BandingExperimentResult) -> list[Plate]:
    """All plates of the experiment."""
    plates: list[Plate] = [subject(result), *banding_findings(result), *summary(result)]
    if result.finished:
        plates.append(_bands(result))
    plates.append(verdicts_table(result))
    slides = _slides(result)
    if slides is not None:
        plates.append(slides)
    if any(row["position"] is not None for row in result.rows("profiles")):
        plates.append(_classifier(result))
    return [*plates, effects_table(result), runs_table(result)]


def _bands(result: BandingExperimentResult) -> Chart:
    return Chart(
        Heading(
            key="bands",
            title=bands_title(result),
            reading=(
                "One panel for each of the last two layers, one row a variant. A dot is a seed, coloured by the way "
                "its bands run; the short line is their mean, the long one its interval. Right of 0 bands are "
                "horizontal, left of it vertical. The grey line is the baseline. The pale bar is where the claim puts "
                "the variant (the article's, or ours where it has none), with our verdict beside it."
            ),
            method=f"{SCORE} {INTERVALS}",
            null=FLIP_NULL,
        ),
        spec=bands_chart(result).to_dict(),
        rows=tuple(bands_rows(result)),
    )


def _slides(result: BandingExperimentResult) -> Slides | None:
    """The last two layers of every variant, of the seed that has most of them, the first of several."""
    drawn = Counter(done.seed for done in result.finished if _drawn(done, "last"))
    seed = max(drawn, key=drawn.__getitem__, default=None)
    layers = [
        _slide_layer(done, place)
        for done in result.finished
        if done.seed == seed
        for place in PLACES
        if _drawn(done, place)
    ]
    if not layers:
        return None
    striped = [layer for layer in layers if layer.marked]
    return Slides(
        Heading(
            key="slides",
            title=f"Of {counted(len(layers), 'slide')} of the last two layers {tally(striped)} are striped like muscle",
            reading=f"Each variant's penultimate layer, then its last, all of seed {seed}. {SLIDES_READING}",
            method=SLIDES_METHOD,
            null="The factoring finds structure in noise: judge a slide beside the control's.",
        ),
        tuple(layers),
    )


def _drawn(done: ExperimentRun, place: str) -> bool:
    return done.measurement is not None and f"{place}/slides" in done.measurement.arrays


def _slide_layer(done: ExperimentRun, place: str) -> SlideLayer:
    arrays: dict[str, Any] = dict(done.measurement.arrays) if done.measurement is not None else {}
    score, slide_score = (done.figure(f"{place}_{what}") for what in ("score", "slide_score"))
    direction = done.figure(f"{place}_direction")
    return SlideLayer(
        layer=f"{done.variant}: {done.figure(f'{place}_layer')}",
        images=arrays[f"{place}/slides"],
        facts=(
            f"{place} layer",
            f"B {score:+.3f}, slides {slide_score:+.3f}",
            f"{direction} bands" if direction != "none" else "no direction",
        ),
        measures={"score": arrays[f"{place}/unit_scores"]},
        order=arrays[f"{place}/order"],
        marked=isinstance(slide_score, float) and abs(slide_score) >= BANDED_SLIDES,
    )


def _classifier(result: BandingExperimentResult) -> Chart:
    rows = tuple(row for row in result.rows("profiles") if row["position"] is not None)
    return Chart(
        Heading(
            key="classifier",
            title=classifier_title(result),
            reading=(
                "What the classifier makes of the map where it sees positions: the share of its squared weights at "
                "each row (y, from the top) and at each column (x, from the left). A line is a seed; dashes are an "
                "even share."
            ),
            method=(
                "Weights as (classes, channels, rows, columns); squares summed over all but one axis. Pooling along x "
                "leaves rows only. Petrov et al. (2021) say of AlexNet that this layer varies strongly with y."
            ),
        ),
        spec=classifier_chart(result).to_dict(),
        rows=rows,
    )
