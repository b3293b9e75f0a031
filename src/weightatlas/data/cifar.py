"""CIFAR-10 and CIFAR-100 in each of their layouts: the binary version, the Python version, the hub's Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.data.cifar_pickles import read_batch, read_names
from weightatlas.data.decoding import KEEP, Fit
from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.data.fitting import refitted
from weightatlas.data.parquet import is_parquet, read_parquet
from weightatlas.data.splits import choose_split
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

PIXELS: Final = 3 * 32 * 32
NAMES_LIMIT: Final = 65536
SIZE_LIMIT: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Layout:
    """How one of the two data sets is kept.

    Attributes:
        classes: how many there are.
        python: folder, files of each split, and the file of names, of the Python version.
        binary: the same of the binary version.
        labels: which labels an image has, in the order of the binary records, with their numbers of classes.
        names: what holds the names of the classes: the key in the Python version, the file in the binary one.
    """

    classes: int
    python: tuple[str, dict[str, tuple[str, ...]], str]
    binary: tuple[str, dict[str, tuple[str, ...]]]
    labels: dict[str, int]
    names: dict[str, tuple[str, str]]


LAYOUTS: Final = {
    10: Layout(
        10,
        (
            "cifar-10-batches-py",
            {"train": tuple(f"data_batch_{part}" for part in range(1, 6)), "test": ("test_batch",)},
            "batches.meta",
        ),
        (
            "cifar-10-batches-bin",
            {"train": tuple(f"data_batch_{part}.bin" for part in range(1, 6)), "test": ("test_batch.bin",)},
        ),
        {"": 10},
        {"": ("label_names", "batches.meta.txt")},
    ),
    100: Layout(
        100,
        ("cifar-100-python", {"train": ("train",), "test": ("test",)}, "meta"),
        ("cifar-100-binary", {"train": ("train.bin",), "test": ("test.bin",)}),
        {"coarse": 20, "fine": 100},
        {
            "coarse": ("coarse_label_names", "coarse_label_names.txt"),
            "fine": ("fine_label_names", "fine_label_names.txt"),
        },
    ),
}


def read_cifar(
    path: Path, *, classes: int = 10, split: str | None = None, label: str | None = None, fit: Fit = KEEP
) -> Examples:
    """Open CIFAR-10 or CIFAR-100, in whichever layout the folder holds.

    Args:
        path: the folder of one version (`cifar-10-batches-py`, `cifar-10-batches-bin`, `cifar-100-python`,
            `cifar-100-binary`), one that holds it, or a folder or file of Parquet.
        classes: 10 or 100.
        split: "train" or "test"; None is "train" if it is there.
        label: of CIFAR-100 "fine" (the default) or "coarse"; of Parquet the name of a column.
        fit: the size to bring the images to; they are 32 x 32.

    Returns:
        Examples with images (3, 32, 32) of bytes, held in memory: 154 MB for the 50,000 of training.

    Raises:
        NoSplitError: there is no such split, or not the whole of it.
        SourceError: nothing of the kind is there, or a file is truncated or corrupt. The Python version is read as
            data: its pickles are never loaded.

    **Source:** Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; the layouts are described at
    the data set's own page: records of one label byte (CIFAR-100: a coarse and a fine one) and 3072 bytes, red, green
    and blue planes row by row.
    """
    layout = LAYOUTS[classes]
    found = _version(path, layout)
    if found is None:
        if not is_parquet(path):
            folders = f"{layout.python[0]}, {layout.binary[0]}"
            raise SourceError(path, f"no CIFAR-{classes} is there", f"give the folder that holds {folders} or Parquet")
        column = f"{label}_label" if classes == 100 and label in layout.labels else label
        examples = read_parquet(path, split=split, label=column, fit=fit)
        if examples.classes is not None and len(examples.classes) not in layout.labels.values():
            problem = f"it names {len(examples.classes)} classes, CIFAR-{classes} has {classes}"
            raise SourceError(path, problem, f"give the folder of CIFAR-{classes}")
        return examples
    folder, is_binary = found
    kind = _label(path, layout, label)
    files = layout.binary[1] if is_binary else layout.python[1]
    there = [name for name, parts in files.items() if all((folder / part).is_file() for part in parts)]
    if not there:
        raise SourceError(folder, "no split is whole", f"unpack it again: training is {', '.join(files['train'])}")
    chosen = choose_split(str(folder), there, split)
    parts = [folder / part for part in files[chosen]]
    pieces = [_records(part, layout, kind) if is_binary else read_batch(part, kind) for part in parts]
    images = torch.cat([piece for piece, _ in pieces])
    targets = torch.cat([piece for _, piece in pieces])
    limit = layout.labels[kind]
    if not len(targets) or not 0 <= int(targets.min()) <= int(targets.max()) < limit:
        raise SourceError(folder, f"labels that are not 0 to {limit - 1}", "download it again")
    key, text = layout.names[kind]
    names = _listed_names(folder / text) if is_binary else read_names(folder / layout.python[2], key)
    named = names if names is not None and len(names) == limit else None
    return refitted(held_in_memory(str(path), images, targets, classes=named, split=chosen), fit)


def _version(path: Path, layout: Layout) -> tuple[Path, bool] | None:
    """The folder of the binary or the Python version, and whether it is the binary one."""
    if not path.is_dir():
        return None
    for (name, files), is_binary in ((layout.binary, True), (layout.python[:2], False)):
        for folder in (path, path / name):
            if any((folder / part).is_file() for parts in files.values() for part in parts):
                return folder, is_binary
    return None


def _label(path: Path, layout: Layout, label: str | None) -> str:
    if label is None:
        return next(reversed(layout.labels))
    if label not in layout.labels or not label:
        there = " or ".join(name for name in layout.labels if name)
        raise SourceError(path, f"no labels {label[:40]!r}", f"choose {there}" if there else "drop ?label=")
    return label


def _records(path: Path, layout: Layout, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of a file of binary records."""
    width = len(layout.labels) + PIXELS
    size = path.stat().st_size
    if not size or size % width or size > SIZE_LIMIT:
        raise SourceError(path, f"{size} bytes are no whole records of {width}", "download it again")
    memory = bytearray(size)
    with path.open("rb") as file:
        if file.readinto(memory) != size:
            raise SourceError(path, "it became shorter while it was read", "try again")
    records = torch.frombuffer(memory, dtype=torch.uint8).reshape(-1, width)
    images = records[:, len(layout.labels) :].reshape(-1, 3, 32, 32)
    return images, records[:, list(layout.labels).index(kind)].to(torch.int64)


def _listed_names(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        text = file.read(NAMES_LIMIT).decode("utf-8", "replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
