"""What the micro-batch experiment found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.lab.experiments.micro_batch_charts import CLASSES, panel
from weightatlas.lab.experiments.micro_batch_variants import (
    BCN,
    BCN_WS,
    BN,
    CENTRED,
    DISTANCES,
    GN,
    MICRO,
    SCALED,
    SMOOTHNESS,
    WS,
    method_of,
)
from weightatlas.lab.experiments.plates import interval, tally
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.lab.experiments.comparing import Comparison
    from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
    from weightatlas.result import Row


TOLD: Final = 6
"""Comparisons that a finding lists one by one, at most."""


def micro_batch_findings(result: MicroBatchResult) -> list[Finding]:
    """One sentence for each question of the experiment that its runs answer."""
    makers = (_order, _collapse, _standardised, _matched, _centring, _smoother, _singularities)
    found = [make(result) for make in makers]
    return [finding for finding in found if finding is not None]


def scores_title(result: MicroBatchResult) -> str:
    """Which method is best where batches are smallest."""
    rows = [row for row in result.rows("methods") if row["skipped"] is None and row["task"] == CLASSES]
    if not rows:
        return "The score of every method at every batch size"
    smallest = min(row["batch"] for row in rows)
    first, *others = [row for row in rows if row["batch"] == smallest]
    if not others:
        return f"{capitalized(panel(CLASSES, smallest))}: {first['method']} scores {first['score']:.2f}"
    return (
        f"In {panel(CLASSES, smallest)} {first['method']} is first ({first['score']:.2f}), {others[-1]['method']} last "
        f"({others[-1]['score']:.2f})"
    )


def _order(result: MicroBatchResult) -> Finding | None:
    """The methods from best to worst, by task and batch size."""
    cells: dict[tuple[bool, int, str], list[Row]] = {}
    for row in result.rows("methods"):
        if row["skipped"] is None:
            key = row["task"] != CLASSES, row["batch"], panel(row["task"], row["batch"])
            cells.setdefault(key, []).append(row)
    cells = {key: cells[key] for key in sorted(cells) if len(cells[key]) > 1}
    if not cells:
        return None
    told = [
        f"{name}: " + listed([f"{row['method']} {row['score']:.3f}" for row in rows])
        for (_, _, name), rows in cells.items()
    ]
    (_, _, name), best = next(iter(cells.items()))
    statement = f"From best to worst, in {name}: {listed([row['method'] for row in best])}."
    return Finding(statement, tuple(told), plate="scores", importance=0.92)


def _collapse(result: MicroBatchResult) -> Finding | None:
    judged = _judged(result, (BN, GN), ("score",))
    return _finding(
        judged,
        "Batch norm fails where batches are small",
        "scores",
        0.9,
        lambda item: (
            f"{item.variant} {'below' if method_of(item.variant)[1] == BN else 'above'} {item.against}: {_figure(item)}"
        ),
    )


def _standardised(result: MicroBatchResult) -> Finding | None:
    judged = _judged(result, (WS, BCN), ("score",))
    return _finding(
        judged,
        "Standardised weights, or batch-channel norm, do better than group norm alone",
        "scores",
        0.88,
        lambda item: f"{item.variant} above {item.against}: {_figure(item)}",
    )


def _matched(result: MicroBatchResult) -> Finding | None:
    judged = _judged(result, (BCN_WS,), ("score",))
    matched = [item for item in judged if _smaller(item)]
    return _finding(
        matched,
        "Batch-channel norm with standardised weights does as well in micro-batches as batch norm in large ones",
        "scores",
        0.89,
        lambda item: f"{item.variant} not below {item.against}: {_figure(item)}",
    )


def _centring(result: MicroBatchResult) -> Finding | None:
    judged = _judged(result, (CENTRED, SCALED), ("score",))
    return _finding(
        judged,
        "Centring gives most of what standardisation gains, scaling less than half",
        "scores",
        0.8,
        lambda item: (
            f"{item.variant} gains {'more' if method_of(item.variant)[1] == CENTRED else 'less'} than half of what "
            f"{item.claim.gain_of if item.claim else ''} gains: {_figure(item)}"
        ),
    )


def _smoother(result: MicroBatchResult) -> Finding | None:
    judged = _judged(result, (WS, BCN_WS), SMOOTHNESS)
    return _finding(
        judged,
        "Standardised weights make the loss smoother",
        "smoothness",
        0.7,
        lambda item: f"{item.variant}, {item.measure.replace('_', ' ')} below {item.against}: {_figure(item)}",
    )


def _singularities(result: MicroBatchResult) -> Finding | None:
    judged = _judged(result, (BCN, BCN_WS), DISTANCES)
    return _finding(
        judged,
        "Batch-channel norm keeps channels nearer to mean 0 and deviation 1, and alive",
        "singularities",
        0.69,
        lambda item: f"{item.variant}, {item.measure.replace('_', ' ')} below {item.against}: {_figure(item)}",
    )


def _finding(
    judged: Sequence[Comparison], claim: str, plate: str, importance: float, told: Callable[[Comparison], str]
) -> Finding | None:
    """A claim, in how many comparisons it holds, and each of them; where they are many, those that are decided."""
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    against = [item for item in judged if item.verdict == "disagrees"]
    statement = f"{claim}: so in {tally(agreeing)} of {counted(len(judged), 'comparison')}"
    statement += f", the contrary in {tally(against)}." if against else "."
    open_ones = len(judged) - len(agreeing) - len(against)
    shown = judged if len(judged) <= TOLD else [*agreeing, *against]
    evidence = [told(item) for item in shown] + (
        [f"{open_ones} undecided"] if shown is not judged and open_ones else []
    )
    return Finding(statement, tuple(evidence), plate=plate, importance=importance)


def _figure(item: Comparison) -> str:
    """The difference that was judged, its interval and the verdict."""
    found = item.judged if item.judged is not None else item.effect.difference
    row = {"low": found.low, "high": found.high}
    span = interval(row, "low", "high")
    words = f"{found.mean:+.3f}".replace("-", "−") + (f" ({span})" if span else "")
    return f"{words}, {item.verdict}"


def _judged(result: MicroBatchResult, methods: Sequence[str], measures: Sequence[str]) -> list[Comparison]:
    """The claims about some methods and measures for which anything was measured."""
    return [
        item
        for item in result.comparisons
        if item.claim is not None
        and item.measure in measures
        and method_of(item.variant)[1] in methods
        and item.effect.pairs
    ]


def _smaller(item: Comparison) -> bool:
    """Whether a micro-batch is compared with a larger batch."""
    own, other = method_of(item.variant)[2], method_of(item.against or item.variant)[2]
    return own is not None and other is not None and own <= MICRO < other
