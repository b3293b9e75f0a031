from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.lab.experiments.experiments_for_tests import experiment, made_up_run
from weightatlas.lab.experiments.claims import Claim
from weightatlas.lab.experiments.comparing import SIGNIFICANT, compare, effect_of
from weightatlas.lab.experiments.experiment import Measurement
from weightatlas.lab.experiments.matrix import run_experiment
from weightatlas.lab.experiments.plates import effects_table

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run
    from weightatlas.lab.experiments.experiment import Experiment
    from weightatlas.lab.experiments.result import ExperimentResult

VALUES = {("baseline", 1): 0.30, ("baseline", 2): 0.32, ("baseline", 3): 0.31}
VALUES |= {("weak", 1): 0.10, ("weak", 2): 0.13, ("weak", 3): 0.11}


def compared(
    folder: Path, *, q_value: float = 0.0, made: Experiment | None = None, lost: tuple[str, int] | None = None
) -> ExperimentResult:
    """Two variants with the scores above; that of the variant and seed of `lost` is NaN."""

    def measure(run: Run) -> Measurement:
        name, seed = run.folder.parent.name, run.configuration.seed
        score = math.nan if lost == (name, seed) else VALUES[name, seed]
        return Measurement({"score": score, "q_value": q_value})

    made = replace(made or experiment("baseline", "weak"), measure=measure)
    return run_experiment(made, folder, jobs=1, runner=made_up_run)


def test_pairs_are_of_one_seed(tmp_path: Path) -> None:
    result = compared(tmp_path)
    effect = effect_of(result, result.experiment.variant("weak"), "score")
    assert effect.difference.mean == pytest.approx(-(0.20 + 0.19 + 0.20) / 3)
    assert effect.difference.sd == pytest.approx(0.01 / math.sqrt(3))


@pytest.mark.parametrize("lost", ["baseline", "weak"])
def test_a_seed_that_one_side_lacks_is_left_out_of_both(tmp_path: Path, lost: str) -> None:
    result = compared(tmp_path, lost=(lost, 2))
    effect = effect_of(result, result.experiment.variant("weak"), "score")
    assert effect.pairs == 2
    assert (effect.baseline.mean, effect.variant.mean) == pytest.approx((0.305, 0.105))
    halved = next(item for item in compare(result) if item.claim and item.claim.expected == "under half")
    assert halved.effect.pairs == 2


@pytest.mark.parametrize(("q_value", "verdict"), [(0.9 * SIGNIFICANT, "agrees"), (SIGNIFICANT, "undecided")])
def test_presence_asks_for_a_q_below_a_thousandth(tmp_path: Path, q_value: float, verdict: str) -> None:
    found = compare(compared(tmp_path, q_value=q_value))
    assert [item.verdict for item in found if item.claim and item.claim.expected == "present"] == [verdict, verdict]


def test_a_measure_with_two_claims_is_corrected_once_and_a_baseline_has_no_difference(tmp_path: Path) -> None:
    found = compare(compared(tmp_path))
    weak = [item for item in found if (item.variant, item.measure) == ("weak", "score")]
    assert [item.claim.expected for item in weak if item.claim] == ["present", "under half"]
    assert len({item.q_value for item in weak}) == 1
    own = [item for item in found if item.variant == "baseline"]
    assert [(item.measure, item.against, item.q_value) for item in own] == [("score", None, None)]


def test_what_is_claimed_of_a_measure_that_is_not_compared_is_judged_too(tmp_path: Path) -> None:
    made = experiment("baseline", "weak")
    weak = replace(made.variants[1], claims=(Claim(measure="q_value", expected="same", floor=0.1),))
    found = compare(compared(tmp_path, made=replace(made, variants=(made.variants[0], weak))))
    assert [item.verdict for item in found if item.measure == "q_value"] == ["agrees"]


GAINS = {"baseline": 0.2, "whole": 0.6}
"""The baseline and what gains .4 over it; half of that gain is .4."""


def gained(folder: Path, part: float, *claims: Claim, whole: float = GAINS["whole"]) -> ExperimentResult:
    """A part of a gain, beside the baseline and the whole; scores differ a little from seed to seed."""
    scores = GAINS | {"whole": whole, "part": part}

    def measure(run: Run) -> Measurement:
        name, seed = run.folder.parent.name, run.configuration.seed
        return Measurement({"score": scores[name] + 0.01 * seed + (0.001 * seed**2 if name == "part" else 0.0)})

    made = experiment("baseline", "whole", "part")
    first, second, third = made.variants
    variants = (replace(first, claims=()), replace(second, claims=()), replace(third, claims=claims))
    return run_experiment(replace(made, variants=variants, measure=measure), folder, jobs=1, runner=made_up_run)


@pytest.mark.parametrize(
    ("part", "over", "under"),
    [(0.5, "agrees", "disagrees"), (0.395, "undecided", "undecided"), (0.3, "disagrees", "agrees")],
)
def test_a_part_of_another_s_gain_is_judged_seed_by_seed(tmp_path: Path, part: float, over: str, under: str) -> None:
    claims = [Claim(measure="score", expected=expected, gain_of="whole") for expected in ("over half", "under half")]
    found = [item for item in compare(gained(tmp_path, part, *claims)) if item.claim]
    assert [item.verdict for item in found] == [over, under]
    for item in found:
        assert item.half == pytest.approx(0.42), "midway between the means of baseline and whole"
        assert item.judged is not None
        assert item.judged.mean == pytest.approx(part + 14 / 3 * 0.001 - 0.4)


def test_half_of_a_gain_that_is_not_shown_decides_nothing(tmp_path: Path) -> None:
    claim = Claim(measure="score", expected="over half", gain_of="whole")
    lost = gained(tmp_path, 0.9, claim, whole=0.1)
    assert [item.verdict for item in compare(lost) if item.claim] == ["undecided"]


def test_a_claim_may_compare_with_another_variant_than_the_own_baseline(tmp_path: Path) -> None:
    claim = Claim(measure="score", expected="lower", against="whole")
    result = gained(tmp_path, 0.3, claim)
    rows = [item for item in compare(result) if (item.variant, item.measure) == ("part", "score")]
    assert [(item.against, item.verdict) for item in rows] == [("baseline", None), ("whole", "agrees")]
    assert rows[0].effect.difference.mean == pytest.approx(0.1 + 14 / 3 * 0.001)
    assert rows[1].effect.difference.mean == pytest.approx(-0.3 + 14 / 3 * 0.001)
    told = [row for row in result.rows("effects") if row["expected"] == "lower"]
    assert [(row["against"], row["judged_low"], row["judged_high"]) for row in told] == [
        ("whole", rows[1].effect.difference.low, rows[1].effect.difference.high)
    ]
    shown = [row["against"] for row in effects_table(result).rows if row["variant"] == "part"]
    assert shown == ["baseline"] * len(shown)
