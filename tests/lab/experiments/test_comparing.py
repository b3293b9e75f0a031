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
