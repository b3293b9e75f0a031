from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.change.small_runs import (
    BYTES,
    FIGURES,
    SHAPES,
    STEPS,
    WEIGHTS,
    assert_figures,
    assert_same,
    expected,
    kept,
    save,
    surveyed,
    weights,
    when_done,
    write_run,
)
from weightatlas.change.streaming import streaming
from weightatlas.change.summing.stored import viewed
from weightatlas.change.survey import compare, survey
from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FORMS = (
    "step{step}.safetensors",
    "step{step}.pt",
    "step{step}.npz",
    "step{step}-deflated.npz",
    "step{step}.h5",
    "step{step}-deflated.h5",
)


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
    everything = surveyed(run, tensors="all")
    assert [layer.tensor for layer in everything.layers] == list(SHAPES)
    assert everything.notes == ()
    norms = surveyed(run, only_norms=True)
    np.testing.assert_allclose(norms.curves(), surveyed(run).curves(), rtol=1e-6)
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
    alone = [surveyed(run, **option) for option in options]
    for _ in range(2):
        for option, result in zip(options, alone, strict=True):
            assert_same(surveyed(run, journal=kept(run), **option), result)
    assert surveyed(run, journal=kept(run), median=True, only_norms=True).bytes_read


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


def test_a_file_that_is_no_journal_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", STEPS)
    with pytest.raises(SourceError, match="is no journal of weight change"):
        survey(run, journal=run / "step0.safetensors")
    assert open_checkpoint(run / "step0.safetensors")["fc.weight"].shape == (33, 40)


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
        surveyed(run, jobs=1)
    assert max(most) <= streaming.WINDOW + 3 + 2
