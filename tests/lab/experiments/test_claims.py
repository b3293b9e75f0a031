from __future__ import annotations

import numpy as np
import pytest

from weightatlas.lab.experiments.claims import EXPECTED, Claim, Expected, Verdict, judged_interval, verdict
from weightatlas.lab.experiments.effects import Effect, Interval, mean_interval, paired_effect

BASELINE = (0.30, 0.32, 0.31)


def effect(low: float, high: float, *, own: tuple[float, float] | None = None) -> Effect:
    """An effect whose intervals are given: of the difference, and of the variant itself."""

    def interval(ends: tuple[float, float]) -> Interval:
        return Interval(sum(ends) / 2, *ends, p_value=0.5, sd=0.1, count=3)

    return Effect(interval((0.3, 0.32)), interval(own or (low, high)), interval((low, high)))


@pytest.mark.parametrize(
    ("expected", "low", "high", "judged"),
    [
        ("lower", -0.3, -0.1, "agrees"),
        ("lower", -0.1, 0.1, "undecided"),
        ("lower", 0.1, 0.3, "disagrees"),
        ("higher", 0.1, 0.3, "agrees"),
        ("higher", -0.1, 0.3, "undecided"),
        ("higher", -0.3, -0.1, "disagrees"),
        ("same", -0.05, 0.05, "agrees"),
        ("same", 0.01, 0.05, "agrees"),
        ("same", -0.05, 0.07, "undecided"),
        ("same", 0.07, 0.09, "disagrees"),
        ("same", -0.09, -0.07, "disagrees"),
        ("not lower", -0.05, 0.5, "agrees"),
        ("not lower", 0.1, 0.5, "agrees"),
        ("not lower", -0.07, 0.5, "undecided"),
        ("not lower", -0.5, -0.07, "disagrees"),
        ("present", 0.07, 0.5, "agrees"),
        ("present", 0.05, 0.5, "undecided"),
        ("present", -0.5, 0.05, "disagrees"),
        ("absent", -0.05, 0.05, "agrees"),
        ("absent", -0.05, 0.07, "undecided"),
        ("absent", 0.07, 0.09, "disagrees"),
        ("absent", -0.09, -0.07, "disagrees"),
        ("reversed", -0.5, -0.07, "agrees"),
        ("reversed", -0.5, -0.05, "undecided"),
        ("reversed", -0.05, 0.5, "disagrees"),
    ],
)
def test_each_claim_has_three_verdicts(expected: Expected, low: float, high: float, judged: Verdict) -> None:
    assert verdict(effect(low, high), expected, floor=0.06) == judged


@pytest.mark.parametrize("expected", EXPECTED)
def test_one_seed_decides_nothing(expected: Expected) -> None:
    alone = paired_effect([0.31], [0.31])
    assert verdict(alone, expected, floor=0.06, halved=mean_interval([0.155])) == "undecided"


@pytest.mark.parametrize("expected", ["present", "reversed"])
def test_presence_asks_every_seed_for_significance_and_its_contrary_does_not(expected: Expected) -> None:
    sign = 1 if expected == "present" else -1
    strong = effect(min(sign * 0.2, sign * 0.4), max(sign * 0.2, sign * 0.4))
    assert verdict(strong, expected, floor=0.06, significant=True) == "agrees"
    assert verdict(strong, expected, floor=0.06, significant=False) == "undecided"
    assert verdict(effect(-0.01, 0.01), expected, floor=0.06, significant=False) == "disagrees"


@pytest.mark.parametrize(("share", "judged"), [(0.2, "agrees"), (0.5, "undecided"), (0.9, "disagrees")])
def test_under_half_is_judged_seed_by_seed(share: float, judged: Verdict) -> None:
    baseline = np.array(BASELINE)
    values = share * baseline + np.array([0.01, -0.01, 0.0])
    found = paired_effect(values, baseline)
    assert verdict(found, "under half", halved=mean_interval(values - baseline / 2)) == judged
    assert verdict(found, "over half", halved=mean_interval(values - baseline / 2)) == {
        "agrees": "disagrees",
        "undecided": "undecided",
        "disagrees": "agrees",
    }.get(judged)
    with pytest.raises(ValueError, match="the differences from half"):
        verdict(found, "under half")


def test_weakened_bands_are_lower_and_still_present() -> None:
    weak = paired_effect([0.09, 0.10, 0.095], BASELINE)
    assert verdict(weak, "present", floor=0.06) == "agrees"
    assert verdict(weak, "lower") == "agrees"
    assert weak.kept == pytest.approx(0.095 / 0.31)


def test_a_claim_without_truth_is_seldom_confirmed() -> None:
    generator = np.random.default_rng(0)
    judged = [verdict(paired_effect(generator.normal(size=3), generator.normal(size=3)), "lower") for _ in range(2000)]
    assert judged.count("agrees") / 2000 == pytest.approx(0.025, abs=0.011)
    assert judged.count("disagrees") / 2000 == pytest.approx(0.025, abs=0.011)


@pytest.mark.parametrize(
    ("expected", "floor", "message"),
    [
        ("gone", 0.1, "must be one of"),
        ("absent", 0.0, "needs a floor"),
        ("same", 0.0, "floor"),
        ("not lower", 0.0, "needs a floor"),
        ("lower", -1, "floor"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(expected: Expected, floor: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Claim(measure="score", expected=expected, floor=floor)


@pytest.mark.parametrize(
    ("expected", "others"),
    [("present", {"against": "a"}), ("absent", {"against": "a"}), ("lower", {"gain_of": "a"})],
)
def test_a_claim_that_is_about_no_other_variant_names_none(expected: Expected, others: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="about no other variant"):
        Claim(measure="score", expected=expected, floor=0.1, **others)


def test_a_verdict_rests_on_the_interval_that_it_names() -> None:
    found, halved = effect(0.1, 0.3, own=(0.5, 0.7)), Interval(0.0, -0.1, 0.1, p_value=1.0, sd=0.1, count=3)
    assert judged_interval(found, "higher") is found.difference
    assert judged_interval(found, "present") is found.variant
    assert judged_interval(found, "over half", halved) is halved
