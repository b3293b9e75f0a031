from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from tests.checkpoints.pickles.saving_distributed import matrices, network
from tests.checkpoints.pickles.torch_saving import bits
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.pickles.distributed import is_distributed
from weightatlas.checkpoints.places.blob import LocalFolder
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that two processes saved together."""
    folder = tmp_path_factory.mktemp("distributed") / "step-10"
    command = [sys.executable, "-m", "tests.checkpoints.pickles.saving_distributed", str(folder)]
    processes = [
        subprocess.Popen([*command, str(rank)], cwd=ROOT, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return folder


def expected() -> dict[str, torch.Tensor]:
    turned = {name: matrix.t() if name == "turned" else matrix for name, matrix in matrices().items()}
    return {**network().state_dict(), **{f"extra.{name}": matrix for name, matrix in turned.items()}}


def test_what_two_processes_saved_comes_out_whole_bit_for_bit(saved: Path) -> None:
    checkpoint = open_checkpoint(saved)
    whole = expected()
    assert set(checkpoint) == {f"model.{name}" for name in whole}
    for name, tensor in whole.items():
        found = checkpoint[f"model.{name}"]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert bits(found) == bits(tensor), name
        assert bits(torch.cat([*checkpoint.chunks(f"model.{name}", 7)])) == bits(tensor)
    assert checkpoint.info["model.0.weight"].layer == "0"
    assert checkpoint.file_format == "torch distributed, 2 files"
    assert {row.name for row in checkpoint.skipped} == {"optimizer", "epoch", "history"}


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_torch_itself_reads_the_same(saved: Path) -> None:
    state = {"model": {name: torch.zeros_like(tensor) for name, tensor in expected().items()}}
    load(state, checkpoint_id=saved, no_dist=True)
    checkpoint = open_checkpoint(saved)
    assert all(bits(checkpoint[f"model.{name}"]) == bits(tensor) for name, tensor in state["model"].items())


def test_several_parts_lie_in_several_files(saved: Path) -> None:
    info = open_checkpoint(saved).info
    assert info["model.extra.columns"].file == str(saved)
    assert info["model.extra.replicated"].file.endswith(".distcp")


def test_listing_reads_the_metadata_alone(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "x")
    for file in folder.glob("*.distcp"):
        file.write_bytes(bytes(file.stat().st_size))
    checkpoint = open_checkpoint(folder)
    assert len(checkpoint) == len(expected())
    with pytest.raises(SourceError, match="corrupt PyTorch file"):
        checkpoint["model.0.weight"]


def test_listing_needs_no_torch(saved: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from weightatlas.checkpoints.places.blob import LocalFolder\n"
        "from weightatlas.checkpoints.pickles.distributed import open_distributed\n"
        "assert open_distributed(LocalFolder(pathlib.Path(sys.argv[1]))).headers\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(saved)], check=True, timeout=60)  # noqa: S603 - our own code


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A checkpoint of one process, to be changed."""
    state = {"w": torch.arange(12.0).reshape(3, 4), "b": torch.ones(3, dtype=torch.float16), "note": "text"}
    with pytest.warns(UserWarning, match="assuming"):
        save(state, checkpoint_id=tmp_path / "one", no_dist=True)
    return tmp_path / "one"


def change(folder: Path, edit: Callable[[Metadata], None]) -> Path:
    """Change the metadata as torch reads it, and write it again."""
    path = folder / ".metadata"
    metadata = pickle.loads(path.read_bytes())  # noqa: S301 - just saved
    edit(metadata)
    path.write_bytes(pickle.dumps(metadata))
    return folder


def tensor_of(metadata: Metadata, name: str = "w") -> TensorStorageMetadata:
    found = metadata.state_dict_metadata[name]
    assert isinstance(found, TensorStorageMetadata)
    return found


def place_of(metadata: Metadata, name: str = "w") -> Any:  # noqa: ANN401 - torch's private record
    return next(place for index, place in metadata.storage_data.items() if index.fqn == name)


def refusal(folder: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return caught.value


def reasons(folder: Path) -> Mapping[str, str]:
    return {row.name: row.reason for row in open_checkpoint(folder).skipped}


def test_one_process_and_one_part_is_mapped(one: Path) -> None:
    checkpoint = open_checkpoint(one)
    assert torch.equal(checkpoint["w"], torch.arange(12.0).reshape(3, 4))
    assert reasons(one) == {"note": "no tensor: an object saved beside them"}


def test_a_folder_without_metadata_is_unfinished(one: Path) -> None:
    (one / ".metadata").unlink()
    assert is_distributed(LocalFolder(one))
    assert refusal(one).problem.endswith(".metadata is missing")


def test_a_file_that_is_missing_is_named(one: Path) -> None:
    (one / "__0_0.distcp").unlink()
    assert "__0_0.distcp is missing" in refusal(one).problem


@pytest.mark.parametrize("name", ["../outside.distcp", "/etc/passwd", "a/../../x", "", "c:\\x"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, one: Path) -> None:
    def edit(metadata: Metadata) -> None:
        place_of(metadata).relative_path = name

    assert "outside its folder" in refusal(change(one, edit)).problem


def test_a_link_that_leaves_the_folder_is_refused(one: Path) -> None:
    (one / "__0_0.distcp").rename(one.parent / "elsewhere")
    (one / "__0_0.distcp").symlink_to(one.parent / "elsewhere")
    assert "leaves the folder" in refusal(one).problem


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("ran",)


def test_metadata_admits_only_the_classes_it_needs(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(metadata: Metadata) -> None:
        metadata.planner_data["x"] = Payload()

    change(one, edit)
    assert "builtins.print, which has no place in it" in refusal(one).problem
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", b"not a pickle", pickle.dumps([1]), bytes(100)])
def test_metadata_that_is_none_is_refused(content: bytes, one: Path) -> None:
    (one / ".metadata").write_bytes(content)
    refusal(one)


def test_metadata_cut_anywhere_is_refused(one: Path) -> None:
    whole = (one / ".metadata").read_bytes()
    for length in range(0, len(whole), 17):
        (one / ".metadata").write_bytes(whole[:length])
        refusal(one)


def _huge(metadata: Metadata) -> None:
    tensor_of(metadata).size = torch.Size([2**31, 2**31])
    tensor_of(metadata).chunks[0].sizes = torch.Size([2**31, 2**31])


def _halved(metadata: Metadata) -> None:
    tensor_of(metadata).chunks[0].sizes = torch.Size([2, 4])


def _doubled(metadata: Metadata) -> None:
    tensor_of(metadata).chunks *= 2


def _moved(metadata: Metadata) -> None:
    tensor_of(metadata).chunks[0].offsets = torch.Size([1, 0])


def _other_axes(metadata: Metadata) -> None:
    tensor_of(metadata).chunks.append(ChunkStorageMetadata(torch.Size([0]), torch.Size([3])))


def _beyond(metadata: Metadata) -> None:
    place_of(metadata).length = 10**9


def _packed(metadata: Metadata) -> None:
    place_of(metadata).transform_descriptors = ["zstd"]


def _negative(metadata: Metadata) -> None:
    place_of(metadata).offset = -5


def _quantized(metadata: Metadata) -> None:
    tensor_of(metadata).properties.dtype = torch.qint8


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (_huge, "claims"),
        (_halved, "8 of its 12 elements"),
        (_doubled, "overlap"),
        (_moved, "in no file"),
        (_other_axes, "in no file"),
        (_beyond, "truncated"),
        (_packed, "transformed when they were saved (zstd)"),
        (_negative, "in no file"),
        (_quantized, "its type qint8 cannot be measured"),
    ],
)
def test_a_tensor_whose_metadata_lies_is_a_row(edit: Callable[[Metadata], None], says: str, one: Path) -> None:
    assert says in reasons(change(one, edit))["w"]
    assert list(open_checkpoint(one)) == ["b"]


def test_a_part_that_is_not_what_metadata_says_is_refused_when_read(one: Path) -> None:
    def edit(metadata: Metadata) -> None:
        tensor_of(metadata).size = tensor_of(metadata).chunks[0].sizes = torch.Size([4, 3])

    checkpoint = open_checkpoint(change(one, edit))
    with pytest.raises(SourceError, match="metadata says otherwise"):
        checkpoint["w"]


@pytest.mark.parametrize(
    "paths", [{"w": ("b",), "b": ("b", "x")}, {"w": ("a", 0), "b": ("a",)}, {"w": ("a",), "b": ("a",)}]
)
def test_paths_that_contradict_each_other_leave_the_full_names(paths: dict[str, tuple[Any, ...]], one: Path) -> None:
    def edit(metadata: Metadata) -> None:
        metadata.planner_data.update(paths)
        metadata.state_dict_metadata["x"] = BytesStorageMetadata()

    assert set(open_checkpoint(change(one, edit))) == {"w", "b"}
