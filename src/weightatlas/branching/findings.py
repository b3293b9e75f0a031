"""What a branching survey found, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from weightatlas.branching.drawing.hidden_charts import has_test, height, hides, strongest
from weightatlas.branching.drawing.titles import (
    clusterability_title,
    falls_apart,
    families_title,
    follows,
    gathering,
    hidden_title,
    onset_title,
    tested_families,
    tuning_title,
)
from weightatlas.branching.drawing.tuned_groups import tuned_groups
from weightatlas.plate import Finding
from weightatlas.wording import capitalized, listed, printable

if TYPE_CHECKING:
    from weightatlas.branching.specialization import Specialization
    from weightatlas.branching.survey import BranchingSurvey
    from weightatlas.branching.surveying.tested_families import Families

SAID: Final = 3
"""Layers whose families have a sentence of their own."""


def branching_findings(survey: BranchingSurvey) -> list[Finding]:
    """The sentences of the cover, the most important first."""
    findings = [
        *_family_findings(survey),
        *_tuning_findings(survey),
        *_hidden_findings(survey),
        *_clusterability_findings(survey),
        *_onset_findings(survey),
    ]
    if not survey.branchings:
        what, _, why = survey.no_branches.partition(": ")
        findings.append(
            Finding(f"{capitalized(what)}.", (*([why] if why else []), *survey.notes[:SAID]), importance=0.3)
        )
    return sorted(findings, key=lambda finding: -finding.importance)


def _family_findings(survey: BranchingSurvey) -> list[Finding]:
    significant, tested = tested_families(survey)
    if not tested:
        return []
    if not significant:
        evidence = tuple(_information(one, found) for one, found in tested[:SAID])
        return [Finding(f"{families_title(survey)}.", evidence, plate="families", importance=0.6)]
    findings = []
    strongest_by_layer = {one.layer: (one, found) for one, found in reversed(significant)}
    said = [pair for pair in significant if strongest_by_layer[pair[0].layer][0] is pair[0]][:SAID]
    for place, (one, found) in enumerate(said):
        evidence = (_information(one, found), _q(one.q_value))
        if found.chosen_after_looking:
            evidence = (*evidence, "families chosen after looking")
        statement = f"{capitalized(gathering(one, found))}."
        findings.append(Finding(statement, evidence, plate="families", importance=1.0 - 0.01 * place))
    return findings


def _information(one: Families, found: Specialization) -> str:
    name = f"{printable(one.layer, limit=40)} by {one.by}"
    return f"{name}: {found.information:.2f} bits, null {found.null_mean:.2f} ± {found.null_std:.2f}"


def _tuning_findings(survey: BranchingSurvey) -> list[Finding]:
    groups = tuned_groups(survey)
    if not groups:
        return []
    gap = groups[0].columns[0].tuning.colour_gap
    evidence = tuple(f"{column.title}: {column.colour} of {len(column.rows)}" for column in groups[0].columns[:6])
    if math.isfinite(gap.p_value):
        evidence = (*evidence, f"gap in chroma {gap.below:.2f} to {gap.above:.2f}, p = {gap.p_value:.2g}")
    return [Finding(f"{capitalized(tuning_title(groups))}.", evidence, plate="columns", importance=0.7)]


def _hidden_findings(survey: BranchingSurvey) -> list[Finding]:
    looked = [pair for pair in survey.pairs if pair.hidden is not None]
    if not looked:
        return []
    top = [pair for pair in strongest(survey, SAID) if hides(pair)] or strongest(survey, 1)
    names = [f"{printable(pair.layer, limit=30)} → {printable(pair.next_layer, limit=30)}" for pair in top]
    evidence = tuple(
        f"{name}: {height(pair):.1f} sd over its null" for name, pair in zip(names, top, strict=True) if has_test(pair)
    )
    found = any(map(hides, looked))
    findings = [Finding(f"{hidden_title(survey)}.", evidence, plate="hidden", importance=0.8 if found else 0.45)]
    following = [(pair, follows(pair)) for pair in looked if hides(pair) and follows(pair)]
    for pair, figures in following[:SAID]:
        parts = tuple(f"{name} |rho| = {abs(rho):.2f}" for name, rho in figures)
        layers = f"{printable(pair.layer, limit=60)} → {printable(pair.next_layer, limit=60)}"
        statement = f"The first hidden axis of {layers} follows {listed([name for name, _ in figures])}."
        findings.append(Finding(statement, (*parts, _q(pair.q_values[0])), plate="matrices", importance=0.85))
    return findings


def _clusterability_findings(survey: BranchingSurvey) -> list[Finding]:
    found = survey.clusterability
    if found is None:
        return []
    if falls_apart(found):
        return [Finding(f"{clusterability_title(found)}.", plate="cluster-shares", importance=0.3)]
    evidence = (
        f"n-cut {found.ncut:.2f}, null {found.null_mean:.2f} ± {found.null_std:.2f}",
        f"p = {found.p_value:.2g}",
    )
    return [Finding(f"{clusterability_title(found)}.", evidence, plate="clusterability", importance=0.5)]


def _onset_findings(survey: BranchingSurvey) -> list[Finding]:
    findings = []
    for onset in survey.onsets:
        measured = [step for step in onset.steps if step.skipped is None]
        if measured:
            last = measured[-1]
            evidence = (f"at the end {last.information:.2f} bits, null {last.null_mean:.2f} ± {last.null_std:.2f}",)
            importance = 0.5 if onset.onset is None else 0.9
            findings.append(Finding(f"{onset_title(onset)}.", evidence, plate="onset", importance=importance))
    return findings


def _q(value: float) -> str:
    return "q < .001" if value < 0.001 else f"q = {value:.3f}"
