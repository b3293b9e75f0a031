from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from weightatlas.checkpoints import Checkpoint, Trajectory, open_checkpoint
from weightatlas.cli.sources import opened
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def write(folder: Path, steps: Sequence[int]) -> Path:
    folder.mkdir()
    for step in steps:
        save_file({"conv1.weight": torch.full((4, 3, 5, 5), float(step))}, folder / f"step{step}.safetensors")
    return folder


def test_a_file_is_one_checkpoint_and_a_folder_of_steps_is_a_run(tmp_path: Path) -> None:
    run = write(tmp_path / "run", (20, 3, 100))
    found = opened(str(run), "oihw")
    assert isinstance(found, Trajectory)
    assert list(found.steps) == [3, 20, 100]
    one = opened(str(run / "step20.safetensors"), "oihw")
    assert isinstance(one, Checkpoint)
    assert float(one["conv1.weight"].mean()) == 20.0


def test_a_folder_of_one_checkpoint_is_no_run(tmp_path: Path) -> None:
    assert isinstance(opened(str(write(tmp_path / "alone", (7,))), "oihw"), Checkpoint)


def test_a_run_that_kept_one_checkpoint_is_that_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("{}\n")
    write(run / "checkpoints", (7,))
    found = opened(str(run), "oihw")
    assert isinstance(found, Checkpoint)
    assert float(found["conv1.weight"].mean()) == 7.0


@pytest.mark.parametrize("content", [None, b"", b"no weights at all"])
def test_what_is_neither_is_refused_as_a_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError) as expected:
        open_checkpoint(str(path))
    with pytest.raises(SourceError) as found:
        opened(str(path), "oihw")
    assert str(found.value) == str(expected.value)
    assert found.value.__cause__ is None


def test_an_empty_folder_is_refused_as_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as expected:
        open_checkpoint(str(tmp_path))
    with pytest.raises(SourceError) as found:
        opened(str(tmp_path), "oihw")
    assert str(found.value) == str(expected.value)


def test_the_layout_reaches_a_checkpoint_and_the_checkpoints_of_a_run(tmp_path: Path) -> None:
    for step in (1, 2):
        arrays: dict[str, Any] = {"conv1.weight": np.zeros((5, 5, 3, 4), np.float32)}
        np.savez(tmp_path / f"step{step}.npz", **arrays)
    one = opened(str(tmp_path / "step1.npz"), "hwio")
    run = opened(str(tmp_path), "hwio")
    assert isinstance(one, Checkpoint)
    assert isinstance(run, Trajectory)
    for checkpoint in (one, run.at(2)):
        assert tuple(checkpoint["conv1.weight"].shape) == (4, 3, 5, 5)
