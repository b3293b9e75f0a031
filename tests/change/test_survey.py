from __future__ import annotations

import json
import math
import os
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.change.small_runs import (
    FIGURES,
    SHAPES,
    assert_figures,
    assert_same,
    expected,
    save,
    weights,
    when_done,
    write_run,
)
from weightatlas.change import streaming
from weightatlas.change.stored import viewed
from weightatlas.change.survey import compare, survey
from weightatlas.checkpoints import Checkpoint, Trajectory, open_checkpoint, open_trajectory
from weightatlas.checkpoints.runs.trajectory import Moment
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.change.changes import Changes

STEPS = (0, 1, 2, 3)
WEIGHTS = [name for name in SHAPES if not name.endswith("bias")]
BYTES = 4 * sum(math.prod(SHAPES[name]) for name in WEIGHTS)
"""Bytes that are measured of each checkpoint."""

FORMS = (
    "step{step}.safetensors",
    "step{step}.pt",
    "step{step}.npz",
    "step{step}-deflated.npz",
    "step{step}.h5",
    "step{step}-deflated.h5",
)


def reasons(changes: Changes, layer: str) -> dict[int, str]:
    """Why a layer has no figures, by step."""
    (found,) = [each for each in changes.layers if each.layer == layer]
    return {changes.steps[place]: reason for place, reason in found.reasons.items()}


def curve(changes: Changes, layer: str, figure: str = "ratio_l1") -> list[float]:
    (found,) = [each for each in changes.layers if each.layer == layer]
    return list(found.figures[figure])


def kept(folder: Path) -> Path:
    """Where a test keeps its journal: not among the checkpoints."""
    return folder.parent / f"{folder.name}.journal"


@pytest.mark.parametrize("form", FORMS)
def test_figures_are_those_of_whole_tensors_in_any_format(tmp_path: Path, form: str) -> None:
    changes = survey(write_run(tmp_path, STEPS, form))
    assert (changes.steps, changes.since, changes.unit) == ((1, 2, 3), (0, 1, 2), "step")
    names = [layer.tensor.replace("/", ".") for layer in changes.layers]
    assert sorted(names) == sorted(WEIGHTS)
    assert_figures(changes, expected([weights(step) for step in STEPS], names), relative=1e-6)
    assert changes.bytes_read == len(STEPS) * BYTES
    assert all(not layer.reasons for layer in changes.layers)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_figures_of_other_types(tmp_path: Path, dtype: torch.dtype) -> None:
    changes = survey(write_run(tmp_path, STEPS, dtype=dtype), median=True)
    states = [weights(step, dtype) for step in STEPS]
    assert_figures(changes, expected(states, WEIGHTS, median=True), relative=1e-6, figures=[*FIGURES, "median"])


def test_shards_live_weights_and_modules(tmp_path: Path) -> None:
    states = [weights(step) for step in STEPS]
    for step, state in zip(STEPS, states, strict=True):
        for number, name in enumerate(state):
            save(tmp_path / f"step{step}" / f"model-0000{number + 1}-of-00004.safetensors", {name: state[name]})
    live = survey(dict(zip(STEPS, states, strict=True)))
    assert_figures(live, expected(states, WEIGHTS), relative=1e-6)
    assert_same(survey(tmp_path), live)


def test_weights_in_another_order_of_memory() -> None:
    states = [weights(step) for step in STEPS]
    turned = [
        {name: tensor.mT.contiguous().mT for name, tensor in state.items() if tensor.dim() > 1} for state in states
    ]
    assert not turned[0]["fc.weight"].is_contiguous()
    assert_figures(survey(dict(enumerate(turned))), expected(states, WEIGHTS), relative=1e-6)


@pytest.mark.parametrize("form", ["step{step}.safetensors", "step{step}-deflated.npz"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_parts_of_tensors_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, jobs: int) -> None:
    monkeypatch.setattr(streaming, "PART", 100)
    monkeypatch.setattr(streaming, "WINDOW", 2)
    told: list[tuple[int, int, str]] = []
    run = write_run(tmp_path, STEPS, form)
    changes = survey(run, jobs=jobs, median=True, progress=lambda *progress: told.append(progress))
    states = [weights(step) for step in STEPS]
    assert_figures(changes, expected(states, WEIGHTS, median=True), relative=1e-6, figures=[*FIGURES, "median"])
    assert changes.bytes_read == len(STEPS) * BYTES
    assert len(told) == (3 if "npz" in form else 6 + 7 + 14), "what is deflated is unpacked once"


def test_all_tensors_and_fewer_sums(tmp_path: Path) -> None:
    run = write_run(tmp_path, STEPS)
    everything = survey(run, tensors="all")
    assert [layer.tensor for layer in everything.layers] == list(SHAPES)
    assert everything.notes == ()
    norms = survey(run, only_norms=True)
    np.testing.assert_allclose(norms.curves(), survey(run).curves(), rtol=1e-6)
    assert np.isnan(norms.curves("cosine")).all()
    assert norms.bytes_read == len(STEPS) * BYTES


@pytest.mark.parametrize("zero", ["skip", "inf", "eps"])
def test_zeros_are_as_statistics_takes_them(zero: Any) -> None:  # noqa: ANN401 - one of three
    states = [weights(step) for step in STEPS]
    changes = survey(dict(enumerate(states)), zero=zero)
    assert_figures(changes, expected(states, WEIGHTS, zero=zero), relative=1e-6)
    assert changes.curves("zeros")[1, 0] == 72


@pytest.mark.parametrize("option", [{"tensors": "some"}, {"zero": "none"}, {"backend": "celery"}])
def test_other_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        survey({step: weights(step) for step in STEPS}, **option)


class Interrupted(BaseException):
    """As from the keyboard."""


def interrupt() -> None:
    raise Interrupted


@pytest.mark.parametrize("options", [{}, {"median": True}, {"only_norms": True}])
def test_an_interrupted_survey_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(streaming, "PART", 600)
    run = write_run(tmp_path / "run", STEPS)
    whole = survey(run, **options)
    with pytest.raises(Interrupted):
        survey(run, journal=kept(run), jobs=1, progress=when_done(3, interrupt), **options)
    again = survey(run, journal=kept(run), **options)
    assert_same(again, whole)
    assert again.bytes_read == len(STEPS) * (BYTES - 4 * (600 + 648)), "conv1, and both parts of conv2, were done"
    done = survey(run, journal=kept(run), **options)
    assert_same(done, whole)
    assert done.bytes_read == 0


def test_new_checkpoints_are_added_and_only_they_and_what_they_need_is_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", range(6))
    survey(run, journal=kept(run))
    write_run(run, [6])
    more = survey(run, journal=kept(run))
    assert more.bytes_read == 4 * BYTES, "the new one, the two before it, and the first"
    assert_same(more, survey(run))
    norms = survey(run, journal=kept(run), only_norms=True)
    assert norms.bytes_read == 7 * BYTES
    write_run(run, [7])
    assert survey(run, journal=kept(run), only_norms=True).bytes_read == 2 * BYTES


def test_a_checkpoint_that_was_written_anew_is_measured_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", range(6))
    first = survey(run, journal=kept(run))
    save(run / "step3.safetensors", weights(3, seed=1))
    second = survey(run, journal=kept(run))
    assert_same(second, survey(run))
    assert second.bytes_read == 6 * BYTES, "pairs 3, 4 and 5 rest on it, which is all checkpoints"
    for figure in FIGURES[:3]:
        same = first.curves(figure) == second.curves(figure)
        assert same[:, :2].all()
        assert not same[:, 2:4].any()


def test_journals_of_other_options_do_not_mix(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", STEPS)
    options: tuple[dict[str, Any], ...] = (
        {},
        {"only_norms": True},
        {"median": True},
        {"tensors": "all"},
        {"zero": "eps"},
    )
    alone = [survey(run, **option) for option in options]
    for _ in range(2):
        for option, result in zip(options, alone, strict=True):
            assert_same(survey(run, journal=kept(run), **option), result)
    assert survey(run, journal=kept(run), median=True, only_norms=True).bytes_read


def test_a_lost_line_is_measured_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", STEPS)
    whole = survey(run, journal=kept(run))
    lines = kept(run).read_bytes().splitlines(keepends=True)
    kept(run).write_bytes(b"".join([lines[0], b'{"tensor": "conv1"}\n', lines[2], lines[3][:100]]))
    again = survey(run, journal=kept(run))
    assert_same(again, whole)
    assert again.bytes_read == len(STEPS) * (BYTES - 4 * 648)


def test_what_is_in_memory_is_measured_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state dict").write_text("a file of that name")
    for seed in (0, 1):
        states = [weights(step, seed=seed) for step in STEPS]
        changes = survey(dict(enumerate(states)), journal=tmp_path / "journal")
        assert_figures(changes, expected(states, WEIGHTS), relative=1e-6)


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


def test_a_file_that_is_no_journal_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", STEPS)
    with pytest.raises(SourceError, match="is no journal of weight change"):
        survey(run, journal=run / "step0.safetensors")
    assert open_checkpoint(run / "step0.safetensors")["fc.weight"].shape == (33, 40)


def test_tied_weights_and_tensors_without_elements(tmp_path: Path) -> None:
    for step in STEPS:
        shared = torch.full((5, 4), 1.0 + step)
        state = {"embed.weight": shared, "head.weight": shared, "empty.weight": torch.zeros(0, 3)}
        torch.save(state, tmp_path / f"step{step}.pt")
    changes = survey(tmp_path)
    assert curve(changes, "embed") == curve(changes, "head") == [1.0, 0.5, 1 / 3]
    assert set(reasons(changes, "empty").values()) == {"it has no elements"}


def test_each_part_of_each_checkpoint_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PART", 500)
    fetched: list[tuple[str, str, int, int]] = []
    parts = Checkpoint.parts

    def spied(self: Checkpoint, name: str) -> Callable[[int, int], torch.Tensor]:
        fetch = parts(self, name)

        def noted(low: int, high: int) -> torch.Tensor:
            fetched.append((self.source, name, low, high))
            return fetch(low, high)

        return noted

    monkeypatch.setattr(Checkpoint, "parts", spied)
    run = write_run(tmp_path, range(20))
    changes = survey(run)
    assert len(set(fetched)) == len(fetched) == 20 * (2 + 2 + 3)
    assert 4 * sum(high - low for *_, low, high in fetched) == changes.bytes_read == 20 * BYTES


def test_a_pair_of_checkpoints(tmp_path: Path) -> None:
    run = write_run(tmp_path, (0, 5))
    one, other = run / "step0.safetensors", run / "step5.safetensors"
    changes = compare(one, other)
    assert_figures(changes, expected([weights(0), weights(5)], WEIGHTS), relative=1e-6)
    assert changes.source == f"{one} to {other}"
    assert (changes.steps, changes.since, changes.unit) == ((1,), (0,), "position")
    assert_same(compare(open_checkpoint(one), weights(5)), changes)
    assert compare(one, one).curves().tolist() == [[0.0]] * 3
    with pytest.raises(SourceError, match="no layer of the same name and shape"):
        compare(weights(0), {"other.weight": torch.ones(2, 3)})


def test_weights_in_memory_are_not_sent_to_other_processes() -> None:
    with pytest.raises(ValueError, match="save them first"):
        survey({step: weights(step) for step in STEPS}, jobs=2, backend="loky")


def test_few_files_are_open_at_once(tmp_path: Path) -> None:
    run = write_run(tmp_path, range(60))
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):  # noqa: PTH112 - a name of the system's
        pytest.skip("no /proc here")
    before, most = len(os.listdir(folder)), []  # noqa: PTH208 - the same
    take = viewed

    def counted(weight: torch.Tensor) -> Any:  # noqa: ANN401 - handed on
        most.append(len(os.listdir(folder)) - before)  # noqa: PTH208 - the same
        return take(weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "viewed", counted)
        survey(run, jobs=1)
    assert max(most) <= streaming.WINDOW + 3 + 2
