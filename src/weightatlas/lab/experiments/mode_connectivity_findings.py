"""What the mode connectivity experiment found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightatlas.lab.experiments.mode_connectivity_variants import BEST, INSTABILITY, place_of
from weightatlas.lab.experiments.plates import interval, tally
from weightatlas.plate import Finding
from weightatlas.wording import counted, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.lab.experiments.comparing import Comparison
    from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult


def mode_connectivity_findings(result: ModeConnectivityResult) -> list[Finding]:
    """One sentence for each question of the experiment that its runs answer."""
    makers = (_wider, _late, _stable_from, _matching, _recalibration, _layers)
    found = [make(result) for make in makers]
    return [finding for finding in found if finding is not None]


def widths_title(result: ModeConnectivityResult) -> str:
    """How the barrier goes with the width, from the narrowest to the widest."""
    rows = [row for row in result.rows("widths") if row[BEST[0]] is not None and row["family"] == "batch norm"]
    if len(rows) < 2:
        return "The barrier between independent networks"
    first, last = min(rows, key=lambda row: row["width"]), max(rows, key=lambda row: row["width"])
    return (
        f"Matched and recalibrated, the loss barrier is {first[BEST[0]]:.2f} at width {first['width']:g} and "
        f"{last[BEST[0]]:.2f} at width {last['width']:g}"
    )


def forks_title(result: ModeConnectivityResult) -> str:
    """From which share of the run on forks are joined by a line."""
    joined = _joined_from(result)
    if joined is None:
        return "The error barrier between forks"
    return f"Forks after {joined} of the run, and later, have error barriers below {INSTABILITY:g}"


def layers_title(result: ModeConnectivityResult) -> str:
    """How well the order of the layers is predicted."""
    values = _of_twins(result, "layer_rank")
    if not values:
        return "The barrier of every layer and its prediction"
    median = _signed(float(np.median(values)))
    return f"Predicted and measured barriers of layers: rank correlation {median} in the median pair"


def _wider(result: ModeConnectivityResult) -> Finding | None:
    judged = [item for measure in ("log_barrier", *BEST) for item in _claimed(result, measure, "lower")]
    return _finding(
        judged,
        "The widest networks have lower barriers than the narrowest",
        "widths",
        0.92,
        lambda item: f"{item.variant} below {item.against}, {_label(item)}",
    )


def _late(result: ModeConnectivityResult) -> Finding | None:
    judged = _claimed(result, "error_barrier_recalibrated", "absent")
    judged = [item for item in judged if place_of(item.variant).role == "fork"]
    claim = f"Networks forked late have error barriers near zero (within {INSTABILITY:g})"
    return _finding(judged, claim, "forks", 0.9, lambda item: item.variant)


def _stable_from(result: ModeConnectivityResult) -> Finding | None:
    """What the forks say themselves, share by share."""
    rows = [row for row in result.rows("forks") if row["error_barrier_recalibrated"] is not None]
    if len(rows) < 2:
        return None
    joined = _joined_from(result)
    statement = (
        f"From {joined} of the run on every fork's mean error barrier is below {INSTABILITY:g}."
        if joined is not None
        else f"Not even the last fork's mean error barrier is below {INSTABILITY:g}."
    )
    told = tuple(
        f"{row['share']}: {row['error_barrier_recalibrated']:.3f} of error, {row['barrier_recalibrated']:.3f} of loss"
        for row in rows
    )
    return Finding(statement, told, plate="forks", importance=0.85)


def _matching(result: ModeConnectivityResult) -> Finding | None:
    judged = _claimed(result, "matching_gain", "present")
    return _finding(judged, "Matching lowers the barrier", "widths", 0.88, lambda item: f"{item.variant}, by")


def _recalibration(result: ModeConnectivityResult) -> Finding | None:
    judged = _claimed(result, "recalibration_gain", "present")
    return _finding(
        judged, "Statistics estimated anew lower the barrier", "widths", 0.87, lambda item: f"{item.variant}, by"
    )


def _layers(result: ModeConnectivityResult) -> Finding | None:
    values = _of_twins(result, "layer_rank")
    p_values = _of_twins(result, "layer_rank_p")
    if not values:
        return None
    sure = [value for value in p_values if value < 0.05]
    statement = (
        f"Derivatives at both ends rank the barriers of layers with correlations from {_signed(min(values))} to "
        f"{_signed(max(values))}; beyond chance (p < .05) in {tally(sure)} of {counted(len(values), 'pair')}."
    )
    return Finding(statement, (f"median {_signed(float(np.median(values)))}",), plate="layers", importance=0.7)


def _finding(
    judged: Sequence[Comparison], claim: str, plate: str, importance: float, words: Callable[[Comparison], str]
) -> Finding | None:
    """A claim, in how many comparisons it holds, and each of them."""
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    against = [item for item in judged if item.verdict == "disagrees"]
    undecided = len(judged) - len(agreeing) - len(against)
    statement = f"{claim}: so in {tally(agreeing)} of {counted(len(judged), 'comparison')}"
    statement += f", the contrary in {number(len(against))}" if against else ""
    statement += f", undecided in {number(undecided)}." if undecided else "."
    told = tuple(f"{words(item)}: {_figure(item)}" for item in judged)
    return Finding(statement, told, plate=plate, importance=importance)


def _label(item: Comparison) -> str:
    return {"log_barrier": "order of magnitude", BEST[0]: "loss", BEST[1]: "error"}[item.measure]


def _figure(item: Comparison) -> str:
    """What was judged, its interval and the verdict."""
    found = item.judged if item.judged is not None else item.effect.difference
    span = interval({"low": found.low, "high": found.high}, "low", "high")
    words = f"{found.mean:+.3f}".replace("-", "−") + (f" ({span})" if span else "")
    return f"{words}, {item.verdict}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _claimed(result: ModeConnectivityResult, measure: str, expected: str) -> list[Comparison]:
    """The comparisons that judge one kind of claim on one measure, where anything was measured."""
    return [
        item
        for item in result.comparisons
        if item.claim is not None and (item.measure, item.claim.expected) == (measure, expected) and item.effect.pairs
    ]


def _joined_from(result: ModeConnectivityResult) -> str | None:
    """The first share of the run from which on every fork's mean error barrier is below the floor."""
    joined: str | None = None
    for row in result.rows("forks"):
        height = row["error_barrier_recalibrated"]
        if height is None or height >= INSTABILITY or row["step"] is None:
            joined = None
        elif joined is None:
            joined = str(row["share"])
    return joined


def _of_twins(result: ModeConnectivityResult, key: str) -> list[float]:
    """A figure of every pair of independent networks."""
    twins = [variant.name for variant in result.experiment.variants if place_of(variant.name).role == "twin"]
    return [value for name in twins for value in result.values(name, key).values()]
