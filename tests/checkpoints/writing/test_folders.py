"""Folders with other values: shards and what lies beside them, parts that processes saved, elements in other files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from weightatlas.checkpoints import open_checkpoint, write_like
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

SHARDS = {
    "model-00001-of-00002.safetensors": {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3)},
    "model-00002-of-00002.safetensors": {"b.weight": torch.randn(2, 3).bfloat16()},
}


@pytest.fixture(name="hub")
def fixture_hub(tmp_path: Path) -> Path:
    """A Hugging Face folder with two shards, words, and the same weights in another format."""
    folder = tmp_path / "hub"
    folder.mkdir()
    owners: dict[str, str] = {}
    for shard, tensors in SHARDS.items():
        save_file(tensors, folder / shard, metadata={"format": "pt"})
        owners |= dict.fromkeys(tensors, shard)
    index = {"metadata": {"total_size": 48}, "weight_map": owners}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "none"}', encoding="utf-8")
    (folder / "tokenizer.model").write_bytes(b"words")
    (folder / ".gitattributes").write_bytes(b"hidden")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin.index.json").write_text("{}", encoding="utf-8")
    (folder / "onnx").mkdir()
    return folder


@pytest.mark.parametrize("named", ["", "model.safetensors.index.json"])
def test_shards_index_and_words_of_a_hugging_face_folder(named: str, hub: Path, tmp_path: Path) -> None:
    wanted = {name: tensor + 1 for tensors in SHARDS.values() for name, tensor in tensors.items()}
    written = write_like(hub / named, wanted, tmp_path / "new" / "hub")
    made = tmp_path / "new" / "hub"
    expected = {*SHARDS, "config.json", "tokenizer.model", "model.safetensors.index.json"}
    assert {path.name for path in made.iterdir()} == expected == set(written.files)
    assert [path.name for path in made.parent.iterdir()] == ["hub"]
    for shard, tensors in SHARDS.items():
        found = load_file(made / shard)
        assert all(torch.equal(found[name], wanted[name]) for name in tensors)
    for name in ("config.json", "tokenizer.model", "model.safetensors.index.json"):
        assert (made / name).read_bytes() == (hub / name).read_bytes()


def test_a_folder_that_holds_something_or_is_the_source_is_refused(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(SourceError, match="there is something already, and a folder is written; name a new folder"):
        write_like(hub, {}, tmp_path / "full")
    with pytest.raises(SourceError, match="would be written over an input"):
        write_like(hub, {}, hub)
    (tmp_path / "empty").mkdir()
    write_like(hub, {}, tmp_path / "empty")
    assert open_checkpoint(tmp_path / "empty").keys() == open_checkpoint(hub).keys()


def test_a_failure_leaves_no_folder(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has the shape"):
        write_like(hub, {"b.weight": torch.zeros(5)}, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_parts_of_a_distributed_checkpoint(tmp_path: Path) -> None:
    state = {"model": {"a.weight": torch.randn(4, 3), "a.bias": torch.randn(4)}, "epoch": 3, "other": {"x": [1]}}
    save(state, checkpoint_id=tmp_path / "old", no_dist=True)
    wanted = {f"model.{name}": torch.full_like(tensor, 2) for name, tensor in state["model"].items()}  # type: ignore[attr-defined]
    written = write_like(tmp_path / "old", wanted, tmp_path / "new")
    assert set(written.tensors) == set(wanted)
    found = {"model": {"a.weight": torch.zeros(4, 3), "a.bias": torch.zeros(4)}, "epoch": 0}
    load(found, checkpoint_id=tmp_path / "new", no_dist=True)
    assert found["epoch"] == 3
    assert all(torch.equal(found["model"][name], torch.full_like(tensor, 2)) for name, tensor in state["model"].items())  # type: ignore[attr-defined,index]


def model_of(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", [tensor.name], [f"y{place}"]) for place, tensor in enumerate(tensors)]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], tensors))


def test_initialisers_of_an_onnx_file_raw_and_typed(tmp_path: Path) -> None:
    raw = numpy_helper.from_array(np.ones((2, 3), dtype=np.float32), "raw")
    typed = helper.make_tensor("typed", onnx.TensorProto.FLOAT, (2,), [1, 2])
    steps = helper.make_tensor("steps", onnx.TensorProto.INT64, (2,), [1, 2])
    onnx.save(model_of(raw, typed, steps), tmp_path / "a.onnx")
    values = {"raw": torch.arange(6.0).reshape(2, 3), "typed": torch.tensor([8.0, 9.0]), "steps": torch.tensor([1, 2])}
    write_like(tmp_path / "a.onnx", values, tmp_path / "b.onnx")
    made = {one.name: numpy_helper.to_array(one) for one in onnx.load(tmp_path / "b.onnx").graph.initializer}
    assert all(np.array_equal(made[name], value.numpy()) for name, value in values.items())
    with pytest.raises(SourceError, match="'steps' cannot take values: its values lie compressed"):
        write_like(tmp_path / "a.onnx", {"steps": torch.tensor([3, 4])}, tmp_path / "c.onnx")


def test_elements_that_an_onnx_file_keeps_beside_it(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    big = numpy_helper.from_array(np.ones((64, 64), dtype=np.float32), "big")
    onnx.save_model(model_of(big), tmp_path / "old" / "a.onnx", save_as_external_data=True, location="a.data")
    with pytest.raises(SourceError, match="there is something already, and elements go there"):
        write_like(tmp_path / "old" / "a.onnx", {}, tmp_path / "old" / "b.onnx")
    values = torch.arange(4096.0).reshape(64, 64)
    written = write_like(tmp_path / "old" / "a.onnx", {"big": values}, tmp_path / "new" / "b.onnx")
    assert written.files == ("b.onnx", "a.data")
    (made,) = onnx.load(tmp_path / "new" / "b.onnx").graph.initializer
    assert np.array_equal(numpy_helper.to_array(made), values.numpy())
