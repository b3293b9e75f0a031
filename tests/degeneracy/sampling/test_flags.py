from __future__ import annotations

import math

import numpy as np

from weightatlas.degeneracy.sampling import flags

WELL = {"rhat": 1.02, "worth": 300.0, "moved": 0.5, "shift": 0.1}


def test_nothing_is_said_of_a_good_run() -> None:
    assert flags.unstable(**WELL) == []
    assert flags.not_finite(np.array([1.0, 2.0])) == []
    assert flags.below_zero(0.0) == []
    assert flags.step_too_long(0.05, 0.05) == []
    assert flags.held_by_prior(0.09, 0.01) == []
    assert flags.wandering(1.0, 1.05, 9.0) == []
    assert flags.wandering(1.0, 1.5, 2.0) == []  # which may be noise
    assert flags.wandering(math.nan, math.nan, math.nan) == []
    assert flags.held_by_prior(0.5, 0.3) == []  # which may be noise
    assert flags.held_by_prior(math.nan, math.nan) == []
    assert flags.outside(1.5, 1.0, 2.0, (1.0, 2.0)) == []
    assert flags.outside(9.0, 8.0, 10.0, None) == []


def test_each_fault_has_its_own_sentence() -> None:
    assert "disagree" in flags.unstable(**{**WELL, "rhat": 1.2})[0]
    assert "worth 12" in flags.unstable(**{**WELL, "worth": 12.0})[0]
    assert "still falls" in flags.unstable(**{**WELL, "moved": -4.0})[0]
    assert "still rises" in flags.unstable(**{**WELL, "moved": 4.0})[0]
    assert "12%" in flags.step_too_long(0.12, 0.05)[0]
    assert "negative, -3.2" in flags.below_zero(-3.2)[0]
    assert "held by the prior, it falls by 0.30 ± 0.05 %" in flags.held_by_prior(0.3, 0.05)[0]
    assert "still move away, squared distance 2 early, 3 late" in flags.wandering(2.0, 3.0, 5.0)[0]
    assert "it rises by 0.30" in flags.held_by_prior(-0.3, 0.05)[0]


def test_chains_that_are_lost_are_named() -> None:
    one = flags.not_finite(np.array([1.0, math.nan, 2.0]))
    assert one[0].startswith("chain 2 of 3")
    assert "of the others" in one[0]
    two = flags.not_finite(np.array([math.nan, math.inf]))
    assert two[0].startswith("chains 1 and 2 of 2")
    assert "no estimate" in two[0]


def test_an_estimate_outside_the_bracket_says_whether_its_interval_reaches_in() -> None:
    assert "reaches into" in flags.outside(2.2, 1.8, 2.6, (1.0, 2.0))[0]
    assert "whole" in flags.outside(3.0, 2.8, 3.2, (1.0, 2.0))[0]
    assert flags.outside(math.nan, math.nan, math.nan, (1.0, 2.0)) == []
