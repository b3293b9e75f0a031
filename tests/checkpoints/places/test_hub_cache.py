from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.servers.checkpoints import write_sparse
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places.blob import Blob, LocalFolder
from weightatlas.checkpoints.places.hub_cache import cache_snapshot, cached, references, repository_folder, snapshot_of
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A cache folder as huggingface_hub makes it: blobs, two snapshots of links to them, and references."""
    folder = repository_folder(tmp_path / "hub", "atlas/tiny")
    write_sparse(folder / "blobs", shards=3, tensors=2, side=10)
    for commit in (FIRST, SECOND):
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for blob in (folder / "blobs").iterdir():
            (snapshot / blob.name).symlink_to(f"../../blobs/{blob.name}")
        os.utime(snapshot, (1, 1))
    for name, commit in (("main", FIRST), ("step1000", SECOND), ("step/2000", SECOND)):
        reference = folder / "refs" / name
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    return folder


def test_references_are_branches_with_their_commits(repository: Path) -> None:
    assert references(repository) == {"main": FIRST, "step/2000": SECOND, "step1000": SECOND}
    assert references(repository.parent / "models--atlas--none") == {}


def test_a_reference_that_names_no_commit_is_left_out(repository: Path) -> None:
    (repository / "refs" / "evil").write_text("../../../../etc")
    (repository / "refs" / "empty").touch()
    (repository / "refs" / "link").symlink_to(repository / "refs" / "main")
    assert list(references(repository)) == ["main", "step/2000", "step1000"]


@pytest.mark.parametrize(
    ("revision", "commit"), [("main", FIRST), ("step1000", SECOND), (SECOND, SECOND), ("v9", None), ("c" * 40, None)]
)
def test_a_revision_leads_to_its_snapshot(revision: str, commit: str | None, repository: Path) -> None:
    assert snapshot_of(repository, revision) == (repository / "snapshots" / commit if commit else None)


def test_a_snapshot_is_used_where_it_holds_all_that_its_index_names(repository: Path) -> None:
    snapshot = repository / "snapshots" / FIRST
    assert cached(snapshot, "") is not None
    assert isinstance(cached(snapshot, "model-00002-of-00003.safetensors"), Blob)
    assert cached(snapshot, "other.safetensors") is None
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    assert cached(snapshot, "") is None
    assert cached(snapshot, "model.safetensors.index.json") is None
    assert cached(snapshot, "model-00001-of-00003.safetensors") is not None
    (snapshot / "model.safetensors.index.json").unlink()
    assert cached(snapshot, "") is None  # two of three shards
    for name in ("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"):
        (snapshot / name).unlink()
    assert cached(snapshot, "") is None  # nothing


def test_a_repositorys_folder_stands_for_the_snapshot_of_main(repository: Path) -> None:
    checkpoint = open_checkpoint(repository)
    assert len(checkpoint) == 6
    assert "the Hub cache's snapshot of main was taken, aaaaaaaaaaaa" in checkpoint.notes
    assert all(FIRST in info.file for info in checkpoint.info.values())


def test_without_main_it_stands_for_the_newest_snapshot(repository: Path) -> None:
    (repository / "refs" / "main").unlink()
    os.utime(repository / "snapshots" / SECOND, (2, 2))
    assert "the newest of 2 snapshots in the Hub cache was taken, bbbbbbbbbbbb" in open_checkpoint(repository).notes
    shutil.rmtree(repository / "snapshots" / FIRST)
    assert "the only snapshot in the Hub cache was taken, bbbbbbbbbbbb" in open_checkpoint(repository).notes


def test_other_folders_are_left_alone(repository: Path) -> None:
    assert cache_snapshot(LocalFolder(repository.parent)) is None
    assert cache_snapshot(LocalFolder(repository / "snapshots" / FIRST)) is None
    (repository.parent / "models--mine").mkdir()
    assert cache_snapshot(LocalFolder(repository.parent / "models--mine")) is None


def test_a_repository_without_snapshots_is_said(tmp_path: Path) -> None:
    (tmp_path / "models--a--b" / "snapshots").mkdir(parents=True)
    with pytest.raises(SourceError, match="without a snapshot; download it again"):
        open_checkpoint(tmp_path / "models--a--b")


def test_a_link_that_leaves_the_repository_is_refused(repository: Path, tmp_path: Path) -> None:
    shard = repository / "snapshots" / FIRST / "model-00002-of-00003.safetensors"
    (tmp_path / "secret").write_bytes(shard.read_bytes())
    shard.unlink()
    shard.symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError, match="a link that leaves the folder"):
        open_checkpoint(repository)
