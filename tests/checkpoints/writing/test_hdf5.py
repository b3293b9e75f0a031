"""HDF5 with other values: arrays that lie plainly, in an archive, in chunks."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import torch

from weightatlas.checkpoints import open_checkpoint, write_like
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

KERNEL = np.random.default_rng(0).standard_normal((3, 3, 2, 4)).astype(np.float32)


def write_keras3(path: Path, *, compressed: bool = False) -> None:
    """Write what Keras 3 would of one convolution."""
    with h5py.File(path, "w") as file:
        variables = file.create_group("layers/conv2d/vars")
        variables.create_dataset("0", data=KERNEL, compression="gzip" if compressed else None)
        variables.create_dataset("1", data=np.zeros(4, dtype=np.float32))


def test_kernels_of_keras_go_back_in_their_order(tmp_path: Path) -> None:
    write_keras3(tmp_path / "a.weights.h5")
    checkpoint = open_checkpoint(tmp_path / "a.weights.h5")
    wanted = {name: tensor + 1 for name, tensor in checkpoint.items()}
    assert {tuple(tensor.shape) for tensor in wanted.values()} == {(4, 2, 3, 3), (4,)}
    write_like(checkpoint, wanted, tmp_path / "b.weights.h5")
    with h5py.File(tmp_path / "b.weights.h5") as file:
        assert np.array_equal(np.asarray(file["layers/conv2d/vars/0"]), KERNEL + 1)


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_keras_archive(how: int, tmp_path: Path) -> None:
    write_keras3(tmp_path / "model.weights.h5")
    with zipfile.ZipFile(tmp_path / "a.keras", "w", how) as archive:
        archive.writestr("config.json", json.dumps({}))
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    wanted = {name: tensor + 1 for name, tensor in open_checkpoint(tmp_path / "a.keras").items()}
    if how == zipfile.ZIP_DEFLATED:
        with pytest.raises(SourceError, match="cannot take values"):
            write_like(tmp_path / "a.keras", wanted, tmp_path / "b.keras")
        return
    write_like(tmp_path / "a.keras", wanted, tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "b.keras") as archive:
        assert archive.testzip() is None
    found = open_checkpoint(tmp_path / "b.keras")
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_compressed_chunks_take_no_values_but_keep_theirs(tmp_path: Path) -> None:
    write_keras3(tmp_path / "a.h5", compressed=True)
    before = dict(open_checkpoint(tmp_path / "a.h5"))
    kernel = next(name for name, tensor in before.items() if tensor.ndim == 4)
    with pytest.raises(SourceError, match="cannot take values: its values lie compressed"):
        write_like(tmp_path / "a.h5", {kernel: before[kernel] + 1}, tmp_path / "b.h5")
    write_like(tmp_path / "a.h5", before, tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_bytes() == (tmp_path / "a.h5").read_bytes()
