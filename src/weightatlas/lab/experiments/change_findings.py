"""What WeightScale's experiment found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.change_variants import EXCELLENT
from weightatlas.lab.experiments.plates import tally
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.change_result import ChangeExperimentResult
    from weightatlas.lab.experiments.comparing import Comparison

GROUPED: Final = 0.05
"""Chance of curves without groups at which clusters count as real."""


def change_findings(result: ChangeExperimentResult) -> list[Finding]:
    """One sentence for each question of the experiment that its runs answer."""
    items = result.comparisons
    found = (
        _recruited(items),
        _sized(result, items),
        _scaled(items),
        _moved(result, items),
        _deeper(items),
        _clustered(result, items),
    )
    return [finding for finding in found if finding is not None]


def recruitment_title(result: ChangeExperimentResult) -> str:
    """How many of the harder tasks recruit later layers, by equation 1."""
    judged = _claimed(result.comparisons, "recruitment", "higher")
    if not judged:
        return "How much more the last third of the layers changes than the first"
    agreeing = [item for item in judged if item.verdict == "agrees"]
    which = counted(len(judged), "more complex task")
    return f"{capitalized(tally(agreeing))} of {which} {_recruits(len(agreeing))} later layers more, by equation 1"


def scale_title(result: ChangeExperimentResult) -> str:
    """In how many variants the layers whose weights start smaller change more."""
    judged = _claimed(result.comparisons, "scale", "present")
    if not judged:
        return "The change of every layer and the size of its first weights"
    agreeing = [item for item in judged if item.verdict == "agrees"]
    which = counted(len(judged), "variant")
    return f"Layers whose weights start smaller change more, in {tally(agreeing)} of {which}"


def _recruited(items: Sequence[Comparison]) -> Finding | None:
    judged = [*_claimed(items, "recruitment", "higher"), *_claimed(items, "recruitment_elementwise", "higher")]
    if not judged:
        return None
    told = []
    for measure, name in (("recruitment", "by equation 1"), ("recruitment_elementwise", "by the paper's code")):
        of_measure = [item for item in judged if item.measure == measure]
        agreeing = [item for item in of_measure if item.verdict == "agrees"]
        if of_measure:
            told.append(f"{tally(agreeing)} of {counted(len(of_measure), 'comparison')} {name}")
    statement = f"A more complex task recruits later layers more in {' and '.join(told)}."
    return Finding(statement, tuple(_told(item) for item in judged), plate="recruitment", importance=0.9)


def _sized(result: ChangeExperimentResult, items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "size_excess", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = (
        "What the paper's code computes follows the size of layers more closely than equation 1 in "
        f"{tally(agreeing)} of {counted(len(judged), 'variant')}."
    )
    told = []
    for item in judged:
        by_code, by_equation = (_mean(result, item.variant, key) for key in ("size_elementwise", "size"))
        if by_code is not None and by_equation is not None:
            told.append(
                f"{item.variant}: rank correlation with size {_signed(by_code)} against {_signed(by_equation)} "
                f"({item.verdict})"
            )
    return Finding(statement, tuple(told), plate="layers-chart", importance=0.8)


def _scaled(items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "scale", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = (
        "Layers whose weights start smaller change by a larger part of them in "
        f"{tally(agreeing)} of {counted(len(judged), 'variant')}."
    )
    told = [f"{item.variant}: rank correlation {_signed(item.effect.variant.mean)} ({item.verdict})" for item in judged]
    return Finding(statement, tuple(told), plate="scale", importance=0.85)


def _moved(result: ChangeExperimentResult, items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "recruitment_undivided", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = (
        "Not divided by how large they are, the weights of later layers move farther in "
        f"{tally(agreeing)} of {counted(len(judged), 'variant')}."
    )
    told = []
    for item in judged:
        divided, first = (_mean(result, item.variant, key) for key in ("recruitment", "recruitment_start"))
        if divided is not None and first is not None:
            undivided = _signed(item.effect.variant.mean)
            told.append(
                f"{item.variant}: R {undivided} undivided ({item.verdict}), {_signed(divided)} by equation 1, "
                f"{_signed(first)} if all weights moved as far"
            )
    return Finding(statement, tuple(told), plate="scale", importance=0.86)


def _deeper(items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "depth_given_size", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    against = [item for item in judged if item.verdict == "disagrees"]
    statement = (
        f"Given their size, later layers change more in {tally(agreeing)} of {counted(len(judged), 'variant')}, and "
        f"less in {tally(against)}."
    )
    told = [
        f"{item.variant}: partial rank correlation {_signed(item.effect.variant.mean)} ({item.verdict})"
        for item in judged
    ]
    return Finding(statement, tuple(told), plate="layers-chart", importance=0.75)


def _clustered(result: ChangeExperimentResult, items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "stability", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = (
        f"The published clustering finds the same clusters from other starts (adjusted Rand index above {EXCELLENT:g}) "
        f"in {tally(agreeing)} of {counted(len(judged), 'variant')}."
    )
    told = [f"{item.variant}: {item.effect.variant.mean:.2f} ({item.verdict})" for item in judged]
    p_values = [value for item in judged for value in result.values(item.variant, "cluster_p").values()]
    if p_values:
        apart = [value for value in p_values if value <= GROUPED]
        told.append(
            f"its clusters are beyond those of curves without groups (p ≤ {GROUPED:g}) in {tally(apart)} of "
            f"{counted(len(p_values), 'run')}"
        )
    return Finding(statement, tuple(told), plate="verdicts", importance=0.7)


def _claimed(items: Sequence[Comparison], measure: str, expected: str) -> list[Comparison]:
    """The comparisons that judge one kind of claim on one measure, where anything was measured."""
    return [
        item
        for item in items
        if item.claim is not None and (item.measure, item.claim.expected) == (measure, expected) and item.effect.pairs
    ]


def _told(item: Comparison) -> str:
    difference = item.effect.difference
    name = "elementwise" if item.measure.endswith("elementwise") else "equation 1"
    span = ""
    if difference.low is not None and difference.high is not None:
        span = f", {_signed(difference.low)} to {_signed(difference.high)}"
    return f"{item.variant}, {name}: R {_signed(difference.mean)} against {item.against}{span} ({item.verdict})"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _mean(result: ChangeExperimentResult, name: str, key: str) -> float | None:
    values = list(result.values(name, key).values())
    return sum(values) / len(values) if values else None


def _recruits(count: int) -> str:
    return "recruits" if count == 1 else "recruit"
