from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.io import savemat

from tests.data.pictures import encoded
from weightatlas.data import NoSplitError, read_arrays, read_cifar, read_image_folder, read_parquet, read_svhn
from weightatlas.data.splits import choose_split
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.data import Examples


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        (["test", "train"], None, "train"),
        (["validation"], None, "validation"),
        (["test", "train"], "test", "test"),
        (["training", "val"], "train", "training"),
        (["training", "val"], None, "training"),
        (["train", "validation"], "dev", "validation"),
        (["part_a", "part_b"], "part_b", "part_b"),
    ],
)
def test_the_split_that_is_meant(there: list[str], wanted: str | None, chosen: str) -> None:
    assert choose_split("data", there, wanted) == chosen


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        (["a", "b"], None, "several splits and none called train; there is a, b"),
        (["train"], "test", "no split 'test'; there is train"),
        (["val", "valid"], "validation", "no split 'validation'; there is val, valid"),
    ],
)
def test_a_split_that_is_not_there_is_said(there: list[str], wanted: str | None, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        choose_split("data", there, wanted)


def test_only_a_split_that_is_not_there_is_an_error_of_its_own() -> None:
    with pytest.raises(NoSplitError):
        choose_split("data", ["train"], "test")
    with pytest.raises(SourceError) as caught:
        choose_split("data", ["a", "b"], None)
    assert not isinstance(caught.value, NoSplitError)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Data of every layout with a training split and no other."""
    image = np.arange(3 * 32 * 32, dtype=np.uint8).reshape(32, 32, 3)
    for name in ("cats", "splits/train/cats"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.png").write_bytes(encoded(image))
    (tmp_path / "classes").mkdir()
    (tmp_path / "cats").rename(tmp_path / "classes" / "cats")
    np.savez(tmp_path / "arrays.npz", train_inputs=np.zeros((2, 3)), train_targets=np.arange(2))
    (tmp_path / "cifar").mkdir()
    (tmp_path / "cifar" / "train.bin").write_bytes(bytes([1, 2]) + image.transpose(2, 0, 1).tobytes())
    (tmp_path / "svhn").mkdir()
    savemat(tmp_path / "svhn" / "train_32x32.mat", {"X": image[..., None], "y": np.array([[1]], dtype=np.uint8)})
    (tmp_path / "parquet").mkdir()
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    table = pyarrow.table({"image": [{"bytes": encoded(image)}], "label": [0]})
    writer.write_table(table, tmp_path / "parquet" / "train-00000-of-00001.parquet")
    return {
        "classes": tmp_path / "classes",
        "splits": tmp_path / "splits",
        "arrays": tmp_path / "arrays.npz",
        "cifar": tmp_path / "cifar",
        "svhn": tmp_path / "svhn",
        "svhn file": tmp_path / "svhn" / "train_32x32.mat",
        "parquet": tmp_path / "parquet",
        "parquet file": tmp_path / "parquet" / "train-00000-of-00001.parquet",
    }


READERS: dict[str, Callable[..., Examples]] = {
    "classes": read_image_folder,
    "splits": read_image_folder,
    "arrays": read_arrays,
    "cifar": partial(read_cifar, classes=100),
    "svhn": read_svhn,
    "svhn file": read_svhn,
    "parquet": read_parquet,
    "parquet file": read_parquet,
}


@pytest.mark.parametrize("layout", READERS)
def test_every_reader_says_that_a_split_is_not_there_and_which_it_took(layout: str, places: dict[str, Path]) -> None:
    read = READERS[layout]
    with pytest.raises(NoSplitError):
        read(places[layout], split="test")
    assert read(places[layout]).split == (None if layout == "classes" else "train")


def test_an_archive_that_holds_half_a_split_is_not_one_without_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "half.npz", test_inputs=np.zeros((2, 3)))
    with pytest.raises(SourceError, match="no array 'test_targets'") as caught:
        read_arrays(tmp_path / "half.npz", split="test")
    assert not isinstance(caught.value, NoSplitError)


def test_it_comes_back_whole_from_another_process() -> None:
    back = pickle.loads(pickle.dumps(NoSplitError("data", "no split 'test'", "there is train")))  # noqa: S301
    assert (type(back), str(back)) == (NoSplitError, "data: no split 'test'; there is train")
