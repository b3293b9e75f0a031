from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weightatlas.data.cifar import LAYOUTS, read_cifar
from weightatlas.data.decoding import Fit
from weightatlas.errors import SourceError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
EACH = 4


def batch(seed: int, classes: int) -> dict[str, Any]:
    """A batch of four images: rows of 3072 bytes, and labels."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 256, (EACH, 3072), dtype=np.uint8)
    if classes == 10:
        return {"data": rows, "labels": random.integers(0, 10, EACH).tolist()}
    fine, coarse = random.integers(0, 100, EACH).tolist(), random.integers(0, 20, EACH).tolist()
    return {"data": rows, "fine_labels": fine, "coarse_labels": coarse, "filenames": ["a.png"] * EACH}


def old_pickle(value: Any) -> bytes:  # noqa: ANN401 - whatever a batch holds
    """Protocol 2 as Python 2 wrote it: text and array data as its byte strings."""
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    if isinstance(value, int):
        return b"K" + bytes([value])
    if isinstance(value, list):
        return b"](" + b"".join(map(old_pickle, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(old_pickle(key) + old_pickle(inner) for key, inner in value.items()) + b"u"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    rows, columns = (int(length) for length in value.shape)
    shape = b"(K" + bytes([rows]) + b"M" + columns.to_bytes(2, "little") + b"t"
    data: bytes = value.tobytes()
    return made + b"(K\x01" + shape + dtype + b"\x89T" + len(data).to_bytes(4, "little") + data + b"tb"


def write_python(folder: Path, classes: int, *, old: bool) -> None:
    name, splits, meta = LAYOUTS[classes].python
    (folder / name).mkdir(parents=True)
    for number, part in enumerate(part for parts in splits.values() for part in parts):
        value = batch(number, classes)
        content = b"\x80\x02" + old_pickle(value) + b"." if old else pickle.dumps(value)
        (folder / name / part).write_bytes(content)
    names: dict[str, Any] = {"label_names": [f"class {label}" for label in range(10)]}
    if classes == 100:
        names = {"fine_label_names": [f"fine {label}" for label in range(100)],
                 "coarse_label_names": [f"coarse {label}" for label in range(20)]}  # fmt: skip
    (folder / name / meta).write_bytes(b"\x80\x02" + old_pickle(names) + b"." if old else pickle.dumps(names))


def write_binary(folder: Path, classes: int) -> None:
    name, splits = LAYOUTS[classes].binary
    (folder / name).mkdir(parents=True)
    for number, part in enumerate(part for parts in splits.values() for part in parts):
        value = batch(number, classes)
        keys = ["labels"] if classes == 10 else ["coarse_labels", "fine_labels"]
        columns = [np.array(value[key], dtype=np.uint8)[:, None] for key in keys]
        (folder / name / part).write_bytes(np.hstack([*columns, value["data"]]).tobytes())
    for kind, (_, text) in LAYOUTS[classes].names.items():
        count, word = LAYOUTS[classes].labels[kind], kind or "class"
        (folder / name / text).write_text("\n".join(f"{word} {label}" for label in range(count)) + "\n\n")


@pytest.mark.parametrize("layout", ["binary", "python", "python 2"])
@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("split", ["train", "test", None])
def test_every_layout_gives_the_same(tmp_path: Path, layout: str, classes: int, split: str | None) -> None:
    if layout == "binary":
        write_binary(tmp_path, classes)
    else:
        write_python(tmp_path, classes, old=layout == "python 2")
    numbers = [5 if classes == 10 else 1] if split == "test" else list(range(5 if classes == 10 else 1))
    values = [batch(number, classes) for number in numbers]
    key, word = ("labels", "class") if classes == 10 else ("fine_labels", "fine")
    for path in (tmp_path, next(tmp_path.iterdir())):
        examples = read_cifar(path, classes=classes, split=split)
        images, _ = examples.fetch(torch.arange(len(examples)))
        rows = np.concatenate([value["data"] for value in values])
        assert np.array_equal(images.numpy(), rows.reshape(-1, 3, 32, 32))
        assert examples.targets.tolist() == [label for value in values for label in value[key]]
        assert examples.classes == tuple(f"{word} {label}" for label in range(classes))


@pytest.mark.parametrize("binary", [True, False])
def test_coarse_labels_of_cifar100(tmp_path: Path, binary: bool) -> None:
    if binary:
        write_binary(tmp_path, 100)
    else:
        write_python(tmp_path, 100, old=True)
    examples = read_cifar(tmp_path, classes=100, label="coarse")
    assert examples.targets.tolist() == batch(0, 100)["coarse_labels"]
    assert examples.classes is not None
    assert len(examples.classes) == 20
    with pytest.raises(SourceError, match="no labels 'middle'; choose coarse or fine"):
        read_cifar(tmp_path, classes=100, label="middle")


def test_images_are_fitted(tmp_path: Path) -> None:
    write_binary(tmp_path, 10)
    examples = read_cifar(tmp_path, fit=Fit(size=16))
    assert examples.shape == (3, 16, 16)
    assert examples.fetch(torch.arange(3))[0].shape == (3, 3, 16, 16)


class Runs:
    """What a hostile pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no batch of CIFAR"),
        (b"text", "no batch of CIFAR"),
        (pickle.dumps([1, 2]), "a pickle of a list"),
        (pickle.dumps({"data": 1}), "no batch of CIFAR"),
        (pickle.dumps({"data": np.zeros((4, 3072)), "labels": [0] * 4}), "no array of bytes"),
        (pickle.dumps({"data": np.zeros((4, 3000), np.uint8), "labels": [0] * 4}), "no array of bytes"),
        (pickle.dumps({"data": np.zeros((3072, 4), np.uint8).T, "labels": [0] * 4}), "no array of bytes"),
        (pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [0] * 3}), "not one label for each"),
        (pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 10]}), "labels that are not 0 to 9"),
        (pickle.dumps({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, -1]}), "labels that are not 0 to 9"),
        (pickle.dumps(Runs()), "could run code"),
        (pickle.dumps({"data": Path("x"), "labels": [0]}), "not opened: its pickle asks for pathlib"),
    ],
)  # fmt: skip
def test_hostile_and_broken_pickles_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    for part in LAYOUTS[10].python[1]["train"]:
        (tmp_path / part).write_bytes(content)
    with pytest.raises(SourceError, match=words):
        read_cifar(tmp_path)


def test_truncated_and_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no CIFAR-10 is there; give the folder that holds cifar-10-batches-py"):
        read_cifar(tmp_path)
    write_binary(tmp_path, 10)
    folder = tmp_path / "cifar-10-batches-bin"
    with pytest.raises(SourceError, match="no CIFAR-100 is there"):
        read_cifar(tmp_path, classes=100)
    last = folder / "data_batch_5.bin"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(SourceError, match="no whole records of 3073"):
        read_cifar(tmp_path)
    last.unlink()
    assert len(read_cifar(tmp_path)) == EACH  # the test split alone is whole
    with pytest.raises(SourceError, match="no split 'train'; there is test"):
        read_cifar(tmp_path, split="train")
    (folder / "test_batch.bin").unlink()
    with pytest.raises(SourceError, match="no split is whole"):
        read_cifar(tmp_path)


@pytest.mark.reference
@pytest.mark.parametrize(("classes", "split", "count"), [(10, "test", 10_000), (100, "train", 50_000)])
def test_the_real_data_have_as_many_of_each_class(classes: int, split: str, count: int) -> None:
    folder = DATA / f"cifar{classes}"
    if not folder.is_dir():
        pytest.skip(f"the data are absent: no folder {folder}")
    examples = read_cifar(folder, classes=classes, split=split)
    assert len(examples) == count
    assert torch.bincount(examples.targets).tolist() == [count // classes] * classes
    assert examples.shape == (3, 32, 32)
    assert examples.classes is not None
    assert len(examples.classes) == classes
    with pytest.raises(SourceError, match=r"classes, CIFAR-\d+ has"):
        read_cifar(folder, classes=110 - classes)
