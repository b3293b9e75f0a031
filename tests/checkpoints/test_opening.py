from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = ("one.safetensors", "stored.npz", "deflated.npz", "zip.pt", "legacy.pth", "keras.h5")


def refused(source: Any) -> SourceError:  # noqa: ANN401 - sources of every kind, wrong ones too
    with pytest.raises(SourceError) as caught:
        open_checkpoint(source)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.problem
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_tensors_under_the_same_keys(
    name: str, files: dict[str, Path], tensors: dict[str, torch.Tensor]
) -> None:
    checkpoint = open_checkpoint(files[name])
    found = {f"{info.layer}.{info.parameter}": (info, checkpoint[key]) for key, info in checkpoint.info.items()}
    expected = dict(tensors)
    if name == "keras.h5":  # an array without values takes no space there, and a counter has a name of its own
        expected["bn1.count"] = expected.pop("bn1.num_batches_tracked")
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        info, read = found[key]
        assert read.dtype == tensor.dtype
        assert info.dtype == str(tensor.dtype).removeprefix("torch.")
        assert info.shape == tuple(read.shape) == tuple(tensor.shape)
        assert info.nbytes == tensor.nbytes
        assert info.file == str(files[name])
        torch.testing.assert_close(read, tensor, rtol=0, atol=0)
    assert not checkpoint.skipped


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_without_a_suffix_is_told_by_content(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "weights"
    target.write_bytes(files[name].read_bytes())
    assert len(open_checkpoint(target)) == len(open_checkpoint(files[name]))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (name, suffix)
        for name in FORMATS
        for suffix in (".safetensors", ".npz", ".pt", ".h5")
        if suffix != Path(name).suffix.replace(".pth", ".pt")
    ],
)
def test_a_name_of_another_format_is_refused_and_said(
    name: str, suffix: str, files: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / f"weights{suffix}"
    target.write_bytes(files[name].read_bytes())
    error = refused(target)
    assert "its name says" in error.problem


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_refused(name: str, share: float, files: dict[str, Path], tmp_path: Path) -> None:
    whole = files[name].read_bytes()
    target = tmp_path / name
    target.write_bytes(whole[: int(len(whole) * share)])
    assert "trunc" in refused(target).problem


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    target.touch()
    assert "empty" in refused(target).problem


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", "LFS"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n <html>", "web page"),
        (bytes(5000), "zeros"),
        (b"GGUF" + bytes(100), "gguf"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (b"weights = 3\n", "its name says"),
        (b"\x93NUMPY\x01\x00" + bytes(100), ".npy"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz", ".h5"])
def test_what_is_no_checkpoint_is_said_in_words(content: bytes, word: str, suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"weights{suffix}"
    target.write_bytes(content)
    assert word in refused(target).problem


def test_a_zip_of_something_else_is_said(tmp_path: Path) -> None:
    target = tmp_path / "weights.safetensors"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    assert "zip" in refused(target).problem


def test_an_exported_program_is_said(tmp_path: Path) -> None:
    target = tmp_path / "net.pt2"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("net/archive_format", "pt2")
    assert "torch.export" in refused(target).problem


def test_a_missing_file_is_said_with_near_names(files: dict[str, Path]) -> None:
    error = refused(files["zip.pt"].with_name("zipp.pt"))
    assert error.problem == "no such file"
    assert "zip.pt" in error.remedy


@pytest.mark.parametrize("source", ["", "no/such/folder/x.pt", "x" * 5000, "a\0b", "tim:resnet50", "https://host/x.pt"])
def test_a_source_that_is_nothing_is_refused(source: str) -> None:
    refused(source)


@pytest.mark.parametrize("source", [None, 3, b"\xff\xfe", [1, 2], object()])
def test_what_is_no_source_is_refused(source: object) -> None:
    refused(source)


def test_a_folder_named_like_a_file_is_a_folder(files: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "x.pt"
    folder.mkdir()
    assert "empty folder" in refused(folder).problem
    (folder / "model.safetensors").write_bytes(files["one.safetensors"].read_bytes())
    assert len(open_checkpoint(folder)) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_named_pipe_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    assert "named pipe" in refused(tmp_path / "pipe.pt").problem
    assert "device" in refused("/dev/zero").problem


def test_a_file_that_may_not_be_read_is_said(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)  # this test may run as root, who may read everything
    assert refused(files["one.safetensors"]).problem == "permission denied"


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").symlink_to(tmp_path / "b.pt")
    (tmp_path / "b.pt").symlink_to(tmp_path / "a.pt")
    refused(tmp_path / "a.pt")


def test_a_file_that_shrinks_after_opening_is_said_on_reading(files: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one.safetensors", "stored.npz", "deflated.npz", "keras.h5"):
        target = tmp_path / name
        target.write_bytes(files[name].read_bytes())
        checkpoint = open_checkpoint(target)
        target.write_bytes(target.read_bytes()[:100])
        with pytest.raises(SourceError, match="changed since"):
            checkpoint["conv1.weight" if name != "keras.h5" else "conv1/conv1/kernel:0"]


def test_a_tensor_that_is_not_there_is_a_key_error(files: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(files["one.safetensors"])
    assert "nothing" not in checkpoint
    with pytest.raises(KeyError):
        checkpoint["nothing"]


def test_chunks_give_all_of_a_tensor_in_order(files: dict[str, Path], tensors: dict[str, torch.Tensor]) -> None:
    pieces = list(open_checkpoint(files["stored.npz"]).chunks("conv1.weight", 70))
    assert [piece.numel() for piece in pieces] == [70] * 8 + [40]
    assert torch.equal(torch.cat(pieces), tensors["conv1.weight"].flatten())


def test_writing_to_a_tensor_never_changes_the_file(files: dict[str, Path]) -> None:
    for name in ("one.safetensors", "stored.npz", "zip.pt"):
        before = files[name].read_bytes()
        open_checkpoint(files[name])["conv1.weight"].fill_(3.0)
        assert files[name].read_bytes() == before


def test_a_layout_that_is_none_is_wrong_usage() -> None:
    with pytest.raises(ValueError, match="oihw and hwio"):
        open_checkpoint({}, layout="chw")  # type: ignore[arg-type]


def test_layout_hwio_turns_kernels_and_named_matrices() -> None:
    state = {
        "conv.kernel": torch.randn(3, 3, 16, 32),
        "head.kernel": torch.randn(32, 10),
        "table.embedding": torch.randn(100, 8),
        "head.bias": torch.randn(10),
    }
    plain, turned = open_checkpoint(state), open_checkpoint(state, layout="hwio")
    assert any("hwio" in note for note in plain.notes)
    assert [info.shape for info in turned.info.values()] == [(32, 16, 3, 3), (10, 32), (100, 8), (10,)]
    assert torch.equal(turned["conv.kernel"], state["conv.kernel"].permute(3, 2, 0, 1))
    assert torch.equal(turned["head.kernel"], state["head.kernel"].T)
    assert not any("look" in note for note in open_checkpoint(state, layout="oihw").notes)


def test_nothing_but_other_things_is_said_with_the_reason() -> None:
    error = refused({"epoch": 3, "history": [1, 2]})
    assert "holds no tensors" in error.problem
    assert "list" in error.problem


def test_a_module_a_state_dict_and_its_file_agree(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    torch.save(network.state_dict(), tmp_path / "net.pt")
    sources: list[Any] = [network, network.state_dict(), tmp_path / "net.pt"]
    opened = [open_checkpoint(source) for source in sources]
    rows = [[(i.name, i.layer, i.parameter, i.shape, i.dtype, i.nbytes) for i in c.info.values()] for c in opened]
    assert rows[0] == rows[1] == rows[2]
    assert opened[0].source == "Sequential"


LISTING = """
import sys
from weightatlas.checkpoints import open_checkpoint
checkpoint = open_checkpoint(sys.argv[1])
assert len(checkpoint) == 5
checkpoint.layers
heavy = {"torch", "numpy", "pandas", "h5py", "sklearn", "altair"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("name", ["one.safetensors", "stored.npz"])
def test_listing_loads_neither_torch_nor_numpy(name: str, files: dict[str, Path]) -> None:
    subprocess.run([sys.executable, "-c", LISTING, str(files[name])], check=True, timeout=60)  # noqa: S603 - ours


def test_the_source_is_what_the_user_gave(files: dict[str, Path]) -> None:
    assert open_checkpoint(str(files["zip.pt"])).source == str(files["zip.pt"])
    assert isinstance(open_checkpoint(files["zip.pt"]), Checkpoint)


def test_a_hostile_name_is_kept_as_text(write_header: Callable[[Path, object, int], None], tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\n.weight"
    write_header(tmp_path / "x.safetensors", {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 4)
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    assert list(checkpoint) == [name]
    assert checkpoint[name].item() == 0.0


@pytest.mark.parametrize("name", FORMATS)
def test_a_checkpoint_travels_to_another_process(name: str, files: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(files[name])
    again = pickle.loads(pickle.dumps(checkpoint))  # noqa: S301 - our own
    assert again.info == checkpoint.info
    assert all(torch.equal(again[key], checkpoint[key]) for key in checkpoint)


def test_weights_in_memory_say_that_they_do_not_travel() -> None:
    with pytest.raises(TypeError, match="save them first"):
        pickle.dumps(open_checkpoint({"a.weight": torch.ones(2)}))


def test_names_that_would_be_one_stay_as_they_are_in_the_file(tmp_path: Path) -> None:
    arrays = {"0/weight": np.ones((2, 2)), "0.weight": np.zeros((2, 2)), "0.bias": np.zeros(2)}
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    places = {info.name: (info.layer, info.parameter) for info in open_checkpoint(tmp_path / "x.npz").info.values()}
    assert places == {
        "0/weight": ("0/weight", "0/weight"),
        "0.weight": ("0.weight", "0.weight"),
        "0.bias": ("0", "bias"),
    }


def test_a_change_whose_time_was_set_back_is_noticed(files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    target.write_bytes(files["one.safetensors"].read_bytes())
    checkpoint, before = open_checkpoint(target), target.stat()
    with target.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"evil")
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(SourceError, match="changed since"):
        checkpoint["conv1.weight"]
