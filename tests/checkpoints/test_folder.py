from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Two shards and their index, as `save_pretrained` writes them."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    tensors = {f"model.layers.{number}.mlp.weight": torch.full((2, 3), float(number)) for number in range(12)}
    tensors["lm_head.weight"] = torch.ones(5, 2)
    names = list(tensors)
    owners = {name: SHARDS[number > 5] for number, name in enumerate(names)}
    for shard in SHARDS:
        safetensors.torch.save_file({name: tensors[name] for name in names if owners[name] == shard}, folder / shard)
    (folder / "config.json").write_text("{}")
    write_index(folder, owners)
    return folder


def write_index(folder: Path, owners: Any) -> None:  # noqa: ANN401 - wrong ones too
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": owners}))


def read_index(folder: Path) -> dict[str, str]:
    owners: dict[str, str] = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    return owners


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)
    return caught.value.problem


def test_shards_are_one_checkpoint_with_and_without_their_index(sharded: Path) -> None:
    with_index = open_checkpoint(sharded)
    by_index = open_checkpoint(sharded / "model.safetensors.index.json")
    (sharded / "model.safetensors.index.json").unlink()
    without = open_checkpoint(sharded)
    assert list(with_index) == list(without) == list(by_index)
    assert len(with_index) == 13
    for number in range(12):
        assert (with_index[f"model.layers.{number}.mlp.weight"] == number).all()
    assert with_index.file_format == "safetensors, 2 files"
    assert {info.file for info in without.info.values()} == {str(sharded / shard) for shard in SHARDS}


def test_a_shard_that_is_missing_is_named(sharded: Path) -> None:
    (sharded / SHARDS[1]).unlink()
    assert SHARDS[1] in refusal(sharded)
    (sharded / "model.safetensors.index.json").unlink()
    assert SHARDS[1] in refusal(sharded)


@pytest.mark.parametrize("shard", ["../evil.safetensors", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "", "a\0b"])
def test_an_index_that_leaves_its_folder_is_refused_unopened(shard: str, sharded: Path) -> None:
    shutil.copy(sharded / SHARDS[0], sharded.parent / "evil.safetensors")
    write_index(sharded, read_index(sharded) | {"x": shard})
    assert "outside its folder" in refusal(sharded)


def test_a_promise_that_a_shard_does_not_keep_is_named(sharded: Path) -> None:
    write_index(sharded, read_index(sharded) | {"model.norm.weight": SHARDS[0]})
    assert "model.norm.weight" in refusal(sharded)
    write_index(sharded, read_index(sharded) | {"model.norm.weight": SHARDS[0], "lm_head.weight": SHARDS[0]})
    assert "should be in" in refusal(sharded)


@pytest.mark.parametrize("owners", [None, [], {}, {"a": 3}, "x"])
def test_an_index_without_a_map_is_refused(owners: object, sharded: Path) -> None:
    write_index(sharded, owners)
    assert "index" in refusal(sharded)


def test_an_index_that_is_no_json_is_refused(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_bytes(b"\xff{")
    assert "index" in refusal(sharded)
    (sharded / "model.safetensors.index.json").write_text("[" * 100_000)
    assert "index" in refusal(sharded)


def test_one_name_in_two_shards_is_refused_without_an_index_to_decide(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    shutil.copy(sharded / SHARDS[0], sharded / SHARDS[1])
    assert "two shards" in refusal(sharded)


def test_a_folder_with_one_file_of_weights_is_that_file(files: dict[str, Path], tmp_path: Path) -> None:
    for name, target in (("zip.pt", "pytorch_model.bin"), ("one.safetensors", "weights.safetensors")):
        shutil.copy(files[name], tmp_path / target)
        assert len(open_checkpoint(tmp_path)) == 5  # the second time there are two, and safetensors is taken


def test_a_folder_with_several_names_them(files: dict[str, Path], tmp_path: Path) -> None:
    for target in ("a.pt", "b.pt"):
        shutil.copy(files["zip.pt"], tmp_path / target)
    assert "a.pt, b.pt" in refusal(tmp_path)


def test_a_folder_without_weights_says_what_is_there(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "an empty folder"
    (tmp_path / "notes.txt").touch()
    (tmp_path / "step-1").mkdir()
    assert "notes.txt, step-1/" in refusal(tmp_path)


def test_a_hubs_cache_of_links_opens(sharded: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--x--y"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    sharded.rename(repository / "blobs")
    for file in (repository / "blobs").iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    assert len(open_checkpoint(snapshot)) == 13
