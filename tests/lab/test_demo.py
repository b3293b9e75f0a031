from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file

from weightatlas.banding import survey
from weightatlas.errors import SourceError
from weightatlas.lab import Demo, demo

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("upright", "turned", "control")


def weights(demonstration: Demo) -> list[bytes]:
    return [network.path.read_bytes() for network in demonstration.networks]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return demo(tmp_path_factory.mktemp("short"), steps=3, jobs=1)


def test_each_network_is_kept_with_what_made_it(short: Demo) -> None:
    assert tuple(network.name for network in short.networks) == NAMES
    for network in short.networks:
        assert network.path.read_bytes() == network.run.checkpoint.read_bytes()
        manifest = json.loads((network.run.folder / "manifest.json").read_text())
        assert manifest["configuration"]["recipe"]["steps"] == 3
        assert manifest["configuration"]["seed"] == 0
        assert not network.run.reused
    assert short.turned.run.configuration.augmentation.rotate == "90"
    assert short.control.run.configuration.data == "scenes?label=set"


def test_the_networks_start_alike_and_differ_by_what_they_see_alone(short: Demo) -> None:
    kernels = [load_file(network.path)["conv5b.weight"] for network in short.networks]
    assert 0 < float((kernels[0] - kernels[1]).abs().max()) < 0.05, "three small steps from the same first weights"


def test_the_same_seed_gives_the_same_bytes_however_many_train_at_once(short: Demo, tmp_path: Path) -> None:
    together = demo(tmp_path / "three", steps=3, jobs=3)
    assert weights(together) == weights(short)
    assert weights(demo(tmp_path / "other", steps=3, jobs=1, seed=1)) != weights(short)


def test_an_identical_demo_is_read_back_and_another_refused(short: Demo) -> None:
    folder = short.upright.path.parent
    before = weights(short)
    again = demo(folder, steps=3, jobs=1)
    assert all(network.run.reused for network in again.networks)
    assert weights(again) == before
    with pytest.raises(SourceError, match="another configuration"):
        demo(folder, steps=4)


def test_progress_counts_the_steps_of_all_networks(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    demo(tmp_path, steps=2, jobs=1, progress=lambda done, total, _label: heard.append((done, total)))
    assert heard[-1] == (6, 6)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_bands_follow_the_question_and_the_control_has_none(seed: int, tmp_path: Path) -> None:
    found = {}
    for network in demo(tmp_path, seed=seed, steps=120).networks:
        assert network.run.test_accuracy is not None
        assert network.run.test_accuracy > 0.95, "what was not learnt shows nothing"
        layers = survey(str(network.path), with_slides=False).scored
        found[network.name] = {layer.layer: layer.direction for layer in layers}
    assert all(found["upright"][layer] == "horizontal" for layer in ("conv5a", "conv5b"))
    assert all(found["turned"][layer] == "vertical" for layer in ("conv5a", "conv5b"))
    assert set(found["control"].values()) == {"none"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_demo_goes_on_to_the_same_bytes(number: signal.Signals, tmp_path: Path) -> None:
    waiting = "progress=lambda done, *_: time.sleep(120 if done > 60 else 0)"  # in the second network, until the signal
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored where the tests run in the background
    code = f"import signal, time; {heard}; from weightatlas.lab import demo"
    code = f"{code}; demo({str(tmp_path)!r}, steps=40, jobs=1, {waiting})"
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)  # noqa: S603 - our own code
    metrics = tmp_path / "runs" / "rotated-90" / "seed-0" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, number)
    assert child.wait() != 0, "stopped before its end"
    again = demo(tmp_path, steps=40, jobs=1)
    assert again.upright.run.reused
    assert not again.control.run.reused
    assert weights(again) == weights(demo(tmp_path.with_name(f"{tmp_path.name}-whole"), steps=40, jobs=1))
