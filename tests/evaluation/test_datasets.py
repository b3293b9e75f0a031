from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io

from tests.data.pictures import encoded, pixels
from weightatlas.data import Scenes, language_examples
from weightatlas.errors import SourceError
from weightatlas.evaluation import Data, open_data

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with data in every layout."""
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        path = tmp_path / "photos" / ("dog" if number % 2 else "cat") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(number)))
    images = np.stack([pixels(number) for number in range(6)])
    np.savez(tmp_path / "images.npz", inputs=images, targets=np.arange(6))
    np.savez(tmp_path / "features.npz", inputs=np.ones((6, 5)), targets=np.arange(6) / 2)
    digits = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 6), dtype=np.uint8)
    (tmp_path / "svhn").mkdir()
    io.savemat(tmp_path / "svhn" / "train_32x32.mat", {"X": digits, "y": np.arange(1, 7)[:, None]})
    (tmp_path / "cifar").mkdir()
    records = np.random.default_rng(0).integers(0, 10, (6, 3073), dtype=np.uint8)
    (tmp_path / "cifar" / "test_batch.bin").write_bytes(records.tobytes())
    (tmp_path / "cifar100").mkdir()
    records = np.random.default_rng(0).integers(0, 20, (6, 3074), dtype=np.uint8)
    (tmp_path / "cifar100" / "train.bin").write_bytes(records.tobytes())
    code = "import torch\ndef pairs(n=2):\n    return [(torch.ones(3, 2), torch.zeros(3))] * n\n"
    code += "def stream(n=2):\n    yield from pairs(n)\ndef nothing():\n    return 3\n"
    (tmp_path / "h6_data.py").write_text(code)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "shape", "examples"),
    [
        ("photos", (3, 8, 8), 6),
        ("photos?size=4&resize=6&normalize=imagenet&shuffle=true", (3, 4, 4), 6),
        ("images.npz", (3, 8, 8), 6),
        ("images.npz?size=4&limit=3", (3, 4, 4), 3),
        ("features.npz", (5,), 6),
        ("svhn:svhn", (3, 32, 32), 6),
        ("svhn:svhn/train_32x32.mat?size=16", (3, 16, 16), 6),
        ("cifar10:cifar", (3, 32, 32), 6),
        ("cifar10:cifar?split=test&limit=2&normalize=cifar10", (3, 32, 32), 2),
        ("cifar100:cifar100?label=coarse", (3, 32, 32), 6),
        ("scenes", (3, 24, 24), 25_600),
        ("scenes?label=left&size=16&steps=3&split=test", (3, 16, 16), 192),
    ],
)
@pytest.mark.usefixtures("here")
def test_every_kind_of_data_opens_by_name_and_can_be_gone_through_again(
    name: str, shape: tuple[int, ...], examples: int
) -> None:
    data = open_data(name)
    assert data.shape == shape
    assert data.examples == examples
    assert len(data) == -(-examples // 64)
    data = open_data(name, limit=min(examples, 130))
    first = list(data)
    assert sum(len(targets) for _, targets in first) == data.examples
    assert all(inputs.dtype == torch.float32 and inputs.shape[1:] == shape for inputs, _ in first)
    data.epoch = 0
    for (one, first_targets), (two, second_targets) in zip(first, data, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(first_targets, second_targets)


def test_a_parquet_folder_and_a_file_open_by_name(here: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"image": [{"bytes": encoded(pixels(number))} for number in range(4)], "label": [0, 1, 0, 1]})
    (here / "hub").mkdir()
    parquet.write_table(table, here / "hub" / "test-00000-of-00001.parquet")
    for name in ("hub", "hub?split=test", "hub/test-00000-of-00001.parquet", "cifar10:hub"):
        ((inputs, targets),) = open_data(name)
        assert torch.equal(inputs[2], torch.from_numpy(pixels(2)).permute(2, 0, 1).float() / 255)
        assert targets.tolist() == [0, 1, 0, 1]


def test_images_are_those_of_the_files(here: Path) -> None:
    ((inputs, targets),) = open_data(here / "photos")
    assert targets.tolist() == [0, 0, 0, 1, 1, 1]
    expected = np.stack([pixels(number) for number in (0, 2, 4, 1, 3, 5)]).transpose(0, 3, 1, 2) / np.float32(255)
    assert np.array_equal(inputs.numpy(), expected)


def test_scenes_are_those_of_the_room_of_data() -> None:
    data = open_data("scenes?label=set&steps=2", batch_size=8, seed=3)
    for (inputs, targets), (images, labels) in zip(data, Scenes("set", batch=8, steps=2, seed=3), strict=True):
        assert torch.equal(inputs, images)
        assert torch.equal(targets, labels)
    assert [len(targets) for _, targets in open_data("scenes", batch_size=8, limit=20)] == [8, 8, 4]
    hard = open_data("scenes?difficulty=hard&steps=2", batch_size=8)
    assert hard.material == Scenes(batch=8, steps=2, difficulty="hard")
    assert (hard.limit, hard.normalization) == (16, "none")


def test_the_language_is_that_of_the_room_of_data() -> None:
    data = open_data("text?difficulty=medium&context=16&split=test", batch_size=8, seed=3, limit=20)
    examples = language_examples(difficulty="medium", seed=3, split="test", context=16)
    batches = list(data)
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), examples.fetch(torch.arange(20))[0])
    assert torch.equal(torch.cat([targets for _, targets in batches]), examples.targets[:20])
    assert (data.shape, data.classes, len(data)) == ((16,), tuple("abcdefgh"), 3)
    for name, message in (
        ("text?difficulty=harder", "difficulty must be one of"),
        ("text?size=24", "it takes no size"),
        ("text?context=0", "give a whole number of 1 or more"),
        ("text?split=val", "no split 'val'"),
    ):
        with pytest.raises(SourceError, match=message):
            open_data(name)


def test_a_text_file_is_opened_by_name(here: Path) -> None:
    (here / "text.txt").write_text("to be or not to be, " * 30, encoding="utf-8")
    data = open_data("text:text.txt?context=8", batch_size=5)
    inputs, targets = next(iter(data))
    assert bytes(inputs[0].byte().tolist() + targets[0, -1:].tolist()) == b"to be or "
    assert (data.shape, len(data.classes or ())) == ((8,), 256)
    with pytest.raises(SourceError, match="it takes no difficulty"):
        open_data("text:text.txt?difficulty=easy")
    with pytest.raises(SourceError, match=r"no such file or folder: 'absent\.txt'"):
        open_data("text:absent.txt")


@pytest.mark.usefixtures("here")
def test_batches_of_the_users_code() -> None:
    assert len(open_data("h6_data:pairs?n=3")) == 3
    stream = open_data("h6_data:stream?n=3")
    assert len(list(stream)) == len(list(stream)) == 3
    assert open_data(stream) is stream
    with pytest.raises(SourceError, match="it gives a int, no batches"):
        open_data("h6_data:nothing")


def test_re_iterables_pass_through_and_iterators_do_not() -> None:
    batches = [(torch.zeros(2, 3), torch.zeros(2))]
    data = open_data(batches)
    assert isinstance(data, Data)
    assert len(list(data)) == 1
    assert repr(data) == "Data('list', None examples of (3,))"
    with pytest.raises(SourceError, match="once only; give a list, a DataLoader"):
        open_data(iter(batches))
    with pytest.raises(SourceError, match="int: no data"):
        open_data(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "no such file or folder"),
        ("cifar1:cifar", "did you mean cifar10"),
        ("scene", "did you mean scenes"),
        ("photo", "did you mean photos"),
        ("nowhere/at/all", "give scenes, text, modular-addition, digits, digit-pairs, cifar10:PATH"),
        ("cifar10:", "no such file or folder: ''"),
        ("cifar10:missing", "no such file or folder: 'missing'"),
        ("cifar10:photos", "no CIFAR-10 is there"),
        ("svhn:photos", "no SVHN is there"),
        ("photos?colour=red", "no option 'colour'"),
        ("photos?label=x", "it takes no label"),
        ("svhn:svhn?label=x", "it takes no label"),
        ("scenes?normalize=half", "it takes no normalize"),
        ("scenes?shuffle=true", "it takes no shuffle"),
        ("scenes?label=right", "label must be one of"),
        ("scenes?difficulty=harder", "difficulty must be one of easy, medium, hard"),
        ("photos?difficulty=hard", "it takes no difficulty"),
        ("scenes?split=extra", "no split 'extra'; there is train and test"),
        ("features.npz?normalize=half", "no images of three channels"),
        ("features.npz?size=4", "no images of three channels"),
        ("cifar/test_batch.bin", "a|b"),
        ("h6_data.py", "h6_data.py"),
    ],
)
@pytest.mark.usefixtures("here")
def test_no_data_say_what_there_is(name: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        open_data(name)
    assert "\n" not in str(caught.value)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "split", "examples", "classes"),
    [("cifar10", "test", 10_000, 10), ("cifar100", "test", 10_000, 100), ("imagenet1k-sample", "val", 1000, 1000)],
)
def test_the_real_data_open_and_batch(name: str, split: str, examples: int, classes: int) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"the data are absent: no folder {DATA / name}")
    prefix = f"{name}:" if name.startswith("cifar") else ""
    data = open_data(f"{prefix}{DATA / name}?split={split}", normalize="imagenet")
    assert data.examples == examples
    assert data.classes is not None
    assert len(data.classes) == classes
    inputs, targets = next(iter(data))
    assert inputs.shape[0] == len(targets) == 64
    assert abs(float(inputs.mean())) < 0.5
    assert data.skipped == ()
