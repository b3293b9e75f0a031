from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from weightatlas.banding import survey
from weightatlas.lab import Demo, demo

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("upright", "turned", "control")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return demo(tmp_path_factory.mktemp("short"), steps=3, jobs=2)


def test_each_network_is_kept_with_what_made_it(short: Demo) -> None:
    assert tuple(network.name for network in short.networks) == NAMES
    for network in short.networks:
        state = load_file(network.path)
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.model.state_dict().items())
        with safe_open(network.path, framework="pt") as file:
            record = json.loads(file.metadata()["training"])
        assert record["seed"] == 0
        assert record["recipe"]["steps"] == 3
        assert record["scenes"]["label"] == {"upright": "top", "turned": "left", "control": "set"}[network.name]
        assert record["accuracy"] == network.run.accuracy
        assert record["losses"] == network.run.losses.tolist()
        assert not network.model.training
        assert not network.reused


def test_the_networks_start_alike_and_differ_by_their_question_alone(short: Demo) -> None:
    assert short.upright.run.losses[0] != short.turned.run.losses[0]
    kernels = [network.model.get_parameter("conv5b.weight").detach() for network in short.networks]
    assert float((kernels[0] - kernels[1]).abs().max()) < 0.05, "three small steps away from the same first weights"
    assert not torch.equal(kernels[0], kernels[1])


def test_the_same_seed_gives_the_same_bytes_however_many_train_at_once(short: Demo, tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    demo(tmp_path / "one", steps=3, jobs=1)
    demo(tmp_path / "three", steps=3, jobs=3)
    demo(tmp_path / "other", steps=3, jobs=3, seed=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "three") == contents(short.upright.path.parent)
    assert contents(tmp_path / "one") != contents(tmp_path / "other")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_identical_run_is_read_back_and_any_other_trained(short: Demo, tmp_path: Path) -> None:
    demo(tmp_path, steps=3)
    heard: list[tuple[int, int, str]] = []
    again = demo(tmp_path, steps=3, jobs=1, progress=lambda *report: heard.append(report))
    for first, second in zip(short.networks, again.networks, strict=True):
        assert second.reused
        assert second.run.accuracy == first.run.accuracy
        assert second.run.seconds is None
        np.testing.assert_array_equal(second.run.losses, first.run.losses)
        assert torch.equal(second.model.get_parameter("conv5b.weight"), first.model.get_parameter("conv5b.weight"))
        assert not second.model.training
    assert [(done, total) for done, total, _ in heard] == [(3, 9), (6, 9), (9, 9)]
    assert not any(network.reused for network in demo(tmp_path, steps=4).networks)
    assert not any(network.reused for network in demo(tmp_path, steps=4, seed=1).networks)


def test_a_file_that_is_not_whole_or_not_ours_is_trained_again(short: Demo, tmp_path: Path) -> None:
    demo(tmp_path, steps=3)
    upright, turned, control = (tmp_path / f"{name}.safetensors" for name in NAMES)
    upright.write_bytes(upright.read_bytes()[:-100])
    with safe_open(turned, framework="pt") as file:
        metadata = file.metadata()
    save_file({"conv5b.weight": torch.zeros(2)}, turned, metadata=metadata)
    save_file(load_file(control), control)
    again = demo(tmp_path, steps=3)
    assert not any(network.reused for network in again.networks)
    assert contents(tmp_path) == contents(short.upright.path.parent)


def test_progress_counts_the_steps_of_all_networks(tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    demo(tmp_path, steps=2, progress=lambda *report: heard.append(report))
    assert [(done, total) for done, total, _ in heard] == [(done, 6) for done in range(1, 7)]
    assert {label.split(":")[0] for *_, label in heard} == set(NAMES)


def test_an_interruption_stops_every_network(tmp_path: Path) -> None:
    heard: list[int] = []

    def interrupt(done: int, total: int, label: str) -> None:
        assert (total, label != "") == (1200, True)
        heard.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path, steps=400, jobs=2, progress=interrupt)
    count = len(heard)
    time.sleep(0.5)
    assert len(heard) == count < 20
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_bands_follow_the_question_and_the_control_has_none(seed: int, tmp_path: Path) -> None:
    found = {}
    for network in demo(tmp_path, seed=seed, steps=120).networks:
        assert network.run.accuracy is not None
        assert network.run.accuracy > 0.95, "what was not learnt shows nothing"
        layers = survey(network.model, with_slides=False).scored
        found[network.name] = {layer.layer: layer.direction for layer in layers}
    assert all(found["upright"][layer] == "horizontal" for layer in ("conv5a", "conv5b"))
    assert all(found["turned"][layer] == "vertical" for layer in ("conv5a", "conv5b"))
    assert set(found["control"].values()) == {"none"}


@pytest.mark.slow
def test_a_killed_demo_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    code = f"from weightatlas.lab import demo; demo({str(tmp_path)!r}, steps=20, jobs=1)"
    child = subprocess.Popen([sys.executable, "-c", code])  # noqa: S603 - our own interpreter and code
    deadline = time.monotonic() + 120
    while not (tmp_path / "upright.safetensors").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    child.kill()
    assert child.wait() != 0, "killed before its end"
    load_file(tmp_path / "upright.safetensors")
    again = demo(tmp_path, steps=20)
    assert again.upright.reused
    assert not again.control.reused
