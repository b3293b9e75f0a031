"""What Branch Specialization's experiment found, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from scipy.stats import combine_pvalues

from weightatlas.lab.experiments.branch_variants import ALEXNET_TWIN, CHANCE_RHO, ONE, SHALLOW
from weightatlas.lab.experiments.plates import tally
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.branch_result import BranchExperimentResult
    from weightatlas.lab.experiments.comparing import Comparison

GATHERED: Final = 0.05
"""Chance at which a run counts as specialised."""

CROSSING: Final = "narrow-large"


def branch_findings(result: BranchExperimentResult) -> list[Finding]:
    """One sentence for each question of the experiment that its runs answer."""
    makers = (_colour, _frequency, _hidden, _twins, _crossed, _recurs, _onset, _blocks)
    found = [make(result) for make in makers]
    return [finding for finding in found if finding is not None]


def separation_title(result: BranchExperimentResult) -> str:
    """In how many variants branches differ in colour."""
    judged = _branched(result)
    if not judged:
        return "How far branches differ in colour and frequency"
    agreeing = [item for item in judged if item.verdict == "agrees"]
    return f"Branches differ in colour in {tally(agreeing)} of {counted(len(judged), 'branched network')}"


def crossed_title(result: BranchExperimentResult) -> str:
    """Which branch takes colour, by width and by kernel size."""
    width, kernel = _crossing(result)
    if width is None or kernel is None:
        return "Which of two branches takes colour, by width and by kernel size"
    by_width = {"agrees": "to the narrow one", "disagrees": "to the wide one"}.get(width.verdict or "", "undecided")
    by_kernel = {"agrees": "to large kernels", "disagrees": "to small ones"}.get(kernel.verdict or "", "undecided")
    return f"Which branch colour goes to: by width, {by_width}; by kernel size, {by_kernel}"


def _colour(result: BranchExperimentResult) -> Finding | None:
    judged = _branched(result)
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    which = counted(len(judged), "branched network")
    statement = f"Branches differ in colour beyond chance, over seeds, in {tally(agreeing)} of {which}."
    told = []
    for item in judged:
        p_values = result.values(item.variant, "p_value")
        sure = [value for value in p_values.values() if value < GATHERED]
        told.append(
            f"{item.variant}: {_signed(item.effect.variant.mean)} of the variance of chroma between branches "
            f"({item.verdict}); by the threshold p < {GATHERED:g} in {tally(sure)} of {counted(len(p_values), 'seed')}"
            f"{_together(list(p_values.values()))}"
        )
    return Finding(statement, tuple(told), plate="separation", importance=0.9)


def _frequency(result: BranchExperimentResult) -> Finding | None:
    judged = [
        item
        for item in result.comparisons
        if item.measure == "frequency_separation" and item.claim is not None and item.effect.pairs
    ]
    if not judged:
        return None
    agreeing = [item for item in judged if item.verdict == "agrees"]
    statement = f"Branches differ in frequency in {tally(agreeing)} of {counted(len(judged), 'branched network')}."
    told = [f"{item.variant}: {_signed(item.effect.variant.mean)} of its variance ({item.verdict})" for item in judged]
    return Finding(statement, tuple(told), plate="separation", importance=0.8)


def _hidden(result: BranchExperimentResult) -> Finding | None:
    told: list[str] = []
    values: list[float] = []
    names = {variant.name for variant in result.experiment.variants}
    for name in (ONE, ALEXNET_TWIN):
        found = list(result.values(name, "hidden_chroma").values()) if name in names else []
        if found:
            second = list(result.values(name, "hidden_second_chroma").values())
            p_values = list(result.values(name, "hidden_p").values())
            sure = [value for value in p_values if value < GATHERED]
            told.append(
                f"{name}: |rho| of the first axis with chroma {_figures(found)}, of the second {_figures(second)}; the "
                f"first has p < {GATHERED:g} in {tally(sure)} of {counted(len(p_values), 'run')}"
            )
        values += found
    if not told:
        return None
    above = [value for value in values if value > CHANCE_RHO]
    statement = (
        f"Without branches, the first hidden axis follows colour in {tally(above)} of {counted(len(values), 'run')} "
        f"(|rho| above {CHANCE_RHO:g})."
    )
    return Finding(statement, tuple(told), plate="separation", importance=0.85)


def _twins(result: BranchExperimentResult) -> Finding | None:
    rows = [row for row in result.rows("twins") if row["separation"] is not None]
    pairs = [row for row in rows if row["twin_separation"] is not None]
    if not pairs:
        return None
    more = [row for row in pairs if row["separation"] > row["twin_separation"]]
    statement = (
        f"Branches separate colour more than the halves of the unbranched twin's hidden axis in {tally(more)} of "
        f"{counted(len(pairs), 'pair')} of one seed."
    )
    told = []
    for name in dict.fromkeys(row["variant"] for row in pairs):
        own = [row for row in pairs if row["variant"] == name]
        branched, halves = (_mean([row[key] for row in own]) for key in ("separation", "twin_separation"))
        alike = _mean([row["chroma_with_twin"] for row in own if row["chroma_with_twin"] is not None])
        told.append(
            f"{name}: {_signed(branched)} between branches, {_signed(halves)} between halves; rank correlation of the "
            f"chroma of units that started alike {_signed(alike)}"
        )
    return Finding(statement, tuple(told), plate="separation", importance=0.75)


def _crossed(result: BranchExperimentResult) -> Finding | None:
    width, kernel = _crossing(result)
    if width is None or kernel is None:
        return None
    told, sentences = [], []
    for item, what in ((width, "narrow branch"), (kernel, "branch of large kernels")):
        half = item.effect.difference
        more = {"agrees": "takes more colour", "disagrees": "takes less colour"}.get(item.verdict or "", "is undecided")
        sentences.append(f"the {what} {more}")
        span = "" if half.low is None or half.high is None else f", {_signed(half.low / 2)} to {_signed(half.high / 2)}"
        told.append(f"chroma that the {what} has more {_signed(half.mean / 2)}{span} ({item.verdict})")
    statement = f"{capitalized(' and '.join(sentences))}."
    if (width.verdict, kernel.verdict) == ("undecided", "undecided"):
        statement = "Whether width or kernel size decides which branch takes colour is undecided."
    return Finding(statement, tuple(told), plate="crossed", importance=0.82)


def _crossing(result: BranchExperimentResult) -> tuple[Comparison | None, Comparison | None]:
    """What is claimed of width, and of kernel size: each moves the figure that is oriented by the other."""
    width, kernel = (_claimed(result, CROSSING, f"chroma_{which}", "higher") for which in ("large", "narrow"))
    return width, kernel


def _recurs(result: BranchExperimentResult) -> Finding | None:
    rows = [row for row in result.rows("recurrence") if row["figure"] == "chroma" and row["p_value"] is not None]
    branched = [row for row in rows if row["variant"] not in (ONE, ALEXNET_TWIN)]
    if not branched:
        return None
    sure = [row for row in branched if row["p_value"] < GATHERED]
    statement = (
        f"Matched over seeds, branches differ in colour in the same way in {tally(sure)} of "
        f"{counted(len(branched), 'branched network')}."
    )
    told = [f"{row['variant']}: strength {_signed(row['strength'])}, p {row['p_value']:.3f}" for row in branched]
    return Finding(statement, tuple(told), plate="branches", importance=0.6)


def _onset(result: BranchExperimentResult) -> Finding | None:
    names = [variant.name for variant in result.experiment.variants]
    began = {name: list(result.values(name, "onset").values()) for name in names}
    courses = {name for row in result.rows("onset") if (name := row["variant"]) and row["excess"] is not None}
    runs = sum(len(result.of(name)) for name in courses)
    if not runs:
        return None
    all_of_them = [value for values in began.values() for value in values]
    statement = f"Specialisation in colour sets in, to stay, in {tally(all_of_them)} of {counted(runs, 'run')}."
    told = [
        f"{name}: after {listed([f'{value:.0%}' for value in values])} of the run"
        for name, values in began.items()
        if values
    ]
    return Finding(statement, tuple(told), plate="onset", importance=0.65)


def _blocks(result: BranchExperimentResult) -> Finding | None:
    deep = _claimed(result, "deep", "block_excess", "present")
    if deep is None:
        return None
    verdicts = {
        "agrees": "Units of residual blocks gather by kind in the deep network.",
        "disagrees": "Units of residual blocks do not gather by kind in the deep network.",
        "undecided": "Whether units of residual blocks gather by kind in the deep network is undecided.",
    }
    keys = {
        "block_excess": "bits beyond chance",
        "block_start": "of the first weights",
        "neighbour_excess": "between neighbours",
        "block_separation": "of the variance of colour scores between blocks",
    }
    told = []
    for name in (SHALLOW, "deep"):
        means = {key: _mean(list(result.values(name, key).values())) for key in keys}
        parts = [f"{_signed(means[key])} {what}" for key, what in keys.items() if not math.isnan(means[key])]
        told.append(f"{name}: {', '.join(parts)}")
    return Finding(verdicts[deep.verdict or "undecided"], tuple(told), plate="blocks", importance=0.7)


def _branched(result: BranchExperimentResult) -> list[Comparison]:
    """What is claimed of colour between the branches of a network, where anything was measured."""
    return [
        item
        for item in result.comparisons
        if item.measure == "separation"
        and item.variant not in (ONE, ALEXNET_TWIN)
        and item.claim is not None
        and item.effect.pairs
    ]


def _claimed(result: BranchExperimentResult, variant: str, measure: str, expected: str) -> Comparison | None:
    """The comparison that judges one claim, where anything was measured."""
    return next(
        (
            item
            for item in result.comparisons
            if (item.variant, item.measure) == (variant, measure)
            and item.claim is not None
            and item.claim.expected == expected
            and item.effect.pairs
        ),
        None,
    )


def _together(p_values: Sequence[float]) -> str:
    """The p of all seeds together, by Fisher: one seed that does specialise can make it small."""
    if len(p_values) < 2:
        return ""
    return f", together p {combine_pvalues(p_values, method='fisher').pvalue:.2g}"


def _figures(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
