"""What the degeneracy experiment found, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.degeneracy.drawing.powers import figure
from weightatlas.lab.experiments.degeneracy_published import LOCAL, MODULUS, PCA
from weightatlas.lab.experiments.degeneracy_variants import UNCHANGED
from weightatlas.lab.experiments.plates import interval, tally
from weightatlas.plate import Finding
from weightatlas.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.comparing import Comparison
    from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult

RARE: Final = 0.05
MEASURED: Final = {
    "llc": "learning coefficient",
    "nullity": "free directions",
    "modularity_gain": "modularity above chance",
}
RANKED: Final = {
    "nullity": "free directions",
    "union": "explained ones",
    "effective_rank": "effective rank",
    "llc": "learning coefficient",
}
GROWS: Final = ("nullity", "union")
"""Measures that grow with degeneracy; the others fall."""


def degeneracy_findings(result: DegeneracyResult) -> list[Finding]:
    """One sentence for each question of the experiment that its runs answer."""
    makers = (_followed, _modular, _ranks, _edges, _published, _unexplained, _modules)
    found = [make(result) for make in makers]
    return [finding for finding in found if finding is not None]


def edges_title(result: DegeneracyResult) -> str:
    """How many edges the interaction basis spares."""
    rows = [row for row in result.rows("edges") if row["spared"] is not None]
    if not rows:
        return "Edges needed at equal accuracy"
    fewer = [row for row in rows if row["spared"] > 0]
    return (
        f"The interaction basis needs fewer edges than principal components in {len(fewer)} of {len(rows)} pairs of "
        f"points, {np.median([row['spared'] for row in rows]):+.0%} at the median".replace("+-", "-")
    )


def counts_title(result: DegeneracyResult) -> str:
    """How much of what is free is explained."""
    rows = [row for row in result.rows("runs") if row["nullity"] and row["union"] is not None]
    if not rows:
        return "Free directions, by what frees them"
    shares = [row["union"] / row["nullity"] for row in rows]
    return f"What is known to free directions explains {min(shares):.0%} to {max(shares):.0%} of those that are free"


def _followed(result: DegeneracyResult) -> Finding | None:
    judged = _claimed(result, "followed")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    random = [value for item in judged for value in result.values(item.variant, "followed_random").values()]
    statement = (
        f"A step along the directions called free, as long as the weights, leaves the outputs unchanged (within "
        f"{figure(UNCHANGED)} of themselves): so in {tally(agreeing)} of {counted(len(judged), 'network')}."
    )
    told = [f"{item.variant}: {figure(item.effect.variant.mean, 2)}" for item in judged]
    if random:
        told.append(f"a step as long in a random direction changes them by {min(random):.2g} or more")
    return Finding(statement, tuple(told), plate="counts", importance=0.9)


def _modular(result: DegeneracyResult) -> Finding | None:
    """The planted modular network beside the mixed one."""
    judged = [
        item
        for item in result.comparisons
        if item.claim is not None and item.against is not None and item.measure in MEASURED and item.effect.pairs
    ]
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    against = [item for item in judged if item.verdict == "disagrees"]
    statement = (
        "That a planted modular network is more degenerate than a mixed one of its size and loss: "
        f"{tally(agreeing)} of {counted(len(judged), 'comparison')} agree, "
        f"{tally(against)} {'is' if len(against) == 1 else 'are'} to the contrary."
    )
    losses = [result.values(name, "test_loss") for name in (judged[0].variant, str(judged[0].against))]
    means = " and ".join(f"{np.mean(list(values.values())):.3f}" for values in losses if values)
    told = [f"{MEASURED[item.measure]}: {_figure(item)}" for item in judged]
    return Finding(statement, (*told, f"held-out losses {means}"), plate="verdicts", importance=0.88)


def _ranks(result: DegeneracyResult) -> Finding | None:
    rows = [row for row in result.rows("ranks") if row["rho"] is not None]
    if not rows:
        return None
    sure = [row for row in rows if row["p_value"] < RARE]
    as_said = [row for row in sure if (row["rho"] < 0) == (row["measure"] in GROWS)]
    statement = (
        "Over the seeds of one task, how degenerate a network is goes with its held-out loss beyond chance (p < "
        f".05) in {tally(sure)} of {len(rows)} rank correlations"
    )
    statement += f"; {tally(as_said)} of them as claimed, more degenerate and lower." if sure else "."
    told = tuple(
        f"{row['variant']}, {RANKED[row['measure']]}: {row['rho']:+.2f}, p {row['p_value']:.2g}".replace("-", "−")
        for row in rows
    )
    return Finding(statement, told, plate="ranks", importance=0.8)


def _edges(result: DegeneracyResult) -> Finding | None:
    judged = _claimed(result, "edges_gain")
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    against = [item for item in judged if item.verdict == "disagrees"]
    statement = (
        f"The interaction basis needs fewer edges than principal components at equal accuracy: shown in "
        f"{tally(agreeing)} of {counted(len(judged), 'network')}, the contrary in {tally(against)}."
    )
    told = tuple(f"{item.variant}: {item.effect.variant.mean:+.0%} spared, {item.verdict}" for item in judged)
    return Finding(statement, told, plate="edges", importance=0.86)


def _published(result: DegeneracyResult) -> Finding | None:
    """Our networks of the published size beside the published ones."""
    rows = [row for row in result.rows("edges") if row["modulus"] == MODULUS and row["interaction"] is not None]
    if not rows:
        return None
    told = []
    for point in PCA:
        own = [row for row in rows if row["source"] == point]
        if own:
            ours = (np.mean([row[key] for row in own]) for key in ("interaction", "pca"))
            theirs = (np.mean(published[point]) for published in (LOCAL, PCA))
            words = [f"{interaction:.0f} and {pca:.0f}" for interaction, pca in (tuple(ours), tuple(theirs))]
            told.append(f"{point}: {words[0]} edges, published {words[1]}")
    pairs = counted(len(told), "pair")
    statement = f"Networks of the published size are measured beside the published ones, {pairs} of points."
    return Finding(statement, tuple(told), plate="edges", importance=0.84)


def _unexplained(result: DegeneracyResult) -> Finding | None:
    rows = [row for row in result.rows("runs") if row["gap"] is not None]
    if not rows:
        return None
    limited = [row for row in rows if row["data_limited"]]
    left = [row for row in rows if row["gap"]]
    statement = f"Some free directions are left unexplained in {tally(left)} of {counted(len(rows), 'network')}"
    statement += (
        f"; of {tally(limited)} the data limit the rank, and no count is a property of those." if limited else "."
    )
    variants = dict.fromkeys(row["variant"] for row in rows)
    told = tuple(
        f"{name}: {min(gaps)} to {max(gaps)} unexplained"
        for name in variants
        for gaps in [[row["gap"] for row in rows if row["variant"] == name]]
    )
    return Finding(statement, told, plate="counts", importance=0.7)


def _modules(result: DegeneracyResult) -> Finding | None:
    rows = [row for row in result.rows("runs") if row["modules"] is not None and row["modules_p"] is not None]
    if not rows:
        return None
    sure = [row for row in rows if row["modules_p"] < RARE]
    statement = (
        f"The interaction graphs of {tally(sure)} of {counted(len(rows), 'network')} are more modular than rewired "
        "ones (p < .05)."
    )
    told = tuple(
        f"{row['variant']}, seed {row['seed']}: {counted(row['modules'], 'module')}, Q {row['modularity']:.2f}, p "
        f"{row['modules_p']:.2g}"
        for row in sure
    )
    return Finding(statement, told, plate="modules", importance=0.6)


def _claimed(result: DegeneracyResult, measure: str) -> Sequence[Comparison]:
    """The comparisons that judge a claim on one measure, where anything was measured."""
    return [
        item for item in result.comparisons if item.claim is not None and item.measure == measure and item.effect.pairs
    ]


def _figure(item: Comparison) -> str:
    """What was judged, its interval and the verdict."""
    found = item.judged if item.judged is not None else item.effect.difference
    span = interval({"low": found.low, "high": found.high}, "low", "high")
    words = f"{found.mean:+.3g}".replace("-", "−") + (f" ({span})" if span else "")
    return f"{words}, {item.verdict}"
