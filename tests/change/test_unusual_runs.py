"""Runs that are not as they should be: what can be measured is, the rest has a row with the reason."""

from __future__ import annotations

import json
import math
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.change.small_runs import (
    FIGURES,
    STEPS,
    WEIGHTS,
    assert_figures,
    expected,
    kept,
    save,
    weights,
    when_done,
    write_run,
)
from weightatlas.change.survey import survey
from weightatlas.checkpoints import Trajectory, open_checkpoint, open_trajectory
from weightatlas.checkpoints.runs.trajectory import Moment
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.change.changes import Changes


def reasons(changes: Changes, layer: str) -> dict[int, str]:
    """Why a layer has no figures, by step."""
    (found,) = [each for each in changes.layers if each.layer == layer]
    return {changes.steps[place]: reason for place, reason in found.reasons.items()}


def curve(changes: Changes, layer: str, figure: str = "ratio_l1") -> list[float]:
    (found,) = [each for each in changes.layers if each.layer == layer]
    return list(found.figures[figure])


def test_layers_that_appear_vanish_and_change_shape_have_rows_with_the_reason() -> None:
    states = [weights(step) for step in range(5)]
    states[3].pop("conv2.weight")
    states[4].pop("conv2.weight")
    states[0].pop("conv1.weight")
    for state in states[:2]:
        state["fc.weight"] = state["fc.weight"][:20]
    moments = [Moment(step, f"step {step}", partial(open_checkpoint, state)) for step, state in enumerate(states)]
    changes = survey(Trajectory("a run", moments))
    assert reasons(changes, "conv1") == {1: "new in this checkpoint"}
    assert reasons(changes, "conv2") == {3: "not in this checkpoint", 4: "not in this checkpoint"}
    assert reasons(changes, "fc") == {
        1: "its shape is 20x40, later 33x40",
        2: "its shape changed from 20x40 to 33x40",
    }
    later = expected(states[1:], ["conv1.weight"])
    for figure in FIGURES:
        np.testing.assert_allclose(curve(changes, "conv1", figure)[1:], later[figure][0], rtol=1e-6, atol=1e-9)
    rows = [row for row in changes.rows("steps") if row["layer"] == "fc"]
    assert [row["skipped"] is None for row in rows] == [False, False, True, True]
    assert all(row["ratio_l1"] is None for row in rows[:2])


def test_other_types_and_wrappers_within_one_run() -> None:
    types = (torch.float32, torch.bfloat16, torch.float64)
    states = [weights(step, dtype) for step, dtype in enumerate(types)]
    wrapped = [states[0], {f"module.{name}": tensor for name, tensor in states[1].items()}, states[2]]
    assert_figures(survey(wrapped), expected(states, WEIGHTS), relative=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_cost_their_own_layer_and_steps(bad: float) -> None:
    states = [weights(step) for step in range(5)]
    states[2]["conv1.weight"][0, 0, 0, :3] = bad
    changes = survey(dict(enumerate(states)))
    assert set(reasons(changes, "conv1")) == {2, 3}
    assert reasons(changes, "conv1")[2] == "NaN or infinite weights among 600: 3 after"
    assert np.isfinite(curve(changes, "conv1"))[[0, 3]].all()
    clean = survey({step: weights(step) for step in range(5)})
    for layer in ("conv2", "fc"):
        assert curve(changes, layer) == curve(clean, layer)


def rewritten_in_place(path: Path, name: str, length: int) -> None:
    """Cut a file of safetensors short after so many bytes of a tensor, as its header is read."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    begin = json.loads(content[8 : 8 + size])[name]["data_offsets"][0]
    path.write_bytes(content[: 8 + size + begin + length])


@pytest.mark.parametrize("how", ["truncated", "replaced", "gone"])
def test_a_file_that_changes_while_it_is_read_costs_the_tensors_that_were_not_read_yet(
    tmp_path: Path, how: str
) -> None:
    run, clean = write_run(tmp_path / "run", range(5)), survey(write_run(tmp_path / "clean", range(5)))
    path = run / "step2.safetensors"

    def spoil() -> None:
        if how == "truncated":
            rewritten_in_place(path, "conv1.weight", 0)
        elif how == "replaced":
            save(path.with_name("new"), weights(7))
            path.with_name("new").replace(path)
        else:
            path.unlink()

    trajectory = open_trajectory(run)
    changes = survey(trajectory, jobs=1, progress=when_done(1, spoil), journal=kept(run))
    assert curve(changes, "conv1") == curve(clean, "conv1")
    assert changes.bytes_read == 4 * (5 * 600 + 4 * (648 + 1320)), "and nothing twice"
    for layer in ("conv2", "fc"):
        assert list(reasons(changes, layer)) == [2, 3]
        assert "it cannot be read at this step: " in reasons(changes, layer)[2]
        assert reasons(changes, layer)[3] == "it cannot be read at the step before, 2"
        assert [curve(changes, layer)[place] for place in (0, 3)] == [curve(clean, layer)[place] for place in (0, 3)]
        assert np.isnan(curve(changes, layer, "cosine")[3])
        assert curve(changes, layer, "from_start")[3] == curve(clean, layer, "from_start")[3]


def test_the_first_checkpoint_may_be_the_one_that_cannot_be_read(tmp_path: Path) -> None:
    run = write_run(tmp_path, range(4), "step{step}-deflated.npz")
    path = run / "step0-deflated.npz"
    content = bytearray(path.read_bytes())
    begin = content.index(b"fc.weight.npy") + len("fc.weight.npy") + 200
    content[begin : begin + 300] = bytes(300)
    path.write_bytes(content)
    changes = survey(run)
    assert list(reasons(changes, "fc")) == [1]
    assert "it cannot be read at the step before, 0" in reasons(changes, "fc")[1]


def test_a_corrupt_checkpoint_in_the_middle_is_left_out_and_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, range(5))
    (run / "step2.safetensors").write_bytes(b"\x10" * 1000)
    changes = survey(run)
    assert (changes.steps, changes.since) == ((1, 3, 4), (0, 1, 3))
    assert [entry.name for entry in changes.skipped] == ["step2.safetensors"]
    states = [weights(step) for step in (0, 1, 3, 4)]
    assert_figures(changes, expected(states, WEIGHTS), relative=1e-6)


def test_a_checkpoint_that_goes_bad_after_the_run_was_opened_is_left_out_and_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, range(5))
    trajectory = open_trajectory(run)
    (run / "step2.safetensors").unlink()
    changes = survey(trajectory)
    assert changes.since == (0, 1, 3)
    assert [(entry.name, entry.reason[:16]) for entry in changes.skipped] == [("step2.safetensors", "cannot be opened")]


def test_a_run_still_being_written(tmp_path: Path) -> None:
    run = write_run(tmp_path, range(4))
    content = (run / "step3.safetensors").read_bytes()
    (run / "step3.safetensors").write_bytes(content[: len(content) // 2])
    changes = survey(run)
    assert changes.steps == (1, 2)
    assert "still being written?" in changes.skipped[0].reason


def test_steps_that_are_there_twice_are_measured_once(tmp_path: Path) -> None:
    run = write_run(tmp_path, range(3))
    save(run / "step1.pt", weights(1))
    changes = survey(run)
    assert changes.steps == (1, 2)
    assert [entry.name for entry in changes.skipped] == ["step1.pt"]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ([weights(0)], "one checkpoint"),
        ([{"a.weight": torch.ones(2, 3)}, {"b.weight": torch.ones(2, 3)}], "different networks"),
        ([], "an empty list"),
        ("nowhere", "nowhere"),
        (weights(0), "keys are no steps"),
    ],
)
def test_what_is_no_run_is_said_in_one_line(run: Any, message: str) -> None:  # noqa: ANN401 - anything
    with pytest.raises(SourceError, match=message) as error:
        survey(run)
    assert "\n" not in str(error.value)


def test_a_folder_of_one_checkpoint_says_that_a_change_needs_two(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="one checkpoint that can be used: a change needs two; wait for the next"):
        survey(write_run(tmp_path, [5]))


def test_tied_weights_and_tensors_without_elements(tmp_path: Path) -> None:
    for step in STEPS:
        shared = torch.full((5, 4), 1.0 + step)
        state = {"embed.weight": shared, "head.weight": shared, "empty.weight": torch.zeros(0, 3)}
        torch.save(state, tmp_path / f"step{step}.pt")
    changes = survey(tmp_path)
    assert curve(changes, "embed") == curve(changes, "head") == [1.0, 0.5, 1 / 3]
    assert set(reasons(changes, "empty").values()) == {"it has no elements"}
