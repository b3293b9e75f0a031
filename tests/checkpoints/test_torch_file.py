from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

LEGACY = [pytest.param(False, id="legacy"), pytest.param(True, id="zip")]


class Payload:
    """Unpickled the ordinary way, leaves a folder behind as evidence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def save(state: object, path: Path, *, zipped: bool) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return path


def refusal(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("zipped", LEGACY)
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(zipped: bool, tmp_path: Path) -> None:
    state = {"weight": torch.ones(3), "extra": Payload(tmp_path / "ran")}
    path = save(state, tmp_path / "x.pt", zipped=zipped)
    assert "could run code" in refusal(path).problem
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()  # the payload is a real one


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_bare_pickle_that_would_run_code_is_refused(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Payload(tmp_path / "ran"), protocol=protocol))
    refusal(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


def test_records_of_training_do_not_open_a_door(tmp_path: Path) -> None:
    state = {"args": argparse.Namespace(lr=0.1), "w": torch.ones(3), "evil": Payload(tmp_path / "ran")}
    assert "could run code" in refusal(save(state, tmp_path / "x.pt", zipped=True)).problem
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", LEGACY)
def test_a_whole_pickled_module_is_refused_with_the_way_out(zipped: bool, tmp_path: Path) -> None:
    error = refusal(save(nn.Linear(2, 2), tmp_path / "x.pt", zipped=zipped))
    assert "torch.nn.modules.linear.Linear" in error.problem
    assert "state_dict" in error.remedy


@pytest.mark.parametrize("zipped", LEGACY)
def test_a_training_runs_dictionary_is_undone_and_said(zipped: bool, tmp_path: Path) -> None:
    state = {
        "epoch": 12,
        "best_prec1": np.float64(0.5),
        "args": argparse.Namespace(lr=0.1, path=Path("runs")),
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [{"state": {}}],
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}},
        "state_dict": OrderedDict({"model.conv.weight": torch.ones(2, 3, 5, 5), "model.conv.bias": torch.zeros(2)}),
        "state_dict_ema": {"model.conv.weight": torch.zeros(2, 3, 5, 5)},
    }
    checkpoint = open_checkpoint(save(state, tmp_path / "x.ckpt", zipped=zipped))
    assert list(checkpoint) == ["model.conv.weight", "model.conv.bias"]
    assert checkpoint.info["model.conv.weight"].layer == "conv"
    assert (checkpoint["model.conv.weight"] == 1).all()
    assert checkpoint.metadata == {"epoch": "12"}
    assert len(checkpoint.notes) == 2
    skipped = {entry.name: entry.reason for entry in checkpoint.skipped}
    assert skipped.keys() == state.keys() - {"epoch", "state_dict"}
    assert "second set" in skipped["state_dict_ema"]
    assert "Namespace" in skipped["args"]


def test_torchscript_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/constants.pkl", b"\x80\x02).")
        archive.writestr("x/code/__torch__.py", b"")
    assert "TorchScript" in refusal(tmp_path / "x.pt").problem


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(100)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "compressed" in refusal(tmp_path / "x.pt").problem


@pytest.mark.parametrize("zipped", LEGACY)
def test_a_few_bytes_cannot_pretend_to_be_a_huge_tensor(zipped: bool, tmp_path: Path) -> None:
    state = {"w": torch.ones(3), "expanded": torch.ones(1).expand(10**6, 10**6)}
    checkpoint = open_checkpoint(save(state, tmp_path / "x.pt", zipped=zipped))
    assert list(checkpoint) == ["w"]
    assert "claims" in checkpoint.skipped[0].reason


@pytest.mark.parametrize("zipped", LEGACY)
def test_tied_weights_stand_under_each_name_and_share_memory(zipped: bool, tmp_path: Path) -> None:
    shared = torch.randn(4, 3)
    checkpoint = open_checkpoint(
        save({"embed.weight": shared, "lm_head.weight": shared}, tmp_path / "x.pt", zipped=zipped)
    )
    assert checkpoint["embed.weight"].data_ptr() == checkpoint["lm_head.weight"].data_ptr()


@pytest.mark.parametrize("zipped", LEGACY)
def test_types_and_parameters_come_out_detached(zipped: bool, tmp_path: Path) -> None:
    names: tuple[str, ...] = ("float16", "bfloat16", "float64", "int8", "uint8", "int64", "bool")
    if zipped:  # torch itself cannot load these from its legacy format
        names += ("float8_e4m3fn", "float8_e5m2")
    state: dict[str, object] = {name: torch.ones(4).to(getattr(torch, name)) for name in (*names, "complex64")}
    state["parameter"] = nn.Parameter(torch.ones(2))
    state["sparse"] = torch.eye(3).to_sparse()
    checkpoint = open_checkpoint(save(state, tmp_path / "x.pt", zipped=zipped))
    assert all(checkpoint.info[name].dtype == name for name in (*names, "complex64"))
    assert all((checkpoint[name].to(torch.complex64) == 1).all() for name in names)
    assert not checkpoint["parameter"].requires_grad
    assert [skipped.name for skipped in checkpoint.skipped] == ["sparse"]


def test_a_single_tensor_is_named_after_its_file(tmp_path: Path) -> None:
    assert list(open_checkpoint(save(torch.ones(3), tmp_path / "probe.pt", zipped=True))) == ["probe"]


@pytest.mark.parametrize("state", [[torch.ones(2)], {}, {"a": 1}, 3])
def test_no_dictionary_of_tensors_is_refused(state: object, tmp_path: Path) -> None:
    refusal(save(state, tmp_path / "x.pt", zipped=True))


def test_a_dictionary_that_holds_itself_ends(tmp_path: Path) -> None:
    loop: dict[str, object] = {"a": 1}
    loop["loop"] = loop
    refusal(save(loop, tmp_path / "x.pt", zipped=True))
    wide: dict[str, object] = {"t": [1]}
    for _ in range(60):
        wide = {"left": wide, "right": wide}
    refusal(save(wide, tmp_path / "y.pt", zipped=True))


@pytest.mark.reference
@pytest.mark.parametrize(("name", "count"), [("resnet20-12fca82f.th", 97), ("resnet56-4bfd9763.th", 277)])
def test_published_resnets_open_under_plain_names(name: str, count: int, reference: Path) -> None:
    checkpoint = open_checkpoint(reference / "cifar_resnets" / name)
    plain = torch.load(reference / "cifar_resnets" / name, weights_only=True, map_location="cpu")["state_dict"]
    assert list(checkpoint) == list(plain)
    assert len(checkpoint) == count
    assert checkpoint.info["module.conv1.weight"].layer == "conv1"
    assert checkpoint.info["module.conv1.weight"].shape == (16, 3, 3, 3)
    assert "best_prec1" in checkpoint.metadata
    assert all(torch.equal(checkpoint[key], value) for key, value in plain.items())
