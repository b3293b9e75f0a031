from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.degeneracy.planted_surveys import planted_survey
from tests.degeneracy.sampling.potentials import NOTHING, Potential, itself
from weightatlas.atlas.charts import save_chart
from weightatlas.degeneracy.drawing.trace_chart import MOST, trace_chart, trace_rows
from weightatlas.degeneracy.learning_coefficient import LearningCoefficient, learning_coefficient

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def found() -> LearningCoefficient:
    bowl = Potential(lambda w: w.square().sum() / 2, (5,))
    return learning_coefficient(
        bowl, NOTHING, loss=itself, chains=2, draws=30, burn_in=20, thinning=2, step_size=1e-3, nbeta=50.0
    )


def test_rows_are_the_draws_of_every_chain_at_their_steps(found: LearningCoefficient) -> None:
    rows = trace_rows(found)
    kept = [row for row in rows if not row["burn_in"]]
    assert len(rows) == 2 * (10 + 30)
    assert [row["loss"] for row in kept if row["chain"] == "2"] == found.traces[1].tolist()
    assert [row["step"] for row in kept if row["chain"] == "1"] == list(range(22, 82, 2))
    assert [row["step"] for row in rows if row["burn_in"] and row["chain"] == "1"] == list(range(2, 22, 2))
    assert np.mean([row["excess"] for row in kept]) == pytest.approx(found.estimate)


def test_chains_have_the_numbers_of_the_table(found: LearningCoefficient) -> None:
    table = planted_survey(coefficient=found).rows("chains")
    assert {row["chain"] for row in trace_rows(found)} == {str(row["chain"]) for row in table if row["chain"]}


@pytest.mark.parametrize(("thinning", "form"), [(2, ",d"), (1000, "~s")])
def test_steps_are_written_out_up_to_thousands(found: LearningCoefficient, thinning: int, form: str) -> None:
    axis = trace_chart(replace(found, thinning=thinning)).to_dict()["layer"][1]["encoding"]["x"]["axis"]
    assert (axis["format"], axis["labelExpr"]) == (form, "datum.value === 0 ? '0' : datum.label")


def test_ground_lines_start_and_mean_are_drawn(found: LearningCoefficient) -> None:
    drawn: Any = trace_chart(found)
    assert [layer["mark"]["type"] for layer in drawn.to_dict()["layer"]] == ["rect", "line", "rule", "rule"]
    ground, _, start, mean = (layer.data.values for layer in drawn.layer)
    assert ground == [{"step": 0, "end": 20}]
    assert start[0]["loss"] == found.initial_loss
    assert mean[0]["loss"] == pytest.approx(found.traces.mean())


def test_without_burn_in_there_is_no_ground_and_without_an_estimate_no_mean(found: LearningCoefficient) -> None:
    bare = replace(found, burn_in=0, burn_in_traces=np.empty((2, 0)), estimate=float("nan"))
    layers = trace_chart(bare).to_dict()["layer"]
    assert [layer["mark"]["type"] for layer in layers] == ["line", "rule"]


def test_long_traces_are_thinned_and_gaps_stay_gaps(found: LearningCoefficient) -> None:
    traces = np.ones((2, 3 * MOST))
    traces[0, MOST:] = np.nan
    rows = [row for row in trace_rows(replace(found, traces=traces)) if not row["burn_in"]]
    assert len(rows) == 2 * MOST
    assert sum(row["loss"] is None for row in rows) == MOST - -(-MOST // 3)


def test_it_renders(found: LearningCoefficient, tmp_path: Path) -> None:
    save_chart(trace_chart(found).to_dict(), tmp_path / "traces.svg")
    assert "<svg" in (tmp_path / "traces.svg").read_text(encoding="utf-8")
