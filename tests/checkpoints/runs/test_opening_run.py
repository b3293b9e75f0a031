from __future__ import annotations

import json
import shutil
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.runs.opening_run import open_trajectory
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from weightatlas.checkpoints.runs.trajectory import Trajectory


def state(step: float, width: int = 3) -> dict[str, torch.Tensor]:
    return {"conv1.weight": torch.full((4, width, 3, 3), float(step)), "fc.weight": torch.full((2, 4), float(step))}


def save(path: Path, weights: Mapping[str, Any]) -> None:
    """Write a file in the format that its name claims."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(dict(weights), path)
    elif path.suffix == ".npz":
        np.savez(path, allow_pickle=False, **{name: tensor.numpy() for name, tensor in weights.items()})
    else:
        torch.save(dict(weights), path)


def reasons(run: Trajectory) -> dict[str, str]:
    return {skipped.name: skipped.reason for skipped in run.skipped}


def values(run: Trajectory) -> list[float]:
    return [float(checkpoint["fc.weight"].mean()) for _, checkpoint in run]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of five checkpoints, each filled with its step."""
    for step in (0, 100, 200, 300, 400):
        save(tmp_path / f"step{step}.safetensors", state(step))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "train.log").write_text("step 0")
    return tmp_path


def test_a_folder_is_a_run_in_the_order_of_its_steps(folder: Path) -> None:
    run = open_trajectory(folder)
    assert run.steps == (0, 100, 200, 300, 400)
    assert run.sources[0] == "step0.safetensors"
    assert values(run) == [0, 100, 200, 300, 400]
    assert (run.unit, run.skipped, run.notes, run.source) == ("step", (), (), str(folder))
    assert run.at(300).source == str(folder / "step300.safetensors")


def test_formats_and_wrappings_may_differ_within_a_run(tmp_path: Path) -> None:
    save(tmp_path / "ckpt-1.safetensors", state(1))
    save(tmp_path / "ckpt-2.npz", state(2))
    save(
        tmp_path / "ckpt-3.pt", {"state_dict": {f"module.{key}": value for key, value in state(3).items()}, "epoch": 1}
    )
    save(tmp_path / "ckpt-4" / "pytorch_model.bin", state(4))
    run = open_trajectory(tmp_path)
    assert (run.steps, run.skipped) == ((1, 2, 3, 4), ())
    assert [float(next(iter(checkpoint.values())).mean()) for _, checkpoint in run] == [1, 2, 3, 4]


def test_a_lightning_run(tmp_path: Path) -> None:
    inner = tmp_path / "lightning_logs" / "version_0" / "checkpoints"
    for epoch in range(3):
        step = 10 * (epoch + 1)
        save(inner / f"epoch={epoch}-step={step}.ckpt", {"global_step": step, "state_dict": state(step)})
    save(inner / "epoch=1-step=20-v1.ckpt", {"global_step": 20, "state_dict": state(-1)})
    save(inner / "last.ckpt", {"global_step": 30, "state_dict": state(30)})
    run = open_trajectory(tmp_path)
    assert (run.steps, values(run)) == ((10, 20, 30), [10, 20, 30])
    assert run.notes == (f"the checkpoints were found in {inner}",)
    assert reasons(run) == {
        "epoch=1-step=20-v1.ckpt": "step 20 again: epoch=1-step=20.ckpt is kept",
        "last.ckpt": "step 30 again: epoch=2-step=30.ckpt is kept",
    }


def test_a_run_of_hugging_faces_trainer(tmp_path: Path) -> None:
    for step in (500, 1000):
        inner = tmp_path / f"checkpoint-{step}"
        save(inner / "model.safetensors", state(step))
        for name in ("optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"):
            save(inner / name, {})
    save(tmp_path / "model.safetensors", state(1200))
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 1200}))
    (tmp_path / "tmp-checkpoint-1500").mkdir()
    run = open_trajectory(tmp_path)
    assert (run.steps, values(run)) == ((500, 1000, 1200), [500, 1000, 1200])
    assert reasons(run) == {"tmp-checkpoint-1500": "cannot be opened (a temporary name): still being written?"}


def test_a_deepspeed_run_with_its_file_latest(tmp_path: Path) -> None:
    for step in (10, 20):
        save(tmp_path / f"global_step{step}" / "mp_rank_00_model_states.pt", {"module": state(step)})
        save(tmp_path / f"global_step{step}" / "zero_pp_rank_0_mp_rank_00_optim_states.pt", {"x": torch.zeros(1)})
    (tmp_path / "latest").write_text("global_step20")
    run = open_trajectory(tmp_path)
    assert (run.steps, values(run), run.skipped) == ((10, 20), [10, 20], ())


def test_epochs_are_a_unit_of_their_own(tmp_path: Path) -> None:
    for epoch in (9, 10):
        save(tmp_path / f"epoch={epoch}.ckpt", {"epoch": epoch, "global_step": epoch * 7, "state_dict": state(epoch)})
    save(tmp_path / "last.ckpt", {"epoch": 11, "global_step": 77, "state_dict": state(11)})
    run = open_trajectory(tmp_path)
    assert (run.unit, run.steps) == ("epoch", (9, 10, 11))


def test_metadata_order_a_run_whose_names_tell_nothing(tmp_path: Path) -> None:
    for name, step in (("a.pt", 30), ("b.pt", 10)):
        save(tmp_path / name, {"iteration": step, "model": state(step)})
    save(tmp_path / "c.pt", state(5))
    run = open_trajectory(tmp_path)
    assert (run.steps, run.sources) == ((10, 30), ("b.pt", "a.pt"))
    assert reasons(run) == {"c.pt": "nothing tells its step"}


def test_a_thousand_checkpoints_are_a_run(tmp_path: Path) -> None:
    first = tmp_path / "step_0000.safetensors"
    save(first, state(0))
    for step in range(1, 1000):
        shutil.copyfile(first, tmp_path / f"step_{step:04d}.safetensors")
    run = open_trajectory(tmp_path)
    assert (run.steps, run.skipped, run.notes) == (tuple(range(1000)), (), ())


def test_missing_steps_are_said(folder: Path) -> None:
    (folder / "step200.safetensors").unlink()
    assert open_trajectory(folder).notes == ("step 200 is missing: before and after there is one every 100",)


def test_a_skipped_checkpoint_is_no_gap(folder: Path) -> None:
    (folder / "step200.safetensors").write_bytes(b"")
    run = open_trajectory(folder)
    assert run.notes == ()
    assert reasons(run) == {"step200.safetensors": "cannot be opened (an empty file)"}


@pytest.mark.parametrize("size", [0, 4, 100])
def test_a_newest_checkpoint_that_is_cut_short_may_still_be_written(folder: Path, size: int) -> None:
    newest = folder / "step400.safetensors"
    newest.write_bytes(newest.read_bytes()[:size])
    run = open_trajectory(folder)
    assert run.steps == (0, 100, 200, 300)
    reason = reasons(run)["step400.safetensors"]
    assert reason.startswith("cannot be opened (")
    assert reason.endswith("): still being written?")


def test_a_newest_folder_without_all_its_shards_may_still_be_written(folder: Path) -> None:
    save(folder / "step500" / "model-00001-of-00002.safetensors", state(500))
    (folder / "step600").mkdir()
    (folder / "step600" / "__0_0.distcp").write_bytes(b"half")
    run = open_trajectory(folder)
    assert run.steps == (0, 100, 200, 300, 400)
    assert "model-00002-of-00002.safetensors is missing" in reasons(run)["step500"]
    assert reasons(run)["step600"].endswith("still being written?")


def test_foreign_files_are_skipped_and_said(folder: Path) -> None:
    save(folder / "step150.pt", state(150, width=5))
    save(folder / "step250.pt", {"encoder.weight": torch.zeros(3, 3)})
    save(folder / "optim_step300.pt", {"state": {0: {"exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}}})
    (folder / "step350.pt").write_text("<html>404</html>")
    run = open_trajectory(folder)
    assert run.steps == (0, 100, 200, 300, 400)
    found = reasons(run)
    assert found["step150.pt"] == "another network than the others: conv1.weight is 4×5×3×3, not 4×3×3×3"
    assert found["step250.pt"].startswith("another network than the others: without conv1.weight and 1 more")
    assert found["optim_step300.pt"] == "an optimizer's state alone, no weights"
    assert "a web page" in found["step350.pt"]


def test_a_run_of_different_networks_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "net_18.pt", state(1, width=1))
    save(tmp_path / "net_50.pt", state(1, width=2))
    with pytest.raises(SourceError, match=r"different networks \(net_50.pt beside net_18.pt: conv1.weight is 4×2×3×3"):
        open_trajectory(tmp_path)


def test_two_networks_side_by_side_are_refused_and_each_can_be_chosen(tmp_path: Path) -> None:
    for step in (1000, 2000):
        save(tmp_path / f"G_{step}.pth", state(step, width=1))
        save(tmp_path / f"D_{step}.pth", state(step, width=2))
    with pytest.raises(SourceError, match=r"D_1000.pth and G_1000.pth .*pattern='G_\{step\}.pth'"):
        open_trajectory(tmp_path)
    assert open_trajectory(tmp_path, pattern="G_{step}.pth").sources == ("G_1000.pth", "G_2000.pth")


def test_plain_weights_are_the_run_and_averages_fill_in(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path / f"model_{step}.pt", state(step))
        save(tmp_path / f"ema_{step}.pt", state(-step))
    run = open_trajectory(tmp_path)
    assert (values(run), run.notes) == ([1, 2, 3], ())
    assert reasons(run)["ema_1.pt"] == "step 1 again: model_1.pt is kept"
    (tmp_path / "model_2.pt").unlink()
    assert "ema_2.pt" in open_trajectory(tmp_path).notes[0]


def test_epochs_of_torchvisions_references(tmp_path: Path) -> None:
    for epoch in (0, 10, 20):
        save(tmp_path / f"model_{epoch}.pth", {"model": state(epoch), "epoch": epoch})
    save(tmp_path / "checkpoint.pth", {"model": state(20), "epoch": 20})
    run = open_trajectory(tmp_path)
    assert (run.unit, run.steps) == ("epoch", (0, 10, 20))
    assert reasons(run) == {"checkpoint.pth": "epoch 20 again: model_20.pth is kept"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("ema.pt", "model.pt"), "take one of them with pattern='step{step}/model.pt'"),
        (("a/ema.pt", "a/model.pt"), "take one of them with pattern='step{step}/a/model.pt'"),
        (("rank0.pt", "rank1.pt"), "join them first, or take one with pattern='step{step}/rank0.pt'"),
        (("mp_rank_00/w.pt", "mp_rank_01/w.pt"), "pattern='step{step}/mp_rank_00/w.pt'"),
    ],
)
def test_several_files_in_each_folder_are_offered_as_a_pattern(
    tmp_path: Path, files: tuple[str, ...], said: str
) -> None:
    for step in (1, 2):
        for name in files:
            save(tmp_path / f"step{step}" / name, state(step))
    with pytest.raises(SourceError) as caught:
        open_trajectory(tmp_path)
    assert caught.value.remedy.endswith(said)
    pattern = caught.value.remedy.partition("pattern=")[2].strip("'")
    assert values(open_trajectory(tmp_path, pattern=pattern)) == [1, 2]


def cache_of(folder: Path, references: Mapping[str, int]) -> Path:
    """A repository's folder as the Hub's cache lays it out, whose references are of networks filled with a number."""
    root = folder / "models--E--pythia"
    for name, value in references.items():
        commit = f"{value:040x}"
        blob = root / "blobs" / commit
        save(blob, state(value))
        link = root / "snapshots" / commit / "pytorch_model.bin"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"../../blobs/{commit}")
        (root / "refs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "refs" / name).write_text(commit)
    return root


def test_a_repository_in_the_hubs_cache_is_the_run_of_its_branches(tmp_path: Path) -> None:
    root = cache_of(tmp_path, {"main": 3, "step1000": 1, "step2000": 2, "step3000": 3})
    (root / "refs" / "step4000").write_text("f" * 40)
    run = open_trajectory(root)
    assert (run.steps, values(run)) == ((1000, 2000, 3000), [1, 2, 3])
    assert reasons(run)["main"] == "nothing tells its step"
    assert reasons(run)["step4000"].startswith("cannot be opened (not in the Hub cache)")


def test_a_cached_repository_without_such_branches_is_its_snapshot(tmp_path: Path) -> None:
    root = cache_of(tmp_path, {"main": 3})
    (snapshot,) = (root / "snapshots").iterdir()
    for step in (1, 2):
        save(snapshot / f"step{step}.pt", state(step))
    (snapshot / "pytorch_model.bin").unlink()
    run = open_trajectory(root)
    assert run.steps == (1, 2)
    assert "snapshot of main was taken" in run.notes[0]


def test_one_checkpoint_is_a_run_of_one(tmp_path: Path) -> None:
    save(tmp_path / "step7.pt", state(7))
    run = open_trajectory(tmp_path)
    assert (len(run), run.steps, run.notes) == (1, (7,), ())


def test_new_checkpoints_are_there_the_next_time(folder: Path) -> None:
    before = open_trajectory(folder)
    save(folder / "step500.safetensors", state(500))
    assert (len(before), len(open_trajectory(folder))) == (5, 6)


def test_a_checkpoint_that_vanished_is_an_error_when_it_is_asked_for(folder: Path) -> None:
    run = open_trajectory(folder)
    (folder / "step100.safetensors").unlink()
    assert run[0][0] == 0
    with pytest.raises(SourceError, match="missing"):
        run.at(100)


def test_a_folder_that_vanishes_whole_is_an_error(folder: Path) -> None:
    run = open_trajectory(folder)
    shutil.rmtree(folder)
    with pytest.raises(SourceError):
        list(run)
    with pytest.raises(SourceError, match="no such file"):
        open_trajectory(folder)


def test_a_pattern_says_where_the_step_stands(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / f"resnet{number}_seed{5 - number}.pt", state(number))
    save(tmp_path / "step3.pt", state(3))
    run = open_trajectory(tmp_path, pattern="resnet*_seed{step}.pt")
    assert (run.steps, values(run)) == ((3, 4), [2, 1])
    assert reasons(run) == {"step3.pt": "does not fit the pattern"}
    assert open_trajectory(tmp_path, pattern=r"t(\d)_").steps == (1, 2)
    with pytest.raises(SourceError, match="does not fit the pattern"):
        open_trajectory(tmp_path, pattern="nothing{step}")


def test_a_pattern_may_name_the_file_in_each_folder(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path / f"step{step}" / "model.pt", state(step))
        save(tmp_path / f"step{step}" / "ema.pt", state(-step))
    assert values(open_trajectory(tmp_path, pattern="step{step}/ema.pt")) == [-1, -2]


def test_a_list_is_put_in_the_order_of_its_steps(folder: Path) -> None:
    run = open_trajectory([folder / "step300.safetensors", str(folder / "step0.safetensors")])
    assert run.steps == (0, 300)
    assert run.source == "checkpoints"


def test_a_list_of_folders_is_told_by_them(tmp_path: Path) -> None:
    for step in (20, 3):
        save(tmp_path / f"step{step}" / "model.safetensors", state(step))
    assert open_trajectory([path / "model.safetensors" for path in tmp_path.iterdir()]).steps == (3, 20)


def test_a_list_that_tells_nothing_keeps_its_order() -> None:
    linear = torch.nn.Linear(4, 2, bias=False)
    run = open_trajectory([{"weight": torch.full((2, 4), 7.0)}, linear, open_checkpoint({"weight": torch.ones(2, 4)})])
    assert (run.unit, run.steps) == ("position", (0, 1, 2))
    assert "in which they were given" in run.notes[0]
    assert [float(checkpoint["weight"][0, 0]) for _, checkpoint in run][::2] == [7, 1]


def test_a_mapping_says_its_steps() -> None:
    run = open_trajectory({300: state(3), 100: state(1)})
    assert (run.steps, values(run), run.sources) == ((100, 300), [1, 3], ("step 100", "step 300"))


def test_layouts_reach_the_checkpoints(tmp_path: Path) -> None:
    np.savez(tmp_path / "step1.npz", kernel=np.zeros((3, 3, 16, 32), np.float32))
    assert open_trajectory(tmp_path, layout="hwio")[0][1].info["kernel"].shape == (32, 16, 3, 3)
    with pytest.raises(ValueError, match="no layout 'chwn'"):
        open_trajectory(tmp_path, layout="chwn")  # type: ignore[arg-type]


def test_a_file_is_no_run(folder: Path) -> None:
    with pytest.raises(SourceError, match="one checkpoint, no run; open it with open_checkpoint"):
        open_trajectory(folder / "step0.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_the_folder_of_one_checkpoint_is_no_run(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, state(1))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SourceError, match=r"one checkpoint \(.*\), and nothing tells its step"):
        open_trajectory(tmp_path)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("timm:resnet18", "a zoo's network"),
        ({"fc.weight": torch.zeros(2, 2)}, "keys are no steps"),
        ({}, "keys are no steps"),
        ({True: state(1)}, "keys are no steps"),
        ([], "an empty list"),
        (torch.nn.Linear(2, 2), "one checkpoint, no run"),
        (open_checkpoint(state(1)), "one checkpoint, no run"),
        (7, "no run"),
        (b"runs", "no run"),
        ("", "an empty name"),
        ([7, 8], "none of its checkpoints can be opened"),
    ],
)
def test_what_is_no_run_is_refused(run: Any, said: str) -> None:  # noqa: ANN401 - whatever a user gives
    with pytest.raises(SourceError, match=said) as caught:
        open_trajectory(run)
    assert "\n" not in str(caught.value)


def test_a_folder_without_checkpoints_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="it holds nothing"):
        open_trajectory(tmp_path)
    for name in ("notes.txt", "train.py"):
        (tmp_path / name).touch()
    (tmp_path / "logs").mkdir()
    with pytest.raises(SourceError, match=r"no checkpoints in it \(it holds notes.txt, train.py and logs/\)"):
        open_trajectory(tmp_path)
    (tmp_path / "step1.pt.tmp").touch()
    with pytest.raises(SourceError, match=r"written to its end \(step1.pt.tmp\); wait for the first one"):
        open_trajectory(tmp_path)


def test_a_run_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / f"step{step}.pt").touch()
    with pytest.raises(SourceError, match=r"none of its checkpoints can be opened \(step1.pt: an empty file\); copy"):
        open_trajectory(tmp_path)


def test_a_run_without_any_order_says_so(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        save(tmp_path / name, state(1))
    with pytest.raises(SourceError, match=r"no order among its 2 checkpoints \(a.pt and b.pt\): .*; give a pattern"):
        open_trajectory(tmp_path)


def test_a_run_of_optimizers_is_none(tmp_path: Path) -> None:
    save(tmp_path / "step1.pt", {"state": {0: {"exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}}})
    with pytest.raises(SourceError, match="an optimizer's state alone"):
        open_trajectory(tmp_path)


def test_hostile_names_stay_in_one_line(tmp_path: Path) -> None:
    save(tmp_path / "step1.pt", state(1))
    save(tmp_path / ("y" * 200 + "_\n\x1b[31m_step1.pt"), state(1))
    (tmp_path / "step3\n.pt").touch()
    run = open_trajectory(tmp_path)
    assert run.steps == (1,)
    assert min(run.skipped, key=lambda skipped: skipped.reason).reason.startswith("cannot be opened (an empty file)")
    (tmp_path / "step1.pt").unlink()
    save(tmp_path / "step2.pt", state(2, width=5))
    with pytest.raises(SourceError, match="different networks") as caught:
        open_trajectory(tmp_path)
    assert str(caught.value).isprintable()


def test_a_hubs_branches_are_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weightatlas.checkpoints.places.locations import locate
    from weightatlas.checkpoints.runs import run_members

    hub = types.ModuleType("hub")
    hub.branches = lambda _text, **_: ("main", "step0", "step300")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weightatlas.checkpoints.places.hub", hub)
    monkeypatch.setattr(
        run_members, "locate", lambda text, **_: locate(str(folder / f"{text.partition('@')[2]}.safetensors"))
    )
    run = open_trajectory("hf://org/repo")
    assert (run.steps, run.source) == ((0, 300), "hf://org/repo")
    assert run.sources == ("hf://org/repo@step0", "hf://org/repo@step300")
    assert reasons(run) == {"hf://org/repo@main": "nothing tells its step"}
    assert run.notes == ("3 of 3 checkpoints were not opened yet: their names alone were read",)
    assert values(run) == [0, 300]


@pytest.fixture
def bucket(folder: Path) -> str:
    """The run in a file system that is reached by URL alone, with one file that is no checkpoint."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.rm("/", recursive=True)
    for path in folder.iterdir():
        memory.pipe(f"/bucket/run/checkpoints/{path.name}", path.read_bytes())
    memory.pipe("/bucket/run/checkpoints/step500.safetensors", b"")
    return "memory://bucket/run"


def test_a_run_behind_a_url_is_opened_on_access(bucket: str) -> None:
    run = open_trajectory(bucket)
    assert run.steps == (0, 100, 200, 300, 400, 500)
    assert values(run[:5]) == [0, 100, 200, 300, 400]
    with pytest.raises(SourceError, match="empty"):
        run.at(500)


SPELT = ("step1.npz", "checkpoint-2.npz", "iter_0000003.npz", "epoch=1-step=4.npz", "step5-tokens1B.npz")


@given(st.permutations(SPELT))
def test_lists_in_any_order_come_out_sorted(names: list[str]) -> None:
    run = open_trajectory([f"s3://bucket/{name}" for name in names])
    assert run.steps == (1, 2, 3, 4, 5)
    assert run.sources == tuple(f"s3://bucket/{name}" for name in SPELT)
