"""Files of every format with other values: what other libraries read, and what stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightatlas.checkpoints import open_checkpoint, write_like
from weightatlas.checkpoints.writing.write_like import check_target
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Tensors = dict[str, torch.Tensor]

NAMES = ["one.safetensors", "stored.npz", "deflated.npz", "zip.pt", "legacy.pth", "keras.h5"]


def others(tensors: Mapping[str, torch.Tensor], seed: int = 1) -> Tensors:
    """Other values of the same shapes and types."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(tensor.shape, generator=generator).to(tensor.dtype) * (100 if tensor.ndim == 0 else 1)
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_values_come_back_under_the_same_names_types_and_order(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    before = open_checkpoint(files[name])
    wanted = others(before)
    written = write_like(before, wanted, tmp_path / name)
    after = open_checkpoint(tmp_path / name)
    assert list(after) == list(before)
    assert written.kept == ()
    assert set(written.tensors) == set(before)
    for tensor, value in wanted.items():
        assert after.info[tensor].dtype == before.info[tensor].dtype
        assert torch.equal(after[tensor], value), tensor


@pytest.mark.parametrize("name", [name for name in NAMES if name != "deflated.npz"])
def test_the_same_values_make_the_same_file_bit_for_bit(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    write_like(files[name], open_checkpoint(files[name]), tmp_path / name)
    assert (tmp_path / name).read_bytes() == files[name].read_bytes()


def test_the_libraries_that_own_the_formats_read_what_was_written(
    files: dict[str, Path], tensors: Tensors, tmp_path: Path
) -> None:
    wanted = others(tensors)
    read: dict[str, Callable[[Path], Mapping[str, Any]]] = {
        "one.safetensors": safetensors.torch.load_file,
        "stored.npz": np.load,
        "deflated.npz": np.load,
        "zip.pt": lambda path: torch.load(path, weights_only=True, mmap=True),
        "legacy.pth": lambda path: torch.load(path, weights_only=True),
    }
    for name, load in read.items():
        write_like(files[name], wanted, tmp_path / name)
        found = load(tmp_path / name)
        for tensor, value in wanted.items():
            assert torch.equal(torch.as_tensor(found[tensor]), value), (name, tensor)
    write_like(files["keras.h5"], {"conv1/conv1/kernel:0": wanted["conv1.weight"]}, tmp_path / "keras.h5")
    with h5py.File(tmp_path / "keras.h5") as file:
        kernel = np.asarray(file["conv1/conv1/kernel:0"])
    assert np.array_equal(kernel, wanted["conv1.weight"].permute(2, 3, 1, 0).numpy())


@pytest.mark.parametrize("name", ["stored.npz", "deflated.npz", "zip.pt"])
def test_checksums_of_archives_are_right_and_compression_is_kept(
    name: str, files: dict[str, Path], tensors: Tensors, tmp_path: Path
) -> None:
    write_like(files[name], others(tensors), tmp_path / name)
    with zipfile.ZipFile(tmp_path / name) as made, zipfile.ZipFile(files[name]) as source:
        assert made.testzip() is None
        assert [(one.filename, one.compress_type, one.date_time) for one in made.infolist()] == [
            (one.filename, one.compress_type, one.date_time) for one in source.infolist()
        ]


def test_texts_and_header_of_safetensors_stay(files: dict[str, Path], tensors: Tensors, tmp_path: Path) -> None:
    write_like(files["one.safetensors"], others(tensors), tmp_path / "new.safetensors")
    old, new = (path.read_bytes() for path in (files["one.safetensors"], tmp_path / "new.safetensors"))
    length = 8 + int.from_bytes(old[:8], "little")
    assert new[:length] == old[:length]
    assert b"__metadata__" in new[:length]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=4),
    turned=st.booleans(),
    legacy=st.booleans(),
)
def test_any_shapes_in_any_strides(shapes: list[list[int]], turned: bool, legacy: bool, tmp_path: Path) -> None:
    state = {f"layer{place}.weight": torch.randn(shape) for place, shape in enumerate(shapes)}
    if turned:
        state = {name: tensor.permute([*reversed(range(tensor.ndim))]) for name, tensor in state.items()}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    wanted = others(state)
    write_like(tmp_path / "a.pt", wanted, tmp_path / "b.pt")
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert all(found[name].stride() == tensor.stride() for name, tensor in state.items() if tensor.numel())


class Settings:
    """A class of the user's that a training run pickled."""

    rate = 0.1


def test_what_a_training_run_saved_beside_the_weights_stays(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    wrapped = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    run = {"epoch": 3, "state_dict": wrapped, "optimizer": optimizer.state_dict(), "settings": Settings()}
    torch.save(run, tmp_path / "run.ckpt")
    wanted = {name: torch.full_like(tensor, 2) for name, tensor in wrapped.items()}
    written = write_like(tmp_path / "run.ckpt", wanted, tmp_path / "new.ckpt")
    found = torch.load(tmp_path / "new.ckpt", weights_only=False)
    assert found["epoch"] == 3
    assert isinstance(found["settings"], Settings)
    assert all(torch.equal(found["state_dict"][name], value) for name, value in wanted.items())
    momentum = found["optimizer"]["state"][0]["momentum_buffer"]
    assert torch.equal(momentum, optimizer.state_dict()["state"][0]["momentum_buffer"])
    assert any("optimizer" in note for note in written.notes)


def test_ties_stay_ties(tmp_path: Path) -> None:
    weight = torch.randn(4, 3)
    torch.save({"embed.weight": weight, "head.weight": weight, "rows.weight": weight[1:3]}, tmp_path / "tied.pt")
    new = torch.randn(4, 3)
    wanted = {"embed.weight": new, "head.weight": new}
    written = write_like(tmp_path / "tied.pt", wanted, tmp_path / "new.pt")
    found = torch.load(tmp_path / "new.pt", weights_only=True)
    assert found["embed.weight"].data_ptr() == found["head.weight"].data_ptr()
    assert torch.equal(found["rows.weight"], new[1:3])
    assert written.kept == ()
    assert "changed with them: 'rows.weight'" in written.notes[0]


@pytest.mark.parametrize("expanded", [False, True])
def test_tied_tensors_that_are_to_differ_are_refused_and_nothing_is_left(expanded: bool, tmp_path: Path) -> None:
    weight = torch.ones(1).expand(3) if expanded else torch.ones(3)
    torch.save({"a.weight": weight, "b.weight": weight}, tmp_path / "tied.pt")
    wanted = {"a.weight": torch.arange(3.0)} if expanded else {"a.weight": torch.ones(3), "b.weight": torch.zeros(3)}
    with pytest.raises(SourceError, match="shares elements with another tensor of the file, and the two are to differ"):
        write_like(tmp_path / "tied.pt", wanted, tmp_path / "new.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["tied.pt"]


def test_values_are_rounded_to_the_type_of_the_file(tmp_path: Path) -> None:
    values = torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, -0.0, float("inf")])
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e5m2):
        safetensors.torch.save_file({"w": torch.zeros(4, dtype=dtype)}, tmp_path / "a.safetensors")
        write_like(tmp_path / "a.safetensors", {"w": values}, tmp_path / "b.safetensors")
        found = safetensors.torch.load_file(tmp_path / "b.safetensors")["w"]
        assert torch.equal(found.view(torch.uint8), values.to(dtype).view(torch.uint8))


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (torch.float16, torch.tensor([1e6]), "a value beyond float16"),
        (torch.float8_e4m3fn, torch.tensor([1e4]), "a value beyond float8_e4m3fn"),
        (torch.int64, torch.tensor([0.5]), "is int64 there, and float32 is given"),
        (torch.uint8, torch.tensor([300]), "a value beyond uint8"),
        (torch.float32, torch.tensor([1j]), "is float32 there, and complex64 is given"),
        (torch.float32, torch.tensor([1.0, 2.0]), r"has the shape \[1\] there, and \[2\] is given"),
        (torch.float32, torch.empty(1, device="meta"), "without plain values"),
        (torch.float32, torch.tensor([1.0]).to_sparse(), "without plain values"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    dtype: torch.dtype, value: torch.Tensor, words: str, tmp_path: Path
) -> None:
    safetensors.torch.save_file({"w": torch.zeros(1, dtype=dtype)}, tmp_path / "a.safetensors")
    with pytest.raises(SourceError, match=words):
        write_like(tmp_path / "a.safetensors", {"w": value}, tmp_path / "b.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_arrays_of_another_layout_are_turned_back(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).standard_normal((3, 3, 16, 32)).astype(np.float32)
    arrays: dict[str, Any] = {"conv/kernel": kernel, "fortran": np.asfortranarray(kernel[0, 0])}
    np.savez(tmp_path / "a.npz", **arrays)
    checkpoint = open_checkpoint(tmp_path / "a.npz", layout="hwio")
    wanted = {name: tensor + 1 for name, tensor in checkpoint.items()}
    write_like(checkpoint, wanted, tmp_path / "b.npz")
    write_like(tmp_path / "a.npz", wanted, tmp_path / "c.npz", layout="hwio")
    for name in ("b.npz", "c.npz"):
        found = np.load(tmp_path / name)
        assert np.array_equal(found["conv/kernel"], kernel + 1)
        assert np.array_equal(found["fortran"], kernel[0, 0] + 1)
        assert np.isfortran(found["fortran"])


def test_big_endian_arrays_stay_big_endian(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", w=np.arange(3, dtype=">f4"))
    write_like(tmp_path / "a.npz", {"w": torch.tensor([5.0, 6.0, 7.0])}, tmp_path / "b.npz")
    found = np.load(tmp_path / "b.npz")["w"]
    assert found.dtype.str == ">f4"
    assert found.tolist() == [5, 6, 7]


def test_a_function_gives_values_one_by_one_and_none_keeps_them(files: dict[str, Path], tmp_path: Path) -> None:
    asked: list[str] = []
    told: list[tuple[int, int, str]] = []

    def give(name: str) -> torch.Tensor | None:
        asked.append(name)
        return torch.zeros(4, 8) if name == "fc.weight" else None

    source = files["one.safetensors"]
    written = write_like(
        source, give, tmp_path / "a.safetensors", progress=lambda done, total, label: told.append((done, total, label))
    )
    assert sorted(asked) == sorted(open_checkpoint(source))
    assert written.tensors == ("fc.weight",)
    assert "'conv1.weight'" in written.notes[0]
    assert told == [(1, 5, "fc.weight")]
    found = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert not found["fc.weight"].any()
    assert torch.equal(found["conv1.weight"], open_checkpoint(source)["conv1.weight"])


def test_an_object_behind_a_url_gives_its_format(files: dict[str, Path], tensors: Tensors, tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://bucket/net.pt", "wb") as file:
        file.write(files["zip.pt"].read_bytes())
    wanted = others(tensors)
    write_like("memory://bucket/net.pt", wanted, tmp_path / "net.pt")
    found = torch.load(tmp_path / "net.pt", weights_only=True)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_an_input_is_never_overwritten(
    link: Callable[[Path, Path], None] | None, files: dict[str, Path], tmp_path: Path
) -> None:
    source = target = tmp_path / "a.safetensors"
    shutil.copy(files["one.safetensors"], source)
    if link is not None:
        target = tmp_path / "b.safetensors"
        link(source, target)
    before = source.read_bytes()
    with pytest.raises(SourceError, match="would be written over an input; give another path"):
        write_like(source, {}, target)
    assert source.read_bytes() == before


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "a.npz"
    target.write_bytes(b"old")

    def give(name: str) -> torch.Tensor:
        raise KeyboardInterrupt(name)

    for name in ("stored.npz", "deflated.npz"):
        with pytest.raises(KeyboardInterrupt):
            write_like(files[name], give, target)
        assert target.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [target]


def test_an_old_file_is_replaced(files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_bytes(b"old")
    write_like(files["one.safetensors"], {}, target)
    assert target.read_bytes() == files["one.safetensors"].read_bytes()
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (
            "one.safetensors",
            "new.pt",
            "its name says torch, what is written is safetensors; end its name in .safetensors",
        ),
        ("one.safetensors", "", "a folder, and a file is written"),
        ("timm:resnet18", "new.safetensors", "weights that lie in no file have no format to keep"),
        ("none.safetensors", "new.safetensors", "no such file"),
    ],
)
def test_targets_and_sources_that_cannot_be_are_told_before_any_work(
    source: str, target: str, words: str, files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=words):
        check_target(files.get(source, source), tmp_path / target)
    with pytest.raises(SourceError, match=words):
        write_like(files.get(source, source), {}, tmp_path / target)


def test_names_that_the_file_has_not_are_told(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no tensor 'fc\.bias'; give values by the names in the file"):
        write_like(files["one.safetensors"], {"fc.bias": torch.zeros(4)}, tmp_path / "new.safetensors")
    with pytest.raises(SourceError, match="no format to keep"):
        write_like(open_checkpoint({"w": torch.zeros(1)}), {}, tmp_path / "new.safetensors")


def test_a_folder_that_may_not_be_written_to_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_like(files["one.safetensors"], {}, tmp_path / "file" / "new.safetensors")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of a process's memory")
def test_memory_stays_that_of_one_tensor(tmp_path: Path) -> None:
    script = (
        "import sys, torch\n"
        "from weightatlas.checkpoints import write_like\n"
        "write_like(sys.argv[1], lambda name: torch.ones(2**19), sys.argv[2])\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    peaks = []
    for count in (2, 60):
        source = tmp_path / f"{count}.safetensors"
        safetensors.torch.save_file({f"layer{place}.weight": torch.zeros(2**19) for place in range(count)}, source)
        command = [sys.executable, "-c", script, str(source), str(tmp_path / f"new{count}.safetensors")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 40_000  # KiB: 60 tensors have 122,880


def test_json_of_a_header_is_not_written_again(tmp_path: Path) -> None:
    text = json.dumps({"w": {"shape": [1], "dtype": "F32", "data_offsets": [0, 4]}}, indent=3).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    write_like(tmp_path / "a.safetensors", {"w": torch.ones(1)}, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes()[8:-4] == text
