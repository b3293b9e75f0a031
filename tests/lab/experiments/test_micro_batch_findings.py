from __future__ import annotations

import pytest

from weightatlas.lab.experiments.claims import Claim, Verdict
from weightatlas.lab.experiments.comparing import Comparison
from weightatlas.lab.experiments.effects import paired_effect
from weightatlas.lab.experiments.micro_batch_findings import TOLD, _finding


def comparison(name: str, verdict: Verdict) -> Comparison:
    effect = paired_effect([0.9, 0.8, 0.9], [0.5, 0.6, 0.4])
    claim = Claim(measure="score", expected="higher")
    return Comparison(
        variant=name, against="gn.b1", measure="score", effect=effect, q_value=None, claim=claim, verdict=verdict
    )


def test_few_comparisons_are_told_one_by_one() -> None:
    judged = [comparison("one", "agrees"), comparison("two", "undecided"), comparison("three", "disagrees")]
    finding = _finding(judged, "It is so", "scores", 0.5, lambda item: item.variant)
    assert finding is not None
    assert finding.statement == "It is so: so in one of three comparisons, the contrary in one."
    assert finding.evidence == ("one", "two", "three")


@pytest.mark.parametrize("undecided", [TOLD, 2 * TOLD])
def test_of_many_the_decided_ones_are_told_and_the_others_counted(undecided: int) -> None:
    judged = [comparison(str(place), "undecided") for place in range(undecided)]
    judged += [comparison("against", "disagrees"), comparison("for", "agrees")]
    finding = _finding(judged, "It is so", "scores", 0.5, lambda item: item.variant)
    assert finding is not None
    assert finding.evidence == ("for", "against", f"{undecided} undecided")


def test_nothing_judged_is_no_finding() -> None:
    assert _finding([], "It is so", "scores", 0.5, str) is None
