"""Comparing the variants of an experiment with their baselines, measure by measure, and judging their claims."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from scipy.stats import false_discovery_control

from weightatlas.lab.experiments.claims import HALVES, judged_interval, verdict
from weightatlas.lab.experiments.effects import mean_interval, paired_effect

if TYPE_CHECKING:
    from weightatlas.lab.experiments.claims import Claim, Verdict
    from weightatlas.lab.experiments.effects import Effect, Interval
    from weightatlas.lab.experiments.experiment import Variant
    from weightatlas.lab.experiments.result import ExperimentResult

SIGNIFICANT: Final = 0.001
"""A claim of presence asks every seed's q to be below this."""

COMPARED: Final = ("train_accuracy", "test_accuracy")
"""What is compared in every experiment, after its own measures."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of one variant, beside what it is compared with where that is something, and a claim where there is.

    Attributes:
        variant: what is compared.
        against: its baseline, or what the claim compares it with; None for a baseline itself.
        measure: key of the measure.
        effect: over the seeds that both have; of a baseline, its own values on either side.
        q_value: Benjamini-Hochberg over all differences of the experiment; None where there is no p.
        claim: what is judged.
        verdict: on the claim; None without one.
        judged: the interval that the verdict rests on; None without a claim.
        half: for a claim about half of something, where that lies on the measure's axis; None otherwise.
    """

    variant: str
    against: str | None
    measure: str
    effect: Effect
    q_value: float | None
    claim: Claim | None
    verdict: Verdict | None
    judged: Interval | None = None
    half: float | None = None


def compare(result: ExperimentResult) -> tuple[Comparison, ...]:
    """Compare every variant on every measure that is compared, and on those that its claims name.

    A variant and a measure have one comparison for each claim about them, or one without a claim where none compares it
    with its own baseline.
    """
    found = [
        (Comparison(variant.name, against, key, effect_of(result, variant, key, against), None, None, None), claims)
        for variant in result.experiment.variants
        for key in _keys(result, variant)
        for against, claims in _by_baseline(variant, key).items()
    ]
    q_values = _q_values([item.effect if item.against else None for item, _ in found])
    return tuple(
        replace(item, q_value=q_value) if claim is None else _judged(result, replace(item, q_value=q_value), claim)
        for (item, claims), q_value in zip(found, q_values, strict=True)
        for claim in claims
    )


def effect_of(result: ExperimentResult, variant: Variant, key: str, against: str | None = None) -> Effect:
    """The effect of a variant on a measure, over the seeds that it and what it is compared with have.

    Args:
        result: of the experiment.
        variant: whose effect.
        key: of the measure.
        against: what it is compared with; None is the variant's own baseline.
    """
    return paired_effect(*(_values(result, name, key) for name in (variant.name, against or _baseline(variant))))


def _keys(result: ExperimentResult, variant: Variant) -> list[str]:
    """The measures on which a variant is compared, and those that its claims name."""
    compared = [measure.key for measure in result.experiment.measures if measure.compared]
    return list(dict.fromkeys([*compared, *COMPARED, *(claim.measure for claim in variant.claims)]))


def _by_baseline(variant: Variant, key: str) -> dict[str | None, tuple[Claim | None, ...]]:
    """The claims on a variant and a measure by what they compare it with, its own baseline first."""
    claims = [claim for claim in variant.claims if claim.measure == key]
    own = tuple(claim for claim in claims if claim.against in (None, variant.against))
    grouped: dict[str | None, tuple[Claim | None, ...]] = {}
    if variant.against is not None or own:
        grouped[variant.against] = own or (None,)
    for claim in claims:
        if claim not in own:
            grouped[claim.against] = (*grouped.get(claim.against, ()), claim)
    return grouped


def _judged(result: ExperimentResult, item: Comparison, claim: Claim) -> Comparison:
    """A comparison with the verdict on a claim about it."""
    significant = True
    if claim.significant is not None:
        q_values = result.values(item.variant, claim.significant)
        significant = all(q_values.get(seed, 1.0) < SIGNIFICANT for seed in result.values(item.variant, item.measure))
    halved, half = _half(result, item, claim)
    found = verdict(item.effect, claim.expected, floor=claim.floor, halved=halved, significant=significant)
    if claim.gain_of is not None and not _gains(result, claim.gain_of, item):
        found = "undecided"
    judged = judged_interval(item.effect, claim.expected, halved)
    return replace(item, claim=claim, verdict=found, judged=judged, half=half)


def _gains(result: ExperimentResult, name: str, item: Comparison) -> bool:
    """Whether a variant is shown to gain over what another is compared with: else half of its gain means nothing."""
    against = item.against or item.variant
    gain = paired_effect(*(_values(result, one, item.measure) for one in (name, against))).difference
    return gain.low is not None and gain.low > 0


def _half(result: ExperimentResult, item: Comparison, claim: Claim) -> tuple[Interval | None, float | None]:
    """For a claim about half of something: the variant's differences from it, and where it lies."""
    if claim.expected not in HALVES:
        return None, None
    names = (item.variant, item.against, claim.gain_of)
    values, baseline, other = (
        [0.0] * len(result.experiment.seeds) if name is None else _values(result, name, claim.measure) for name in names
    )
    # Half of the baseline, or half the way from it to the other: 0 stands where there is no other.
    halves = [(before + after) / 2 for before, after in zip(baseline, other, strict=True)]
    differences = [after - half for after, half in zip(values, halves, strict=True)]
    known = [half for half, difference in zip(halves, differences, strict=True) if not math.isnan(difference)]
    halved = mean_interval([difference for difference in differences if not math.isnan(difference)])
    return halved, mean_interval(known).mean


def _baseline(variant: Variant) -> str:
    """What a variant is compared with; a baseline with itself."""
    return variant.against or variant.name


def _values(result: ExperimentResult, name: str, key: str) -> list[float]:
    """The values of a variant for every seed, NaN where one was not measured."""
    found = result.values(name, key)
    return [found.get(seed, math.nan) for seed in result.experiment.seeds]


def _q_values(effects: list[Effect | None]) -> list[float | None]:
    p_values = [None if effect is None else effect.difference.p_value for effect in effects]
    known = [value for value in p_values if value is not None]
    corrected = iter(false_discovery_control(known).tolist() if known else [])
    return [None if value is None else float(next(corrected)) for value in p_values]
