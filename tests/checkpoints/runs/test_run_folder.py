from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints.places.blob import LocalFolder
from weightatlas.checkpoints.runs.run_folder import Level, find_level, finished_name, is_weights
from weightatlas.checkpoints.runs.step_pattern import compile_pattern
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def lay_out(folder: Path, *names: str) -> None:
    """Make empty files, and folders where a name ends with "/"."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()


def level_of(folder: Path, *, is_local: bool = True, pattern: str | None = None) -> Level:
    compiled = compile_pattern(pattern) if pattern else None
    return find_level(LocalFolder(folder), is_local=is_local, pattern=compiled)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("tmp-checkpoint-100", "checkpoint-100"),
        (".tmp-checkpoint-100", "checkpoint-100"),
        ("step100.pt.tmp", "step100.pt"),
        ("step100.pt.tmp-4f2a", "step100.pt"),
        ("step100.safetensors.part", "step100.safetensors"),
        ("step100.safetensors.incomplete", "step100.safetensors"),
        ("100.orbax-checkpoint-tmp-1693", "100"),
        ("iter_0000100_tmp", "iter_0000100"),
        ("step100.pt", "step100.pt"),
        ("temperature-100.pt", "temperature-100.pt"),
        ("part-1.pt", "part-1.pt"),
        ("step100.partial.pt", "step100.partial.pt"),
    ],
)
def test_temporary_names_stand_for_others(name: str, whole: str) -> None:
    assert finished_name(name) == whole


@pytest.mark.parametrize(
    "name", ["a.pt", "A.PTH", "c.weights.h5", "model.pth.tar", "step100", "1000", "x.bin.index.json"]
)
def test_files_of_weights_are_known_by_name(name: str) -> None:
    assert is_weights(name)


SIDECARS = (
    "config.json",
    "events.out.tfevents.1700000000.host",
    "trainer_state.json",
    "latest",
    "train.log",
    "hparams.yaml",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state_0.pth",
    "training_args.bin",
    "random_states_0.pkl",
    "metrics_step100.json",
    "samples_step100.png",
    "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "README.md",
)


@pytest.mark.parametrize("name", SIDECARS)
def test_what_goes_with_weights_is_none(name: str) -> None:
    assert not is_weights(name)


def test_files_and_folders_are_one_checkpoint_each(tmp_path: Path) -> None:
    lay_out(tmp_path, "step1.pt", "step2/model.safetensors", "final/pytorch_model.bin", "logs/out.txt", ".cache/x.pt")
    lay_out(tmp_path, *SIDECARS, ".step3.pt")
    level = level_of(tmp_path)
    assert (level.files, level.folders, level.skipped) == (("step1.pt",), ("final", "step2"), ())


def test_what_is_still_being_written_is_said(tmp_path: Path) -> None:
    lay_out(tmp_path, "step1.pt", "step2.pt.tmp", "tmp-checkpoint-3/", ".tmp-checkpoint-4/", "cache.tmp", "tmp-x/")
    level = level_of(tmp_path)
    assert level.names == ("step1.pt",)
    assert {skipped.name for skipped in level.skipped} == {"step2.pt.tmp", "tmp-checkpoint-3", ".tmp-checkpoint-4"}
    assert {skipped.reason for skipped in level.skipped} == {
        "cannot be opened (a temporary name): still being written?"
    }


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    lay_out(tmp_path, *shards, "checkpoint-5/model.safetensors")
    assert level_of(tmp_path).names == (".", "checkpoint-5")
    lay_out(tmp_path, "model.safetensors.index.json")
    assert level_of(tmp_path).names == ("model.safetensors.index.json", "checkpoint-5")


@pytest.mark.parametrize("inner", ["checkpoints", "lightning_logs/version_0/checkpoints", "out/ckpt", "a/b"])
def test_the_only_folder_with_a_run_is_found(tmp_path: Path, inner: str) -> None:
    lay_out(tmp_path, "config.json", "logs/", f"{inner}/step1.pt", f"{inner}/step2.pt")
    level = level_of(tmp_path)
    assert level.names == ("step1.pt", "step2.pt")
    assert level.note == f"the checkpoints were found in {tmp_path / inner}"


def test_what_lies_beside_the_run_is_said(tmp_path: Path) -> None:
    lay_out(tmp_path, "last.ckpt", "checkpoints/step1.pt")
    level = level_of(tmp_path)
    assert level.names == ("step1.pt",)
    assert [(skipped.name, skipped.reason) for skipped in level.skipped] == [
        ("last.ckpt", "lies beside checkpoints/, which holds the run")
    ]


def test_the_optimizers_folder_beside_the_run_goes_by_without_a_word(tmp_path: Path) -> None:
    lay_out(tmp_path, "manifest.json", "checkpoints/step-00000001.safetensors", "optimizer/step-00000001.safetensors")
    level = level_of(tmp_path)
    assert (level.names, level.skipped) == (("step-00000001.safetensors",), ())


def test_several_runs_are_refused(tmp_path: Path) -> None:
    lay_out(tmp_path, "version_0/checkpoints/step1.pt", "version_1/checkpoints/step1.pt")
    with pytest.raises(SourceError, match=r"2 runs \(version_0/ and version_1/\); give one of them"):
        level_of(tmp_path)


def test_behind_a_url_only_usual_folders_are_looked_into(tmp_path: Path) -> None:
    lay_out(tmp_path, "mine/step1.pt", "final/model.safetensors")
    assert level_of(tmp_path, is_local=False).names == ()
    lay_out(tmp_path, "checkpoints/step1.pt")
    assert level_of(tmp_path, is_local=False).names == ("step1.pt",)


def test_a_folder_whose_names_tell_nothing_is_taken_as_it_is(tmp_path: Path) -> None:
    lay_out(tmp_path, "a.pt", "best/model.safetensors")
    assert level_of(tmp_path).names == ("a.pt", "best")


def test_whatever_fits_the_pattern_counts(tmp_path: Path) -> None:
    lay_out(tmp_path, "sub/a7.dat", "sub/a8.dat", "sub/a8.txt")
    assert level_of(tmp_path, pattern="a{step}.dat").names == ("a7.dat", "a8.dat")


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    lay_out(tmp_path, "elsewhere/step1.pt", "run/")
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    assert level_of(tmp_path / "run").names == ()


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the folder cannot be read"):
        level_of(tmp_path / "gone")
