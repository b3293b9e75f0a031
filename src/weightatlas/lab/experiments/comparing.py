"""Comparing the variants of an experiment with their baselines, measure by measure, and judging their claims."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scipy.stats import false_discovery_control

from weightatlas.lab.experiments.claims import verdict
from weightatlas.lab.experiments.effects import mean_interval, paired_effect

if TYPE_CHECKING:
    from weightatlas.lab.experiments.claims import Claim, Verdict
    from weightatlas.lab.experiments.effects import Effect
    from weightatlas.lab.experiments.experiment import Variant
    from weightatlas.lab.experiments.result import ExperimentResult

SIGNIFICANT: Final = 0.001
"""A claim of presence asks every seed's q to be below this."""

COMPARED: Final = ("train_accuracy", "test_accuracy")
"""What is compared in every experiment, after its own measures."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of one variant, beside its baseline where it has one, and a claim about it where there is one.

    Attributes:
        variant: what is compared.
        against: its baseline; None for a baseline itself.
        measure: key of the measure.
        effect: over the seeds that both have; of a baseline, its own values on either side.
        q_value: Benjamini-Hochberg over all differences of the experiment; None where there is no p.
        claim: what is judged.
        verdict: on the claim; None without one.
    """

    variant: str
    against: str | None
    measure: str
    effect: Effect
    q_value: float | None
    claim: Claim | None
    verdict: Verdict | None


def compare(result: ExperimentResult) -> tuple[Comparison, ...]:
    """Compare every variant on every measure that is compared, and on those that its claims name.

    A pair of variant and measure has one comparison for each claim about it, or one without a claim.
    """
    found: list[tuple[Variant, str, Effect, tuple[Claim | None, ...]]] = []
    compared = [measure.key for measure in result.experiment.measures if measure.compared]
    for variant in result.experiment.variants:
        claimed = [claim.measure for claim in variant.claims]
        for key in dict.fromkeys([*compared, *COMPARED, *claimed]):
            claims = tuple(claim for claim in variant.claims if claim.measure == key)
            if variant.against is None and not claims:
                continue
            found.append((variant, key, effect_of(result, variant, key), claims or (None,)))
    q_values = _q_values([effect if variant.against else None for variant, _, effect, _ in found])
    return tuple(
        Comparison(
            variant=variant.name,
            against=variant.against,
            measure=key,
            effect=effect,
            q_value=q_value,
            claim=claim,
            verdict=None if claim is None else _judged(result, variant, claim),
        )
        for (variant, key, effect, claims), q_value in zip(found, q_values, strict=True)
        for claim in claims
    )


def effect_of(result: ExperimentResult, variant: Variant, key: str) -> Effect:
    """The effect of a variant on a measure, over the seeds that it and its baseline have."""
    values, baseline = _paired(result, variant, key)
    return paired_effect(values, baseline)


def _paired(result: ExperimentResult, variant: Variant, key: str) -> tuple[list[float], list[float]]:
    """Values of the variant and of its baseline for every seed, NaN where one was not measured."""
    after = result.values(variant.name, key)
    before = after if variant.against is None else result.values(variant.against, key)
    seeds = result.experiment.seeds
    return [after.get(seed, math.nan) for seed in seeds], [before.get(seed, math.nan) for seed in seeds]


def _judged(result: ExperimentResult, variant: Variant, claim: Claim) -> Verdict:
    values, baseline = _paired(result, variant, claim.measure)
    effect = paired_effect(values, baseline)
    halves = [after - before / 2 for after, before in zip(values, baseline, strict=True)]
    significant = True
    if claim.significant is not None:
        q_values = result.values(variant.name, claim.significant)
        significant = all(q_values.get(seed, 1.0) < SIGNIFICANT for seed in result.values(variant.name, claim.measure))
    return verdict(
        effect,
        claim.expected,
        floor=claim.floor,
        halved=mean_interval([half for half in halves if not math.isnan(half)]),
        significant=significant,
    )


def _q_values(effects: list[Effect | None]) -> list[float | None]:
    p_values = [None if effect is None else effect.difference.p_value for effect in effects]
    known = [value for value in p_values if value is not None]
    corrected = iter(false_discovery_control(known).tolist() if known else [])
    return [None if value is None else float(next(corrected)) for value in p_values]
