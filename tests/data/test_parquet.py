from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.pictures import encoded, pixels
from weightatlas.data import parquet as module
from weightatlas.data.decoding import Fit
from weightatlas.data.examples import in_order
from weightatlas.data.parquet import is_parquet, parquet_files, read_parquet
from weightatlas.errors import MissingDependencyError, SourceError

pyarrow = pytest.importorskip("pyarrow")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def write(
    path: Path,
    numbers: range,
    *,
    column: str = "image",
    plain: bool = False,
    metadata: dict[str, str] | None = None,
    **labels: Any,  # noqa: ANN401
) -> None:
    """Images of those numbers in row groups of three, with columns of labels."""
    from pyarrow import parquet

    files = [encoded(pixels(number)) for number in numbers]
    images = (
        files if plain else [{"bytes": content, "path": f"{n}.png"} for n, content in zip(numbers, files, strict=True)]
    )
    table = pyarrow.table({column: images, **(labels or {"label": [number % 3 for number in numbers]})})
    if metadata is not None:
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=3)


HUB = {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}})}


def check(examples: Any, numbers: list[int]) -> None:  # noqa: ANN401
    images, read = examples.fetch(torch.arange(len(examples)))
    expected = np.stack([pixels(number) for number in numbers]).transpose(0, 3, 1, 2)
    assert np.array_equal(images.numpy(), expected)
    assert len(read) == len(numbers)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("column", ["image", "img", "photo"])
def test_one_file_in_the_order_of_its_rows(tmp_path: Path, plain: bool, column: str) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", range(8), column=column, plain=plain, metadata=HUB)
    for path in (tmp_path, tmp_path / "train-00000-of-00001.parquet"):
        examples = read_parquet(path)
        check(examples, list(range(8)))
        assert examples.targets.tolist() == [number % 3 for number in range(8)]
        assert examples.classes == ("a", "b", "c")
        assert examples.blocks == (3, 3, 2)


def test_several_files_splits_and_folders_of_the_hub(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00001-of-00002-0123456789abcdef.parquet", range(4, 7))
    write(tmp_path / "data" / "train-00000-of-00002-0123456789abcdef.parquet", range(4))
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", range(7, 9))
    write(tmp_path / "test" / "0000.parquet", range(9, 10))
    assert {split: len(files) for split, files in parquet_files(tmp_path).items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
    }
    check(read_parquet(tmp_path), list(range(7)))
    check(read_parquet(tmp_path, split="val"), [7, 8])
    check(read_parquet(tmp_path, split="test"), [9])
    with pytest.raises(SourceError, match="no split 'extra'; there is train, validation, test"):
        read_parquet(tmp_path, split="extra")
    file = tmp_path / "data" / "validation-00000-of-00001.parquet"
    with pytest.raises(SourceError, match="not that of a split 'test'"):
        read_parquet(file, split="test")


def test_a_shuffled_pass_reads_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train.parquet", range(12))
    monkeypatch.setattr(module, "GROUP_LIMIT", 1500)  # one group fits, two do not
    reads: list[int] = []
    read = module._Groups._read

    def counted(groups: module._Groups, group: int) -> object:
        reads.append(group)
        return read(groups, group)

    monkeypatch.setattr(module._Groups, "_read", counted)
    examples = read_parquet(tmp_path)
    reads.clear()
    order = in_order(examples, limit=None, seed=1)
    numbers = torch.cat([examples.fetch(part)[1] for part in torch.split(order, 2)])
    assert torch.equal(numbers, order)
    assert len(reads) <= 4
    assert sorted(set(reads)) == sorted(reads)


def test_labels_are_found_named_or_made_of_text(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    write(path, range(4), fine_label=[5, 6, 7, 8], coarse_label=[1, 0, 1, 0], kind=["b", "a", "b", "c"])
    assert read_parquet(path).targets.tolist() == [5, 6, 7, 8]
    assert read_parquet(path, label="coarse_label").targets.tolist() == [1, 0, 1, 0]
    named = read_parquet(path, label="kind")
    assert named.targets.tolist() == [1, 0, 1, 2]
    assert named.classes == ("a", "b", "c")
    write(path, range(2), metadata={"classes": "cat,dog"}, label=[1, 0])
    assert read_parquet(path).classes == ("cat", "dog")


def test_text_labels_are_numbered_over_all_files(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", range(4), label=["dog", "bee", "dog", "cat"])
    write(tmp_path / "train-00001-of-00002.parquet", range(4, 6), label=["ant", "dog"])
    examples = read_parquet(tmp_path)
    assert examples.classes == ("ant", "bee", "cat", "dog")
    assert examples.targets.tolist() == [3, 1, 3, 2, 0, 3]


def test_texts_that_are_no_classes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightatlas.data.parquet_columns.CLASSES_LIMIT", 3)
    write(tmp_path / "train.parquet", range(4), label=["a", "b", "c", "d"])
    with pytest.raises(SourceError, match="4 different labels; choose another"):
        read_parquet(tmp_path)


def test_images_that_are_missing_or_broken_are_skipped_by_row(tmp_path: Path) -> None:
    from pyarrow import parquet

    images = [encoded(pixels(0)), None, b"broken", encoded(pixels(3))]
    table = pyarrow.table(
        {"image": [{"bytes": content, "path": "/etc/hostname"} for content in images], "label": [0] * 4}
    )
    parquet.write_table(table, tmp_path / "train.parquet")
    examples = read_parquet(tmp_path, fit=Fit(size=4))
    _, read = examples.fetch(torch.arange(4))
    assert read.tolist() == [0, 3]
    assert [entry.name for entry in examples.skipped] == ["train.parquet, row 1", "train.parquet, row 2"]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"answer": [1, 2]}, r"no column of labels with a usual name; name one: \?label=COLUMN; there is answer"),
        ({"answer": [1.5, 2.5]}, "no column of labels with a usual name; use another file; its columns: image, answer"),
        ({"label": [1, None]}, "1 rows have no 'label'"),
        ({"label": [0, 7]}, "a label 7, where it names 3 classes"),
    ],
)
def test_labels_that_cannot_be_used_are_said(tmp_path: Path, labels: dict[str, Any], words: str) -> None:
    write(tmp_path / "train.parquet", range(2), metadata=HUB, **labels)
    with pytest.raises(SourceError, match=words):
        read_parquet(tmp_path)


def test_columns_that_are_not_there_are_said(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", range(2))
    with pytest.raises(
        SourceError, match=r"no column 'photo' of encoded images; name one: \?image=COLUMN; there is image"
    ):
        read_parquet(tmp_path, image="photo")
    with pytest.raises(SourceError, match="no column 'kind' of labels"):
        read_parquet(tmp_path, label="kind")


def test_a_few_bytes_repeated_by_a_dictionary_do_not_fill_memory(tmp_path: Path) -> None:
    from pyarrow import parquet

    content = bytes(2**20)
    images = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 20_000, pyarrow.int32()), [content])
    table = pyarrow.table({"image": images, "label": [0] * 20_000})
    parquet.write_table(table, tmp_path / "train.parquet", store_schema=False)  # 20 GB, were it written out
    assert (tmp_path / "train.parquet").stat().st_size < 2**21
    with pytest.raises(SourceError, match="none of its first 100 images can be read"):
        read_parquet(tmp_path)


@pytest.mark.parametrize(
    ("start", "middle", "end"),
    [(0, b"", 100), (0, b"", -100), (0, b"PAR1" + bytes(200), 0), (0, b"PAR1PAR1", 0), (40, bytes(80), None)],
)
def test_damaged_files_are_refused(tmp_path: Path, start: int, middle: bytes, end: int | None) -> None:
    path = tmp_path / "train.parquet"
    write(path, range(2))
    raw = path.read_bytes()
    path.write_bytes(raw[:start] + middle + (raw[start + len(middle) :] if end is None else raw[start:end]))
    with pytest.raises(SourceError, match=r"corrupt|cannot be read|can be read"):
        read_parquet(path).fetch(torch.arange(2))


def test_without_pyarrow_the_pip_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "train.parquet", range(2))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'weightatlas\[parquet\]'"):
        read_parquet(tmp_path)


def test_a_parquet_file_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", range(2))
    (tmp_path / "train.parquet").rename(tmp_path / "train.data")
    (tmp_path / "other").write_bytes(b"text")
    assert is_parquet(tmp_path / "train.data")
    assert not is_parquet(tmp_path / "other")
    assert not is_parquet(tmp_path)


@pytest.mark.reference
def test_the_sample_of_imagenet_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DATA / "imagenet1k-sample"
    if not folder.is_dir():
        pytest.skip(f"the data are absent: no folder {folder}")
    monkeypatch.setattr("weightatlas.data.encoded.MEMORY", 0)
    examples = read_parquet(folder)
    assert examples.targets.tolist() == list(range(1000))
    assert examples.classes is not None
    assert examples.classes[:2] == ("tench", "goldfish")
    images, _ = examples.fetch(torch.tensor([0, 500, 999]))
    assert images.shape == (3, 3, 224, 224)
