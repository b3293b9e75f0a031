from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants

from tests.servers.checkpoints import write_sparse
from tests.servers.hub import COMMIT, HubServer
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places import network_errors
from weightatlas.checkpoints.places.hub import branches
from weightatlas.checkpoints.places.hub_cache import repository_folder
from weightatlas.checkpoints.places.recent_blocks import BLOCK
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIDE = 1000
SESAME = "hf_sesame"
NOT_THE_HUB = "http://127.0.0.1:9"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own, no token of the user's."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(network_errors, "PAUSES", (0.0, 0.0, 0.0))
    return tmp_path / "hub"


@pytest.fixture
def hub(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    assert not cache.exists()
    folder = tmp_path / "served"
    write_sparse(folder, shards=3, tensors=2, side=SIDE)
    write_sparse(folder / "step 1", shards=1, tensors=1, side=10)
    with HubServer(folder) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        yield server


def refusal(address: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(address)
    assert "\n" not in str(caught.value)
    return caught.value


def calls(hub: HubServer) -> list[str]:
    return [path for _, path, _ in hub.requests if path.startswith("/api/models/")]


def test_a_repository_is_listed_by_one_call_and_its_headers(hub: HubServer) -> None:
    checkpoint = open_checkpoint("hf://atlas/tiny")
    assert len(checkpoint) == 6
    assert len(calls(hub)) == 1
    assert sum(bool(asked) for _, _, asked in hub.requests) == 4  # the index and three headers
    assert hub.sent <= 4 * BLOCK
    assert checkpoint.info["model.layers.0.mlp.weight"].file == "hf://atlas/tiny/model-00001-of-00003.safetensors"
    hub.forget()
    assert checkpoint["model.layers.3.mlp.weight"].sum() == 4
    assert hub.sent == 4 * SIDE * SIDE


@pytest.mark.parametrize(
    ("address", "tensors"),
    [
        ("hf://atlas/tiny@main", 6),
        ("hf://models/atlas/tiny", 6),
        ("hf://atlas/tiny@step1000", 6),
        ("hf://atlas/tiny@step%2F2000", 6),
        (f"hf://atlas/tiny@{COMMIT}/", 6),
        ("hf://atlas/tiny/model.safetensors.index.json", 6),
        ("hf://atlas/tiny@v1/model-00002-of-00003.safetensors", 2),
        ("hf://atlas/tiny/step 1", 1),
        ("hf://atlas/tiny@v1/step 1/model.safetensors.index.json", 1),
    ],
)
def test_revisions_folders_and_files_are_named(address: str, tensors: int, hub: HubServer) -> None:
    checkpoint = open_checkpoint(address)
    assert len(checkpoint) == tensors
    assert all(path.startswith((f"/atlas/tiny/resolve/{COMMIT}/", "/api/")) for _, path, _ in hub.requests)
    assert next(iter(checkpoint.values())).sum() > 0


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("hf://atlas/tiny@nothing", "the repository has no revision 'nothing'"),
        ("hf://atlas/nothing", "no such repository, or a private one"),
        ("hf://atlas/tiny/nothing.pt", "the repository holds no such file"),
        ("hf://datasets/atlas/tiny", "an address of the Hub's datasets, which hold no networks"),
        ("hf://spaces/atlas/tiny", "an address of the Hub's spaces, which hold no networks"),
        ("hf://tiny", "no address of a repository"),
        ("hf://", "no address of a repository"),
        ("hf://atlas/tiny/../other", "no address of a file in a repository"),
        ("hf://atlas/tiny@", "no address of a repository"),
        ("hf://../tiny", "no address of a repository"),
        ("hf://atlas/ti\nny", "no address of a repository"),
    ],
)
def test_what_is_not_there_is_said(address: str, problem: str, hub: HubServer) -> None:
    assert hub.url
    assert refusal(address).problem == problem


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        (403, "GatedRepo", "a gated repository"),
        (401, "RepoNotFound", "no such repository, or a private one"),
        (403, "", "denies access"),
        (500, "", "answers 500, 4 times"),
        (429, "", "answers 429, 4 times"),
        (200, "", "cannot be read"),
    ],
)
def test_a_hub_that_refuses_is_said(status: int, code: str, problem: str, hub: HubServer) -> None:
    hub.refusal = (status, code)
    assert problem in refusal("hf://atlas/tiny").problem


def test_a_hub_that_is_silent_is_not_waited_for(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_errors, "SECONDS", 0.3)
    hub.silent = True
    for ask in (open_checkpoint, branches):
        with pytest.raises(SourceError, match="does not answer in time"):
            ask("hf://atlas/tiny")


def test_the_token_goes_to_the_hub(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = SESAME
    assert "set HF_TOKEN" in refusal("hf://atlas/tiny").remedy
    assert len(open_checkpoint("hf://atlas/tiny", storage_options={"token": SESAME})) == 6
    monkeypatch.setenv("HF_TOKEN", SESAME)
    assert len(open_checkpoint("hf://atlas/tiny")) == 6


def test_a_hub_that_is_not_reached_is_said(cache: Path) -> None:
    assert not cache.exists()
    with pytest.raises(SourceError, match="cannot be reached"):
        open_checkpoint("hf://atlas/tiny", storage_options={"endpoint": NOT_THE_HUB})


def fill(cache: Path, commit: str = COMMIT) -> Path:
    repository = repository_folder(cache, "atlas/tiny")
    write_sparse(repository / "snapshots" / commit, shards=3, tensors=2, side=10)
    (repository / "refs").mkdir()
    for name in ("main", "step1000"):
        (repository / "refs" / name).write_text(commit)
    return repository / "snapshots" / commit


def test_a_whole_snapshot_in_the_cache_asks_the_hub_nothing(hub: HubServer, cache: Path) -> None:
    snapshot = fill(cache)
    for address in ("hf://atlas/tiny", f"hf://atlas/tiny@{COMMIT}", "hf://atlas/tiny@step1000"):
        checkpoint = open_checkpoint(address)
        assert all(info.file.startswith(str(snapshot)) for info in checkpoint.info.values())
    assert not hub.requests
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    checkpoint = open_checkpoint("hf://atlas/tiny")
    assert all(info.file.startswith("hf://") for info in checkpoint.info.values())


def test_offline_the_cache_is_all_there_is(hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for ask in (open_checkpoint, branches):
        with pytest.raises(SourceError, match="not in the Hub cache, and HF_HUB_OFFLINE is set; unset it"):
            ask("hf://atlas/tiny")
    snapshot = fill(cache)
    assert len(open_checkpoint("hf://atlas/tiny")) == 6
    assert branches("hf://atlas/tiny") == ("main", "step1000")
    assert "which has main, step1000" in refusal("hf://atlas/tiny@v1").problem
    (snapshot / "model.safetensors.index.json").unlink()
    (snapshot / "model-00001-of-00003.safetensors").unlink()
    assert "not whole in the Hub cache" in refusal("hf://atlas/tiny").problem
    assert not hub.requests


def test_the_hubs_own_variables_are_heeded(hub: HubServer, tmp_path: Path) -> None:
    script = "from weightatlas.checkpoints import open_checkpoint; print(len(open_checkpoint('hf://atlas/tiny')))"
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": SESAME, "HF_HOME": str(tmp_path / "home")}
    hub.token = SESAME
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | settings
    assert run(script, environment) == (0, "6\n", "")
    assert "HF_HUB_OFFLINE is set" in run(script, environment | {"HF_HUB_OFFLINE": "1"})[2]


def run(script: str, environment: dict[str, str]) -> tuple[int, str, str]:
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    return done.returncode, done.stdout, done.stderr


def test_branches_come_before_tags(hub: HubServer) -> None:
    assert branches("hf://atlas/tiny") == ("main", "step/2000", "step1000", "v1")
    assert calls(hub) == ["/api/models/atlas/tiny/refs"]


def test_the_pip_line_is_said_where_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"huggingface_hub is not installed.*weightatlas\[remote\]"):
        open_checkpoint("hf://atlas/tiny")
