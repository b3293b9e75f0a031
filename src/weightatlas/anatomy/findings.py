"""What of a layer survey is worth the cover: only what a reader should look at, with the figures it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.anatomy.layer_survey import MeasuredLayer

ZEROS: Final = 0.01
"""Share of weights that are exactly zero from which it is said: no training leaves that many by chance."""

HEAVY_TAILS: Final = 10.0
"""Excess kurtosis from which it is said; a Laplacian has 3."""

FEW_DIRECTIONS: Final = 0.25
"""Stable rank over a random matrix's from which it is said."""

_SMALLEST_RANK: Final = 8.0  # below it a random matrix is nearly one direction itself
_NAMED: Final = 3


def layer_findings(entries: Sequence[MeasuredLayer], weights: Sequence[MeasuredLayer]) -> list[Finding]:
    """The findings of a survey: of all tensors, and of the weights among them."""
    findings = [_non_finite(entries), _zeros(weights), _tails(weights), _directions(weights)]
    found = [finding for finding in findings if finding is not None]
    if weights and not found:
        statement = "No layer stands out by its zeros, its tails or its stable rank."
        found.append(Finding(statement, (counted(len(weights), "layer"),), plate="statistics", importance=0.1))
    return found


def rank_ratio(entry: MeasuredLayer) -> float:
    """Stable rank over that of a random matrix; NaN where either is missing."""
    return entry.statistics.stable_rank / entry.statistics.stable_rank_null


def _non_finite(entries: Sequence[MeasuredLayer]) -> Finding | None:
    broken = [entry for entry in entries if entry.statistics.non_finite]
    if not broken:
        return None
    count = sum(entry.statistics.non_finite or 0 for entry in broken)
    total = sum(entry.layer.parameters for entry in broken)
    tensors = "One tensor holds" if len(broken) == 1 else f"{capitalized(number(len(broken)))} tensors hold"
    return Finding(
        f"{tensors} values that are NaN or infinite: {count:,} of {total:,}.",
        _named([(entry.layer.tensor, f"{entry.statistics.non_finite or 0:,}") for entry in broken]),
        plate="layers",
        importance=0.95,
    )


def _zeros(weights: Sequence[MeasuredLayer]) -> Finding | None:
    total = sum(entry.layer.parameters for entry in weights)
    zeros = sum(entry.statistics.zeros or 0 for entry in weights)
    if not total or zeros / total < ZEROS:
        return None
    shares = sorted(((entry.statistics.zeros or 0) / entry.layer.parameters, entry.layer.layer) for entry in weights)
    return Finding(
        f"{zeros / total:.0%} of the weights are exactly zero.",
        _named([(layer, f"{share:.0%}") for share, layer in reversed(shares) if share >= ZEROS]),
        plate="layers",
        importance=0.3,
    )


def _tails(weights: Sequence[MeasuredLayer]) -> Finding | None:
    heavy = sorted(
        (entry for entry in weights if entry.statistics.kurtosis >= HEAVY_TAILS),
        key=lambda entry: -entry.statistics.kurtosis,
    )
    if not heavy:
        return None
    first = heavy[0]
    reach = first.statistics.largest / first.statistics.std
    some = (
        "One layer has"
        if len(heavy) == 1
        else f"{capitalized(number(len(heavy)))} of {counted(len(weights), 'layer')} have"
    )
    return Finding(
        f"{some} weights far out in the tails; in {first.layer.layer} the largest is {reach:.0f} standard deviations "
        "away.",
        _named([(entry.layer.layer, f"excess kurtosis {entry.statistics.kurtosis:.0f}") for entry in heavy]),
        plate="statistics",
        importance=0.25,
    )


def _directions(weights: Sequence[MeasuredLayer]) -> Finding | None:
    narrow = sorted(
        (
            entry
            for entry in weights
            if entry.statistics.stable_rank_null >= _SMALLEST_RANK and rank_ratio(entry) < FEW_DIRECTIONS
        ),
        key=rank_ratio,
    )
    if not narrow:
        return None
    first = narrow[0]
    some = (
        "One layer carries its"
        if len(narrow) == 1
        else f"{capitalized(number(len(narrow)))} of {counted(len(weights), 'layer')} carry their"
    )
    return Finding(
        f"{some} weight in few directions; {first.layer.layer} has a stable rank of "
        f"{first.statistics.stable_rank:.1f} where a random matrix has {first.statistics.stable_rank_null:.0f}.",
        _named([(entry.layer.layer, f"{rank_ratio(entry):.0%} of random") for entry in narrow]),
        plate="statistics",
        importance=0.25,
    )


def _named(figures: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    evidence = [f"{name}: {figure}" for name, figure in figures[:_NAMED]]
    if len(figures) > _NAMED:
        evidence.append(f"and {len(figures) - _NAMED} more")
    return tuple(evidence)
