from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.checkpoints.pickles.torch_saving import LEGACY, bits, rewritten, save
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.pickles.torch_file import detect_torch
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError


class Payload:
    """Unpickled the ordinary way, leaves a folder behind as evidence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


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


class Config:
    """A class of somebody's own, beside the weights."""

    def __init__(self, depth: int) -> None:
        self.depth = depth


def small_network() -> nn.Module:
    convolution, linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
    convolution.register_buffer("scratch", torch.ones(2), persistent=False)
    linear.register_parameter("none", None)
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Sequential(linear))


@pytest.mark.parametrize("zipped", LEGACY)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch says that it cannot find the source of a class
def test_a_whole_pickled_module_gives_its_state_dict(zipped: bool, wrapped: bool, tmp_path: Path) -> None:
    network = small_network()
    checkpoint = open_checkpoint(save({"model": network} if wrapped else network, tmp_path / "x.pt", zipped=zipped))
    state = network.state_dict()
    assert set(checkpoint) == set(state)
    assert all(bits(checkpoint[name]) == bits(value) for name, value in state.items())
    assert any("Sequential was not loaded" in note for note in checkpoint.notes)


@pytest.mark.parametrize("zipped", LEGACY)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_unknown_class_beside_the_weights_is_a_row(zipped: bool, tmp_path: Path) -> None:
    state = {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": Config(3)}
    checkpoint = open_checkpoint(save(state, tmp_path / "x.ckpt", zipped=zipped))
    assert list(checkpoint) == ["w"]
    assert [(row.name, row.reason) for row in checkpoint.skipped] == [
        ("hyper_parameters", f"a {__name__}.Config object, which is not loaded")
    ]


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
    assert checkpoint.metadata == {"epoch": "12", "best_prec1": "0.5"}
    assert len(checkpoint.notes) == 2
    skipped = {entry.name: entry.reason for entry in checkpoint.skipped}
    assert skipped.keys() == state.keys() - {"epoch", "best_prec1", "state_dict"}
    assert "second set" in skipped["state_dict_ema"]
    assert "Namespace" in skipped["args"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_gives_its_weights_and_runs_nothing(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4))).eval()
    torch.jit.save(torch.jit.script(network), tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    state = network.state_dict()
    assert checkpoint.file_format == "TorchScript"
    assert set(checkpoint) == set(state)
    assert all(bits(checkpoint[name]) == bits(value) for name, value in state.items())


def test_torchscript_whose_constants_would_run_code_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}))
        archive.writestr("x/constants.pkl", pickle.dumps(Payload(tmp_path / "ran")))
    assert "could run code" in refusal(tmp_path / "x.pt").problem
    assert not (tmp_path / "ran").exists()


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
def test_tied_weights_stand_under_each_name(zipped: bool, tmp_path: Path) -> None:
    shared = torch.randn(40, 300)
    path = save({"embed.weight": shared, "lm_head.weight": shared}, tmp_path / "x.pt", zipped=zipped)
    assert path.stat().st_size < 1.5 * shared.nbytes
    checkpoint = open_checkpoint(path)
    assert torch.equal(checkpoint["embed.weight"], shared)
    assert torch.equal(checkpoint["lm_head.weight"], shared)


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


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_meta_and_foreign_tensors_are_rows(tmp_path: Path) -> None:
    state = {
        "w": torch.ones(2),
        "sparse": torch.eye(3).to_sparse(),
        "compressed": torch.eye(3).to_sparse_csr(),
        "meta": torch.empty(3, device="meta"),
        "own": torch.ones(2).as_subclass(Own),
    }
    checkpoint = open_checkpoint(save(state, tmp_path / "x.pt", zipped=True))
    assert list(checkpoint) == ["w"]
    reasons = {row.name: row.reason for row in checkpoint.skipped}
    assert "sparse" in reasons["sparse"]
    assert "sparse" in reasons["compressed"]
    assert "meta device" in reasons["meta"]
    assert "Own" in reasons["own"]


class Own(torch.Tensor):
    """A tensor of a type of its own."""


def test_a_legacy_file_cut_short_or_shifted_is_refused(tmp_path: Path) -> None:
    whole = save({"w": torch.ones(100)}, tmp_path / "x.pt", zipped=False).read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[:-8])
    assert "last tensors are missing" in refusal(tmp_path / "x.pt").problem
    (tmp_path / "y.pt").write_bytes(whole[:-408] + bytes(8) + whole[-400:])
    assert "not where its pickle says" in refusal(tmp_path / "y.pt").problem


def test_two_members_of_one_name_and_a_foreign_byte_order_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "plain.pt")
    path = rewritten(tmp_path / "plain.pt", tmp_path / "x.pt", {"plain/byteorder": b"middle"})
    assert "byte order" in refusal(path).problem
    path = rewritten(tmp_path / "plain.pt", tmp_path / "y.pt", {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("plain/data/0", bytes(12))
    assert "one name" in refusal(path).problem


def test_the_tar_format_of_old_is_refused_in_words(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    assert "before version 0.2" in refusal(tmp_path / "x.pth").problem


def test_old_pickles_are_told_by_name_and_both_ends(tmp_path: Path) -> None:
    for content, name, found in (
        (pickle.dumps({"a": 1}, 0), "x.pkl", True),
        (pickle.dumps({"a": 1}, 1), "x.pt", True),
        (pickle.dumps({"a": 1}, 0), "x.txt", False),
        (b"weights = 3\n", "x.pt", False),
        (b"(see below)", "x.pkl", False),
        (pickle.dumps({"a": 1}, 2), "x.anything", True),
    ):
        (tmp_path / name).write_bytes(content)
        assert detect_torch(LocalBlob(tmp_path / name), content[:4096]) is found


def test_listing_loads_neither_torch_nor_numpy(tmp_path: Path) -> None:
    save({"w": torch.ones(3)}, tmp_path / "x.pt", zipped=True)
    save({"w": torch.ones(3)}, tmp_path / "y.pt", zipped=False)
    code = (
        "import sys, pathlib\n"
        "from weightatlas.checkpoints.places.blob import LocalBlob\n"
        "from weightatlas.checkpoints.pickles.torch_file import open_torch\n"
        "assert [len(open_torch(LocalBlob(pathlib.Path(name))).headers) for name in sys.argv[1:]] == [1, 1]\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.pt"), str(tmp_path / "y.pt")]
    subprocess.run(command, check=True, timeout=60)  # noqa: S603 - our own code


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
