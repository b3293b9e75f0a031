from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from weightatlas.checkpoints import Checkpoint, TensorInfo, open_checkpoint

MAPPED = ("one.safetensors", "stored.npz", "zip.pt", "legacy.pth")


@pytest.mark.parametrize("name", [*MAPPED, "deflated.npz"])
def test_parts_are_what_lies_between_two_elements(
    name: str, files: dict[str, Path], tensors: dict[str, torch.Tensor]
) -> None:
    checkpoint = open_checkpoint(files[name])
    for key, tensor in tensors.items():
        fetch = checkpoint.parts(key)
        for start, stop in ((0, tensor.numel()), (tensor.numel() // 3, tensor.numel() // 2), (0, 0)):
            part = fetch(start, stop)
            assert part.dtype == tensor.dtype
            assert torch.equal(part, tensor.reshape(-1)[start:stop])


def test_parts_of_a_transposed_kernel_are_in_our_order(
    files: dict[str, Path], tensors: dict[str, torch.Tensor]
) -> None:
    checkpoint = open_checkpoint(files["keras.h5"])
    key = next(key for key in checkpoint if key.startswith("conv1/") and "kernel" in key)
    assert not checkpoint.is_mapped(key)
    assert torch.equal(checkpoint.parts(key)(5, 90), tensors["conv1.weight"].reshape(-1)[5:90])


@pytest.mark.parametrize(("name", "mapped"), [*((name, True) for name in MAPPED), ("deflated.npz", False)])
def test_parts_are_mapped_where_elements_lie_plainly_in_a_file(name: str, mapped: bool, files: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(files[name])
    assert checkpoint.is_mapped("conv1.weight") is mapped


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not list what is mapped")
def test_what_is_said_to_be_mapped_is_a_map_of_the_part(files: dict[str, Path]) -> None:
    path = files["one.safetensors"]
    checkpoint = open_checkpoint(path)
    part = checkpoint.parts("conv1.weight")(0, 64)
    assert checkpoint.is_mapped("conv1.weight")
    places = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    ranges = [tuple(int(end, 16) for end in place.split("-")) for place in places]
    assert any(low <= part.data_ptr() < high for low, high in ranges)


def test_parts_of_a_file_that_changed_since_are_an_error(files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "net.safetensors"
    target.write_bytes(files["one.safetensors"].read_bytes())
    fetch = open_checkpoint(target).parts("conv1.weight")
    first = fetch(0, 10)
    os.utime(target, ns=(1, 1))
    with pytest.raises(Exception, match="changed since"):
        fetch(10, 20)
    assert torch.isfinite(first).all()


def test_weights_in_memory_are_views_and_not_mapped() -> None:
    weight = torch.randn(4, 6)
    checkpoint = open_checkpoint({"fc.weight": weight})
    assert not checkpoint.is_mapped("fc.weight")
    part = checkpoint.parts("fc.weight")(3, 9)
    assert part.data_ptr() == weight.data_ptr() + 3 * weight.element_size()


def test_a_checkpoint_that_only_reads_gives_parts_of_what_it_read_once() -> None:
    reads = []
    info = TensorInfo("w", "w", "weight", (2, 3), "float32", 24, "memory")

    def read(tensor: TensorInfo) -> torch.Tensor:
        reads.append(tensor.name)
        return torch.arange(6.0).view(2, 3)

    checkpoint = Checkpoint("memory", [info], read)
    fetch = checkpoint.parts("w")
    assert fetch(1, 4).tolist() == [1, 2, 3]
    assert fetch(4, 6).tolist() == [4, 5]
    assert reads == ["w"]
    assert not checkpoint.is_mapped("w")


def test_a_tensor_that_is_not_there_has_no_parts(files: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(files["one.safetensors"])
    for ask in (checkpoint.parts, checkpoint.is_mapped):
        with pytest.raises(KeyError):
            ask("nothing")
