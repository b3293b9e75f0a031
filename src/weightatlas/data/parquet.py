"""Images in Parquet files, as the Hugging Face hub keeps data sets: a column of encoded images, a column of labels."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.data.decoding import KEEP, Fit
from weightatlas.data.encoded import encoded_examples
from weightatlas.data.parquet_columns import Columns, class_names, find_columns, numbered, read_labels
from weightatlas.data.splits import NoSplitError, choose_split
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weightatlas.data.examples import Examples

MAGIC: Final = b"PAR1"
GROUP_LIMIT: Final = 512 * 2**20
"""The most bytes that the images of one row group may take, encoded; and what is kept of several."""

METADATA_LIMIT: Final = 64 * 2**20
ROWS_LIMIT: Final = 20_000_000
_SPLIT = re.compile(r"(?P<split>[A-Za-z0-9_]+?)(-\d+-of-\d+(-[0-9a-f]+)?)?\.parquet")


def is_parquet(path: Path) -> bool:
    """Whether a file starts as a Parquet file does, or a folder holds files that are named so."""
    if path.is_dir():
        return bool(parquet_files(path))
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def parquet_files(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of a folder by split, in order: of itself, of `data/`, and of folders named for a split.

    The split is what stands before `-00000-of-00001`; a plain number is a part of the split its folder is named for.
    """
    found: dict[str, list[Path]] = {}
    inner = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    for place in (folder, *inner):
        for path in sorted(place.glob("*.parquet")):
            match = _SPLIT.fullmatch(path.name)
            name = match["split"] if match else path.stem
            found.setdefault(place.name if name.isdigit() and place != folder else name, []).append(path)
    return found


def read_parquet(
    path: Path, *, split: str | None = None, label: str | None = None, image: str | None = None, fit: Fit = KEEP
) -> Examples:
    """Open the images and labels of a Parquet file, or of a folder of them; pixels are decoded when asked for.

    Images are in a column of encoded bytes (the hub's `{bytes, path}`, or plain binary) called `image`, `img` or as
    `image` says; only bytes in the file are read, never a path it names. Labels are in a column of integers called
    `label`, `labels`, `fine_label`, `target` or `class`, or as `label` says; text is taken as class names in
    alphabetical order. Names of classes come from the hub's own metadata, or from a comma-separated list under
    `classes` in the file's metadata.

    Args:
        path: a file, or a folder as the hub lays it out: `SPLIT-00000-of-00001.parquet`, `data/`, `SPLIT/0000.parquet`.
        split: which one; None is "train" if it is there, else the only one there is.
        label: the column of labels.
        image: the column of images.
        fit: the size to bring the images to.

    Returns:
        Examples with int64 targets, in the order of the files and their rows; a row group is a block.

    Raises:
        NoSplitError: there is no such split.
        SourceError: a file is corrupt, has no such column, or holds a label that is missing or has no name.
        MissingDependencyError: pyarrow is not installed.

    **Source:** the layout of the hub's `datasets` library (features `Image` and `ClassLabel`).
    """
    if path.is_file():
        files = [path]
        match = _SPLIT.fullmatch(path.name)
        chosen = None if match is None else match["split"]
        if split not in {None, chosen}:
            problem = f"one file, and not that of a split {split!r}"
            raise NoSplitError(path, problem, "give its folder, or drop ?split=")
    else:
        by_split = parquet_files(path)
        chosen = choose_split(str(path), list(by_split), split)
        files = by_split[chosen]
    shards = [_open(file) for file in files]
    with untrusted(path, "a corrupt Parquet file"):
        columns = find_columns(str(path), shards[0].file.schema_arrow, label, image)
        return replace(_examples(str(path), shards, columns, fit), split=chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _Shard:
    """One open file."""

    path: Path
    file: Any


def _open(path: Path) -> _Shard:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(path, "pyarrow", "parquet") from error
    with untrusted(path, "a corrupt Parquet file"):
        limits = {"thrift_string_size_limit": METADATA_LIMIT, "thrift_container_size_limit": 1_000_000}
        file = parquet.ParquetFile(path, memory_map=True, **limits)
        if not 0 <= file.metadata.num_rows <= ROWS_LIMIT:
            raise SourceError(path, f"claims {file.metadata.num_rows} rows", "do not use this file")
        return _Shard(path, file)


def _examples(name: str, shards: Sequence[_Shard], columns: Columns, fit: Fit) -> Examples:
    import torch

    groups = _Groups(shards, columns)
    values, texts = numbered([read_labels(str(shard.path), shard.path, columns.label) for shard in shards])
    classes = texts or class_names(name, shards[0].file.schema_arrow, columns.label)
    targets = torch.from_numpy(values)
    if len(targets) != groups.starts[-1]:
        raise SourceError(name, f"{len(targets)} labels for {groups.starts[-1]} rows", "download it again")
    if classes is not None and len(targets) and int(targets.max()) >= len(classes):
        problem = f"a label {int(targets.max())}, where it names {len(classes)} classes"
        raise SourceError(name, problem, "name the column of labels: ?label=COLUMN")
    return encoded_examples(
        name, groups.content, targets, title=groups.title, fit=fit, classes=classes, blocks=groups.sizes
    )


class _Groups:
    """The images of all row groups by number; the groups that were read last stay in memory."""

    def __init__(self, shards: Sequence[_Shard], columns: Columns) -> None:
        self.column = columns.image
        self.places = [(shard, group) for shard in shards for group in range(shard.file.metadata.num_row_groups)]
        self.sizes = [shard.file.metadata.row_group(group).num_rows for shard, group in self.places]
        self.starts = [0, *accumulate(self.sizes)]
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def content(self, number: int) -> bytes:
        """The bytes of one image."""
        group = self._group_of(number)
        with self._lock:
            if group not in self._kept:
                self._kept[group] = self._read(group)
                while len(self._kept) > 1 and sum(array.nbytes for array in self._kept.values()) > GROUP_LIMIT:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(group)
            images = self._kept[group]
        found = images[number - self.starts[group]].as_py()
        if not isinstance(found, bytes):
            message = "no bytes in its row"
            raise ValueError(message)  # noqa: TRY004 - one image is missing, which becomes a skipped row
        return found

    def title(self, number: int) -> str:
        """What an image is called: its row in its file."""
        group = self._group_of(number)
        shard = self.places[group][0]
        first = next(place for place, (other, _) in enumerate(self.places) if other is shard)
        return f"{shard.path.name}, row {number - self.starts[first]}"

    def _group_of(self, number: int) -> int:
        from bisect import bisect_right

        return bisect_right(self.starts, number) - 1

    def _read(self, group: int) -> Any:  # noqa: ANN401 - an array of pyarrow, which has no types
        """The encoded images of a group, repeated ones held once: a few bytes cannot become gigabytes."""
        from pyarrow import parquet

        shard, position = self.places[group]
        with untrusted(shard.path, f"its row group {position} cannot be read"):
            part = shard.file.metadata.row_group(position)
            claimed = [part.column(number) for number in range(part.num_columns)]
            size = sum(c.total_uncompressed_size for c in claimed if c.path_in_schema == self.column)
            if not 0 <= size <= GROUP_LIMIT:
                raise SourceError(shard.path, f"a row group of {size} bytes", "write it with smaller row groups")
            file = parquet.ParquetFile(shard.path, memory_map=True, read_dictionary=[self.column])
            table = file.read_row_group(position, columns=[self.column], use_threads=False)
            array = table.column(0).combine_chunks()
            if hasattr(array, "num_chunks"):
                array = array.chunk(0)
            return array.field("bytes") if "." in self.column else array
