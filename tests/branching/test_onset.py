from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from weightatlas.anatomy.branches import grouped_branches
from weightatlas.branching.onset import Onset, onset
from weightatlas.branching.specialization import specialization
from weightatlas.branching.tuning import tuning
from weightatlas.checkpoints import open_checkpoint, open_trajectory
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

STEPS = (0, 100, 200, 300, 400)
SETS_IN = 200


def weights(step: int, *, seed: int = 0, sets_in: int | None = SETS_IN) -> dict[str, torch.Tensor]:
    """Two groups; from a step on the first sees grey and the second colour, before all see both by chance."""
    generator = torch.Generator().manual_seed(1000 * seed + step)
    grey = torch.randn(24, 1, 5, 5, generator=generator).expand(24, 3, 5, 5)
    colour = torch.randn(24, 3, 5, 5, generator=generator)
    colour = colour - colour.mean(dim=1, keepdim=True)
    mixed = torch.rand(24, 1, 1, 1, generator=generator)
    if sets_in is not None and step >= sets_in:
        mixed = torch.cat([torch.full((12, 1, 1, 1), 0.1), torch.full((12, 1, 1, 1), 0.9)])
    conv1 = (1 - mixed) * grey + mixed * colour
    return {"conv1.weight": conv1.contiguous(), "conv2.weight": torch.randn(8, 12, 3, 3, generator=generator)}


def planted(folder: Path, **options: int | None) -> Path:
    for step in STEPS:
        safetensors.torch.save_file(weights(step, **options), folder / f"step{step}.safetensors")  # type: ignore[arg-type]
    return folder


def test_the_planted_step_is_found(tmp_path: Path) -> None:
    found = onset(planted(tmp_path))
    assert found.onset == SETS_IN
    assert (found.layer, found.by, found.unit, found.branches) == ("conv1", "colour", "step", ("group 1", "group 2"))
    assert [step.step for step in found.steps] == list(STEPS)
    assert all(step.information == pytest.approx(1.0) for step in found.steps[2:])
    assert max(step.q_value for step in found.steps[2:]) < 1e-4
    assert any("guess" in note for note in found.notes)


def test_a_run_without_specialisation_has_no_onset(tmp_path: Path) -> None:
    assert onset(planted(tmp_path, sets_in=None)).onset is None
    onsets = [
        onset({step: weights(step, seed=seed, sets_in=None) for step in STEPS[:3]}, branches=2).onset
        for seed in range(60)
    ]
    assert sum(step is not None for step in onsets) <= 60 * 0.05 + 3 * np.sqrt(60 * 0.05 * 0.95)


def test_what_goes_away_again_has_no_onset() -> None:
    run = {step: weights(step, sets_in=100 if step < 400 else None) for step in STEPS}
    found = onset(run, branches=2)
    assert [step.is_significant for step in found.steps] == [False, True, True, True, False]
    assert found.onset is None


def test_every_step_is_that_of_the_estimators() -> None:
    run = {step: weights(step) for step in STEPS}
    for by in ("colour", "class", "frequency"):
        found = onset(run, branches=2, by=by)
        figures = tuning(run[100]["conv1.weight"])
        labels: object = figures.classes
        if by == "colour":
            labels = (figures.chroma > 0.2).astype(int)
        elif by == "frequency":
            labels = (figures.frequency > np.median(figures.frequency)).astype(int)
        alone = specialization(labels, 2, units=24, permutations=999)  # type: ignore[arg-type]
        step = found.steps[1]
        assert step.information == pytest.approx(alone.information)
        assert step.p_value == pytest.approx(alone.p_value)
        assert step.excess == pytest.approx(alone.excess)


def test_steps_that_cannot_be_measured_say_why() -> None:
    states = {step: weights(step) for step in STEPS}
    states[100]["conv1.weight"] = torch.full((24, 3, 5, 5), float("nan"))
    del states[300]["conv1.weight"]
    found = onset(states, branches=2)
    reasons = {step.step: step.skipped for step in found.steps if step.skipped}
    assert reasons == {100: "no unit is tuned to anything that could be measured"}
    assert [step.step for step in found.steps] == [0, 100, 200, 400]
    assert any(note.startswith("not used: ") and "300" in note for note in found.notes)
    assert found.onset == SETS_IN
    row = found.rows()[1]
    assert tuple(row) == Onset.columns()
    assert (row["information"], row["q_value"], row["skipped"]) == (None, None, reasons[100])


def test_progress_is_told_and_a_trajectory_is_taken(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    onset(open_trajectory(planted(tmp_path)), progress=lambda *args: told.append(args))
    assert told == [(place + 1, 5, str(step)) for place, step in enumerate(STEPS)]


def test_weights_side_by_side_are_a_branch_each() -> None:
    run = {
        step: {
            "first.weight": weights(step)["conv1.weight"][:12].clone(),
            "second.weight": weights(step)["conv1.weight"][12:, :, 1:4, 1:4].clone(),
        }
        for step in STEPS
    }
    found = onset(run)
    assert (found.layer, found.branches) == ("first + second", ("first", "second"))
    assert found.notes == ("first and second read the image: a branch each",)
    assert found.onset == SETS_IN
    assert onset(run, by="frequency").steps[0].skipped is None


def test_branches_come_from_shapes_a_mapping_or_a_model() -> None:
    run = {step: weights(step) for step in STEPS}
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(3, 24, 5, bias=False))
    model.add_module("conv2", nn.Conv2d(24, 8, 3, groups=2, bias=False))
    given = {"lower": range(12), "upper": range(12, 24)}
    branching = next(each for each in grouped_branches(open_checkpoint(run[0]).layers) if each.layer == "conv1")
    found = [onset(run, **options) for options in ({}, {"branches": given}, {"model": model}, {"branches": branching})]
    assert {each.onset for each in found} == {SETS_IN}
    assert found[1].branches == ("lower", "upper")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"layer": "conv9"}, "no convolution 'conv9' \\(it has conv1 and conv2\\)"),
        ({"layer": "conv2"}, "no branches|units"),
        ({"branches": 5}, "24 units cannot be cut into 5"),
        ({"by": "hue"}, "by must be"),
    ],
)
def test_what_cannot_be_followed_is_refused(options: dict[str, object], problem: str) -> None:
    run = {
        step: {"conv1.weight": weights(step)["conv1.weight"], "conv2.weight": torch.ones(7, 24, 3, 3)} for step in STEPS
    }
    with pytest.raises(ValueError, match=problem):
        onset(run, **options)  # type: ignore[arg-type]


def test_a_network_without_branches_or_images_is_refused() -> None:
    alone = {step: {"conv1.weight": weights(step)["conv1.weight"]} for step in (0, 1)}
    with pytest.raises(SourceError, match="no branches of conv1 are known; name the units"):
        onset(alone)
    deep = {step: {"conv2.weight": weights(step)["conv2.weight"]} for step in (0, 1)}
    with pytest.raises(SourceError, match="no convolution reads an image"):
        onset(deep)
    found = onset(deep, layer="conv2", branches=2)
    assert all("channels" in str(step.skipped) for step in found.steps)
    assert found.onset is None
