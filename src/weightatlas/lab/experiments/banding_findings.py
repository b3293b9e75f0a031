"""What Weight Banding's experiment found, in sentences."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from weightatlas.banding.score import BANDED_RAW, SMALLEST
from weightatlas.lab.experiments.banding_measures import PLACES
from weightatlas.lab.experiments.plates import tally
from weightatlas.plate import Finding
from weightatlas.wording import counted, listed, number

if TYPE_CHECKING:
    from weightatlas.lab.experiments.banding_result import BandingExperimentResult
    from weightatlas.lab.experiments.comparing import Comparison

BASELINE: Final = "baseline"


def banding_findings(result: BandingExperimentResult) -> list[Finding]:
    """One sentence for each part of the experiment that was run."""
    makers = (_baseline, _rotated, _without_pooling, _x_pooling, _persisted, _control)
    found = [make(result) for make in makers]
    return [finding for finding in found if finding is not None]


def bands_title(result: BandingExperimentResult) -> str:
    """What the chart of bands shows: the baseline, and which variants keep its bands."""
    names = [variant.name for variant in result.experiment.variants if result.of(variant.name)]
    strong = [name for name in names if abs(_mean(result, name, "last_score") or 0.0) >= BANDED_RAW]
    banded = [name for name in strong if _all(result, name, "last", "horizontal")]
    turned = [name for name in strong if _all(result, name, "last", "vertical")]
    tail = f", vertically in {listed(turned)}" if turned else ""
    return f"The last layer is banded horizontally in {tally(banded)} of {counted(len(names), 'variant')}{tail}"


def classifier_title(result: BandingExperimentResult) -> str:
    """How unevenly the classifier that sees all positions weighs rows and columns."""
    name = next((name for name in ("no-pooling", "x-pooling") if result.values(name, "row_contrast")), None)
    if name is None:
        return "What the classifier makes of the map"
    rows, columns = (_mean(result, name, f"{axis}_contrast") for axis in ("row", "column"))
    tail = "" if columns is None else f", its columns {columns:.1f} times"
    return f"Under {name} the classifier weighs its heaviest row {rows or 0:.1f} times its lightest{tail}"


def _baseline(result: BandingExperimentResult) -> Finding | None:
    if not result.of(BASELINE):
        return None
    seeds = len(result.of(BASELINE))
    places = [place for place in PLACES if _all(result, BASELINE, place, "horizontal")]
    if len(places) == 2:
        statement = f"With global average pooling both of the last two layers band horizontally, in {_every(seeds)}."
    elif places:
        statement = f"With global average pooling the {places[0]} layer bands horizontally in {_every(seeds)}."
    else:
        told = Counter(str(done.figure("last_direction")) for done in result.of(BASELINE))
        ways = listed([f"{direction} in {number(count)}" for direction, count in told.most_common()])
        statement = f"The baseline's last layer does not band horizontally in {_every(seeds)}: {ways}."
    return Finding(statement, _figures(result, BASELINE), plate="bands", importance=0.9)


def _rotated(result: BandingExperimentResult) -> Finding | None:
    name = "rotated-90"
    if not result.of(name):
        return None
    seeds = len(result.of(name))
    turned = [place for place in PLACES if _all(result, name, place, "vertical")]
    if len(turned) == 2:
        statement = f"Turning the images by 90 degrees turns the bands, in both layers and {_every(seeds)}."
    elif turned:
        statement = f"Turning the images by 90 degrees turns the bands of the {turned[0]} layer in {_every(seeds)}."
    else:
        statement = "Turning the images by 90 degrees does not turn the bands in every seed."
    return Finding(statement, _figures(result, name), plate="bands", importance=0.85)


def _without_pooling(result: BandingExperimentResult) -> Finding | None:
    name = "no-pooling"
    kept = {place: _kept(result, name, f"{place}_score") for place in PLACES}
    if None in kept.values():
        return None
    shares = listed([f"{share:.0%} of the baseline's in the {place} layer" for place, share in kept.items()])
    left = [place for place in PLACES if abs(_mean(result, name, f"{place}_score") or 0.0) >= SMALLEST]
    rest = f"; in the {listed(left)} it stays above {SMALLEST:g}, weakened and not gone" if left else ""
    statement = f"Without pooling B is {shares}{rest}."
    slides = _claimed(result, name, "last_slide_score")
    judged = [f"judged on slides, as the article does: {slides.verdict}"] if slides else []
    return Finding(statement, (*_figures(result, name), *judged), plate="bands", importance=0.8)


def _x_pooling(result: BandingExperimentResult) -> Finding | None:
    name = "x-pooling"
    moved = _claimed(result, name, "shift")
    if not result.of(name) or moved is None:
        return None
    statement = {
        "agrees": "Pooling along x only moves the bands from the last layer to the one before, as in the article.",
        "disagrees": "Pooling along x only does not move the bands back a layer, as it did in the article: the last "
        "layer bands more than the one before.",
        "undecided": "Whether pooling along x only moves the bands back a layer, as in the article, is undecided.",
    }[moved.verdict or "undecided"]
    return Finding(statement, _figures(result, name), plate="bands", importance=0.75)


def _persisted(result: BandingExperimentResult) -> Finding | None:
    claims = [item for item in result.comparisons if item.claim is not None and item.claim.article == "persisted"]
    claims = [item for item in claims if item.effect.pairs]
    if not claims:
        return None
    agreeing = [item for item in claims if item.verdict == "agrees"]
    variants = counted(len(claims), "variant")
    which = f"all {variants}" if len(agreeing) == len(claims) > 1 else f"{tally(agreeing)} of {variants}"
    statement = f"Bands persist in {which} in which the article saw them persist."
    return Finding(statement, tuple(_told(item) for item in claims), plate="verdicts", importance=0.7)


def _told(item: Comparison) -> str:
    effect = item.effect
    share = "" if math.isnan(effect.kept) else f"{effect.kept:.0%} of the baseline's, "
    return f"{item.variant} B = {effect.variant.mean:+.3f} ({share}{item.verdict})"


def _control(result: BandingExperimentResult) -> Finding | None:
    finished = result.of("control")
    if not finished:
        return None
    banded = sum(any(done.figure(f"{place}_direction") not in ("none", None) for place in PLACES) for done in finished)
    if banded:
        statement = f"Of {counted(len(finished), 'control')}, {number(banded)} {_are(banded)} banded: doubt the rest."
    else:
        statement = f"Where position does not matter nothing bands, in {_every(len(finished))}."
    return Finding(statement, _figures(result, "control"), plate="bands", importance=0.65)


def _figures(result: BandingExperimentResult, name: str) -> tuple[str, ...]:
    """B of the last two layers, as evidence."""
    told = []
    for place in PLACES:
        mean = _mean(result, name, f"{place}_score")
        if mean is not None:
            told.append(f"{place} layer B = {mean:+.3f}")
    return tuple(told)


def _all(result: BandingExperimentResult, name: str, place: str, direction: str) -> bool:
    return all(done.figure(f"{place}_direction") == direction for done in result.of(name))


def _mean(result: BandingExperimentResult, name: str, key: str) -> float | None:
    values = list(result.values(name, key).values())
    return sum(values) / len(values) if values else None


def _kept(result: BandingExperimentResult, name: str, key: str) -> float | None:
    """What a variant keeps of its baseline's figure; None where the baseline's own is not told from 0."""
    found = [item.effect for item in result.comparisons if (item.variant, item.measure) == (name, key)]
    return found[0].kept if found and math.isfinite(found[0].kept) else None


def _claimed(result: BandingExperimentResult, name: str, key: str) -> Comparison | None:
    return next(
        (item for item in result.comparisons if (item.variant, item.measure) == (name, key) and item.claim), None
    )


def _every(seeds: int) -> str:
    """The seeds of which something holds without exception."""
    return "the one seed" if seeds == 1 else "both seeds" if seeds == 2 else f"all {number(seeds)} seeds"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
