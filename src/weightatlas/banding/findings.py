"""What a banding survey found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightatlas.banding.score import SIGNIFICANT
from weightatlas.banding.symmetries import SYMMETRIES, is_broken
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.banding.layer import LayerBanding
    from weightatlas.banding.survey import BandingSurvey
    from weightatlas.banding.types import BandingTypes


def banding_findings(survey: BandingSurvey) -> list[Finding]:
    """The sentences of the cover, the most important first."""
    scored = survey.scored
    if not scored:
        statement = "No layer has bands to measure: there is no dense convolution with square kernels."
        return [Finding(statement, (_skipped_evidence(survey),), plate="banding", importance=0.2)]
    banded = [banding for banding in scored if banding.banded]
    findings = [_banded_finding(survey, banded)]
    faint = [banding for banding in scored if banding.direction != "none" and not banding.banded]
    if faint:
        lean = "leans" if len(faint) == 1 else "lean"
        statement = f"{capitalized(counted(len(faint), 'layer'))} more {lean} one way, too faintly to be called banded."
        findings.append(Finding(statement, tuple(_evidence(faint)), plate="banding", importance=0.5))
    findings += _flip_findings(survey)
    return findings


def banding_title(survey: BandingSurvey) -> str:
    """The title of the table: where banding begins and where it is strongest."""
    scored = survey.scored
    banded = [banding for banding in scored if banding.banded]
    if not scored:
        return "No layer has bands to measure"
    if not banded:
        return f"None of {counted(len(scored), 'layer')} is banded"
    strongest = max(banded, key=_size)
    where = "in the last layer" if strongest is scored[-1] else f"in {strongest.layer}"
    if len(banded) == 1:
        return f"Only {banded[0].layer} is banded, {banded[0].direction}ly"
    begins = banded[0]
    if begins is scored[0]:
        return f"{capitalized(counted(len(banded), 'layer'))} of {len(scored)} are banded, most strongly {where}"
    return f"Banding begins at {begins.layer} and is strongest {where}"


def symmetry_title(survey: BandingSurvey) -> str:
    """Which symmetries the layers break."""
    broken = _broken(survey)
    if not any(broken.values()):
        return "No layer's units break a symmetry of the square in common"
    parts = [
        f"{number(len(layers))} {'breaks' if len(layers) == 1 else 'break'} the {symmetry}"
        for symmetry, layers in broken.items()
        if layers
    ]
    return f"Of {counted(len(survey.scored), 'layer')}, {listed(parts)}"


def types_title(found: BandingTypes) -> str:
    """How many types there are, and how much of the tissue is banded either way."""
    count = sum(map(len, found.centres.values()))
    units = sum(len(labels) for labels in found.assignment.values())
    banded = np.zeros(2)
    for layer, labels in found.assignment.items():
        banded += np.array(found.banded_share(layer)) * len(labels)
    horizontal, vertical = banded / max(units, 1)
    types = capitalized(counted(count, "type"))
    return (
        f"{types} of tissue; {horizontal:.0%} of all units are of a horizontally banded one, {vertical:.0%} vertically"
    )


def type_shares_title(survey: BandingSurvey, found: BandingTypes) -> str:
    """How much of its own direction's tissue a layer with a direction has, at most and at least."""
    shares = []
    for banding in survey.scored:
        if banding.direction != "none" and banding.layer in found.sizes:
            horizontal, vertical = found.banded_share(banding.layer)
            shares.append((horizontal if banding.direction == "horizontal" else vertical, banding.layer))
    if not shares:
        return "What each layer is made of; none of them has a direction"
    most, layer = max(shares)
    if len(shares) == 1:
        return f"{layer} is {most:.0%} tissue banded its own way"
    least = min(shares)[0]
    return f"Layers with a direction: {least:.0%} to {most:.0%} of their units are banded their way, most in {layer}"


def profiles_title(survey: BandingSurvey) -> str:
    """How unevenly the first layer that reads a map weighs its rows and its columns."""
    banding = next(banding for banding in survey.scored if banding.reads_map)
    if banding.score is None:
        return f"{banding.layer} over the map it reads"
    rows, columns = (
        profile.max() / max(profile.min(), np.finfo(float).tiny)
        for profile in (banding.score.row_profile, banding.score.column_profile)
    )
    return f"{banding.layer} weighs its heaviest row {rows:.1f} times its lightest, its columns {columns:.1f} times"


def _banded_finding(survey: BandingSurvey, banded: Sequence[LayerBanding]) -> Finding:
    scored = survey.scored
    if not banded:
        largest = max(scored, key=_size)
        statement = f"No layer is banded: none of {counted(len(scored), 'layer')} prefers a direction strongly enough."
        return Finding(statement, tuple(_evidence([largest])), plate="banding", importance=0.6)
    ways = {way: [banding for banding in banded if banding.direction == way] for way in ("horizontal", "vertical")}
    parts = [f"{counted(len(layers), 'layer')} {way}ly" for way, layers in ways.items() if layers]
    are = "is" if len(banded) == 1 else "are"
    if len(parts) == 1:
        way = "horizontally" if ways["horizontal"] else "vertically"
        start = f"{capitalized(counted(len(banded), 'layer'))} {are} {way} banded"
    else:
        start = f"{capitalized(listed(parts))} banded"
    tail = list(scored[-len(banded) :]) == list(banded)
    end = ""
    if tail and len(banded) < len(scored):
        last = "" if len(banded) == 1 else f" {number(len(banded))}"
        end = f": the last{last} of {counted(len(scored), 'spatial convolution')}"
    evidence = tuple(_evidence(sorted(banded, key=_size, reverse=True)))
    return Finding(f"{start}{end}.", evidence, plate="banding", importance=1.0)


def _flip_findings(survey: BandingSurvey) -> list[Finding]:
    findings = []
    for symmetry, layers in _broken(survey).items():
        if symmetry == "quarter turn" or not layers:
            continue
        sides = ("top", "bottom") if symmetry == "vertical flip" else ("left", "right")
        subject = capitalized(counted(len(layers), "layer"))
        weighs = "weighs" if len(layers) == 1 else "weigh"
        whose = "its" if len(layers) == 1 else "their"
        statement = f"{subject} {weighs} {sides[0]} and {sides[1]} of {whose} kernels unequally."
        evidence = tuple(f"{layer} {value:+.3f}" for layer, value in layers[:3])
        findings.append(Finding(statement, evidence, plate="symmetries", importance=0.4))
    return findings


def _broken(survey: BandingSurvey) -> dict[str, list[tuple[str, float]]]:
    broken: dict[str, list[tuple[str, float]]] = {symmetry: [] for symmetry in SYMMETRIES}
    for banding in survey.scored:
        for test, q_value in zip(banding.symmetries, banding.symmetry_q_values, strict=True):
            if is_broken(test.score, q_value):
                broken[test.symmetry].append((banding.layer, test.score))
    for layers in broken.values():
        layers.sort(key=lambda layer: -abs(layer[1]))
    return broken


def _evidence(layers: Sequence[LayerBanding], most: int = 3) -> list[str]:
    texts = [
        f"{banding.layer} B = {banding.score.score:+.3f}" for banding in layers[:most] if banding.score is not None
    ]
    if len(layers) > most:
        texts.append(f"and {len(layers) - most} more")
    worst = max(banding.q_value for banding in layers)
    texts.append(f"q < {SIGNIFICANT:g}" if worst < SIGNIFICANT else f"q = {worst:.3f}")
    return texts


def _skipped_evidence(survey: BandingSurvey) -> str:
    return f"{counted(len(survey.layers), 'weight')} looked at"


def _size(banding: LayerBanding) -> float:
    return 0.0 if banding.score is None else abs(banding.score.score)
