from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy import io

from weightatlas.data.decoding import Fit
from weightatlas.data.svhn import read_svhn
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)
LABELS = np.array([[10], [1], [9], [10], [3]], dtype=np.uint8)


def write(path: Path, arrays: dict[str, Any], *, compress: bool = True) -> None:
    io.savemat(path, arrays, do_compression=compress)


@pytest.mark.parametrize("compress", [True, False])
def test_images_come_upright_and_ten_is_the_digit_0(tmp_path: Path, compress: bool) -> None:
    write(tmp_path / "test_32x32.mat", {"y": LABELS, "X": IMAGES}, compress=compress)
    for path in (tmp_path, tmp_path / "test_32x32.mat"):
        examples = read_svhn(path)
        images, _ = examples.fetch(torch.tensor([3, 0]))
        assert np.array_equal(images.permute(0, 2, 3, 1).numpy(), IMAGES.transpose(3, 0, 1, 2)[[3, 0]])
        assert examples.targets.tolist() == [0, 1, 9, 0, 3]
        assert examples.classes == tuple("0123456789")
    assert read_svhn(tmp_path, fit=Fit(size=8)).shape == (3, 8, 8)


def test_splits_are_chosen_by_name(tmp_path: Path) -> None:
    write(tmp_path / "train_32x32.mat", {"X": IMAGES, "y": LABELS.astype(np.float64)})
    write(tmp_path / "test_32x32.mat", {"X": IMAGES[..., :2], "y": LABELS[:2]})
    assert len(read_svhn(tmp_path)) == 5
    assert len(read_svhn(tmp_path, split="test")) == 2
    assert len(read_svhn(tmp_path / "test_32x32.mat", split="test")) == 2
    with pytest.raises(SourceError, match="no split 'extra'; there is train, test"):
        read_svhn(tmp_path, split="extra")
    with pytest.raises(SourceError, match="not that of a split 'train'"):
        read_svhn(tmp_path / "test_32x32.mat", split="train")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": IMAGES}, r"X of \[32, 32, 3, 5\] and y of \[\]"),
        ({"X": IMAGES, "y": LABELS[:4]}, r"and y of \[4, 1\]"),
        ({"X": IMAGES[:16], "y": LABELS}, r"X of \[16, 32, 3, 5\]"),
        ({"X": IMAGES[..., 0], "y": LABELS[:1]}, r"X of \[32, 32, 3\]"),
        ({"X": IMAGES.astype(np.int16), "y": LABELS}, "X of int16"),
        ({"X": IMAGES, "y": LABELS + 1}, "labels that are no digits"),
        ({"X": IMAGES, "y": np.array([["a"]] * 5, dtype=object)}, "corrupt|X of|y of"),
    ],
)
@pytest.mark.parametrize("compress", [True, False])
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str, compress: bool) -> None:
    write(tmp_path / "train_32x32.mat", arrays, compress=compress)
    with pytest.raises(SourceError, match=words):
        read_svhn(tmp_path)


def test_a_file_that_unpacks_to_more_than_its_arrays_need_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    write(path, {"X": IMAGES, "y": LABELS})
    bomb = zlib.compress(bytes(5_000_000), 9)
    path.write_bytes(path.read_bytes() + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(SourceError, match=r"unpacks to more|corrupt"):
        read_svhn(tmp_path)
    write(path, {"X": IMAGES, "y": LABELS, "z": np.zeros(5_000_000, dtype=np.uint8)})
    with pytest.raises(SourceError, match="unpacks to more than 80936 bytes"):
        read_svhn(tmp_path)


@pytest.mark.parametrize("keep", [0, 50, 128, 300, 5000])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "train_32x32.mat"
    write(path, {"X": IMAGES, "y": LABELS})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"MATLAB|give a file of cropped digits"):
        read_svhn(path)


def test_a_folder_without_svhn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no SVHN is there"):
        read_svhn(tmp_path)
