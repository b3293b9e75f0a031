"""What WeightScale's experiment found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.lab.experiments.change_variants import EXCELLENT
from weightatlas.lab.experiments.plates import tally
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.change_result import ChangeExperimentResult
    from weightatlas.lab.experiments.comparing import Comparison


def change_findings(result: ChangeExperimentResult) -> list[Finding]:
    """One sentence for each question of the experiment that its runs answer."""
    items = result.comparisons
    found = (_recruited(items), _sized(result, items), _scaled(items), _deeper(items), _clustered(items))
    return [finding for finding in found if finding is not None]


def recruitment_title(result: ChangeExperimentResult) -> str:
    """How many of the harder tasks recruit later layers, by equation 1."""
    judged = _claimed(result.comparisons, "recruitment", "higher")
    if not judged:
        return "How much more the last third of the layers changes than the first"
    agreeing = [item for item in judged if item.verdict == "agrees"]
    which = counted(len(judged), "more complex task")
    return f"{capitalized(tally(agreeing))} of {which} {_recruits(len(agreeing))} later layers more, by equation 1"


def layers_title(result: ChangeExperimentResult) -> str:
    """In how many variants the layers whose weights start smaller change more."""
    judged = _claimed(result.comparisons, "scale", "present")
    if not judged:
        return "The change of every layer along the network"
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
                f"{item.variant}: rank correlation with size {by_code:+.2f} against {by_equation:+.2f} ({item.verdict})"
            )
    return Finding(statement, tuple(told), plate="layers-chart", importance=0.8)


def _scaled(items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "scale", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = (
        "Layers whose weights start smaller change by a larger part of them in "
        f"{tally(agreeing)} of {counted(len(judged), 'variant')}, whatever is learned."
    )
    told = [f"{item.variant}: rank correlation {item.effect.variant.mean:+.2f} ({item.verdict})" for item in judged]
    return Finding(statement, tuple(told), plate="layers-chart", importance=0.85)


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
        f"{item.variant}: partial rank correlation {item.effect.variant.mean:+.2f} ({item.verdict})" for item in judged
    ]
    return Finding(statement, tuple(told), plate="layers-chart", importance=0.75)


def _clustered(items: Sequence[Comparison]) -> Finding | None:
    judged = _claimed(items, "stability", "present")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = (
        f"The published clustering finds the same clusters from other starts (adjusted Rand index above {EXCELLENT:g}) "
        f"in {tally(agreeing)} of {counted(len(judged), 'variant')}."
    )
    told = [f"{item.variant}: {item.effect.variant.mean:.2f} ({item.verdict})" for item in judged]
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
    span = "" if difference.low is None else f", {difference.low:+.2f} to {difference.high:+.2f}"
    return f"{item.variant}, {name}: R {difference.mean:+.2f} against {item.against}{span} ({item.verdict})"


def _mean(result: ChangeExperimentResult, name: str, key: str) -> float | None:
    values = list(result.values(name, key).values())
    return sum(values) / len(values) if values else None


def _recruits(count: int) -> str:
    return "recruits" if count == 1 else "recruit"
