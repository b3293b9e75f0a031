"""Two processes train what one would: the same batches, the same weights to rounding, and end together."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from weightatlas.lab import Configuration, Devices, Recipe, RunFolder, run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for prefix in ("", "test_"):
        targets = np.arange(300) % 3
        pixels = generator.integers(0, 128, size=(300, 3, 8, 8), dtype=np.uint8)
        pixels[np.arange(300), targets] += 100
        arrays |= {f"{prefix}inputs": pixels, f"{prefix}targets": targets}
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, **arrays)
    return str(path)


def configured(data: str, *, norm: bool = False, **more: Any) -> Configuration:  # noqa: ANN401 - handed on
    settings: dict[str, Any] = {"steps": 12, "optimizer": "sgd", "learning_rate": 0.05, "precision": "64-true"} | more
    model = f"tests.lab.small_runs:convolutional?norm={str(norm).lower()}"
    return Configuration(model=model, data=data, recipe=Recipe(**settings), keep="log")


def started(*arguments: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """What a program came to that starts a second process, or is started by torchrun; one that hangs is an error."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))}
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *arguments],
        cwd=ROOT,
        env=inherited | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=before,
    )


def two_processes(
    tmp_path: Path, runs: dict[str, Configuration], *launcher: str, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "runs.json"
    file.write_text(json.dumps({str(tmp_path / name): each.to_dict() for name, each in runs.items()}))
    return started(*launcher, str(ROOT / "tests" / "lab" / "run_all.py"), str(file), "2", before=before)


def assert_the_same(tmp_path: Path, name: str, configuration: Configuration) -> None:
    together, alone = RunFolder(tmp_path / name), RunFolder(tmp_path / f"{name}-alone")
    one = run(configuration, alone.path, devices=Devices(accelerator="cpu"))
    assert together.saved() == alone.saved() == (12,)
    for step in (0, 1, 2, 4, 8, 12):
        expected, got = load_file(alone.checkpoint(step)), load_file(together.checkpoint(step))
        assert expected.keys() == got.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(got[key], tensor, rtol=1e-10, atol=1e-12, msg=f"{name}, step {step}: {key}")
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-10)
    result = together.result() or {}
    assert (result["test_accuracy"], result["train_accuracy"]) == (one.test_accuracy, one.train_accuracy)
    assert result["test_loss"] == pytest.approx(one.test_loss, rel=1e-9)


def losses(folder: RunFolder) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in folder.rows() if "loss" in row]


def stop_at_six(_row: object, step: int) -> None:
    if step == 6:
        raise KeyboardInterrupt


def test_under_torchrun_the_weights_are_those_of_one_process(tmp_path: Path, data: str) -> None:
    runs = {
        "even": configured(data, batch_size=16),
        "odd": configured(data, batch_size=13),
        "accumulated": configured(data, batch_size=13, accumulate=3, clip=0.5, label_smoothing=0.1),
        "norm": configured(data, batch_size=13, norm=True, synchronise=True),
        "norm-last": configured(data, batch_size=26, norm=True, synchronise=True, channels_last=True),
        "auxiliary": replace(configured(data, batch_size=16), model="tests.lab.small_runs:with_auxiliary"),
        "loose": configured(data, batch_size=16, norm=True),
        "resumed": configured(data, batch_size=16),
    }
    with pytest.raises(KeyboardInterrupt):
        run(runs["resumed"], tmp_path / "resumed", devices=Devices(accelerator="cpu"), loggers=(stop_at_six,))
    done = two_processes(tmp_path, runs, *TORCHRUN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""
    for name, configuration in runs.items():
        if name != "loose":
            assert_the_same(tmp_path, name, configuration)
    with pytest.raises(AssertionError, match="loose, step 1"):  # what synchronising is for
        assert_the_same(tmp_path, "loose", runs["loose"])


def test_the_command_line_starts_the_second_process_itself(tmp_path: Path, data: str) -> None:
    configuration = configured(data, batch_size=13)
    options = {
        "model": configuration.model,
        "data": data,
        "folder": str(tmp_path / "told"),
        "keep": "log",
        "devices": "2",
        "accelerator": "cpu",
        "steps": "12",
        "optimizer": "sgd",
        "learning-rate": "0.05",
        "precision": "64-true",
        "batch-size": "13",
        "format": "json",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = started("-m", "weightatlas", "train", *words, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    assert row["steps"] == 12
    assert_the_same(tmp_path, "told", configuration)
    manifest = json.loads((tmp_path / "told" / "manifest.json").read_text())
    assert manifest["machine"]["processes"] == 2


def test_a_folder_that_cannot_be_written_ends_both(tmp_path: Path, data: str) -> None:
    (tmp_path / "run").write_text("a file, where the folder should be")
    done = two_processes(tmp_path, {"run": configured(data, batch_size=16)}, *TORCHRUN)
    assert done.returncode != 0
    for number in (0, 1):
        assert f"process {number}: {tmp_path / 'run'}: it is a file; name a folder" in done.stderr


def small_files_only() -> None:
    """What a full disk is to a process: files that grow beyond a limit are refused (EFBIG)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))


def test_a_disk_that_fills_ends_both(tmp_path: Path, data: str) -> None:
    done = two_processes(tmp_path, {"run": configured(data, batch_size=16, steps=300)}, before=small_files_only)
    assert done.returncode != 0
    folder = RunFolder(tmp_path / "run")
    last = folder.saved()[-1]
    assert f"no space is left for its metrics; its last good checkpoint is of step {last}; make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert load_file(folder.checkpoint(last)).keys() == load_file(folder.checkpoint(0)).keys()
