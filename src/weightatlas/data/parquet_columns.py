"""Which columns of a Parquet file are images and labels, and what the classes are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IMAGES: Final = ("image", "img")
LABELS: Final = ("label", "labels", "fine_label", "target", "class")
CLASSES_LIMIT: Final = 100_000
TEXTS_LIMIT: Final = 2**24


@dataclass(frozen=True, slots=True)
class Columns:
    """Where in a file images and labels are.

    Attributes:
        image: path of the column of bytes: "image.bytes", or "image" where it is plain binary.
        label: name of the column of labels.
    """

    image: str
    label: str


def find_columns(source: str, schema: Any, label: str | None, image: str | None) -> Columns:  # noqa: ANN401 - pyarrow
    """The columns of images and labels: those that are named, or those with the usual names.

    Raises:
        SourceError: there is none, or it is of another type.
    """
    from pyarrow import types

    kinds = {field.name: field.type for field in schema}
    binary = (types.is_binary, types.is_large_binary)
    paths: dict[str, str] = {}
    for name, kind in kinds.items():
        if any(test(kind) for test in binary):
            paths[name] = name
        elif types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and types.is_binary(kind.field("bytes").type):
            paths[name] = f"{name}.bytes"
    labels = [name for name, kind in kinds.items() if types.is_integer(kind) or types.is_string(kind)]
    usual: list[str] = [name for name in IMAGES if name in paths] or (list(paths) if len(paths) == 1 else [])
    chosen = image if image is not None else next(iter(usual), None)
    if chosen is None or chosen not in paths:
        raise _no_column(source, "image", image, list(paths), list(kinds))
    target = label if label is not None else next((name for name in LABELS if name in labels), None)
    if target is None or target not in labels:
        raise _no_column(source, "label", label, labels, list(kinds))
    return Columns(paths[chosen], target)


def read_labels(source: str, path: Path, column: str) -> tuple[npt.NDArray[np.int64], tuple[str, ...] | None]:
    """The labels of a file: integers, or the places of texts among its different texts, and these.

    Texts are held once each, however often they stand in the file: a few bytes cannot become gigabytes.

    Raises:
        SourceError: a row has none, or there are more than 100,000 different texts: they are no classes.
    """
    from pyarrow import parquet, types

    found = parquet.read_table(path, columns=[column], read_dictionary=[column], use_threads=False, partitioning=None)
    labels = found.column(0)
    if labels.null_count:
        raise SourceError(source, f"{labels.null_count} rows have no {column[:80]!r}", "choose another ?label=COLUMN")
    if not types.is_dictionary(labels.type):
        return labels.to_numpy().astype(np.int64), None
    whole = labels.unify_dictionaries()
    texts = whole.chunk(0).dictionary if whole.num_chunks else ()
    if len(texts) > CLASSES_LIMIT or getattr(texts, "nbytes", 0) > TEXTS_LIMIT:
        raise SourceError(source, f"{len(texts)} different labels", "choose another ?label=COLUMN")
    places = [chunk.indices.to_numpy() for chunk in whole.chunks]
    return np.concatenate([np.zeros(0), *places]).astype(np.int64), tuple(text.as_py() for text in texts)


def numbered(
    labels: Sequence[tuple[npt.NDArray[np.int64], tuple[str, ...] | None]],
) -> tuple[npt.NDArray[np.int64], tuple[str, ...] | None]:
    """The labels of all files as class numbers; texts are numbered in alphabetical order, over all of them.

    Example:
        >>> numbered([(np.array([0, 1, 0]), ("dog", "ant")), (np.array([0]), ("bee",))])
        (array([2, 0, 2, 1]), ('ant', 'bee', 'dog'))
    """
    names = sorted({text for _, texts in labels for text in texts or ()})
    index = {name: number for number, name in enumerate(names)}
    parts = [
        values if texts is None else np.array([index[text] for text in texts], dtype=np.int64)[values]
        for values, texts in labels
    ]
    return np.concatenate(parts), tuple(names) or None


def class_names(source: str, schema: Any, column: str) -> tuple[str, ...] | None:  # noqa: ANN401 - pyarrow
    """What the classes are called: by the hub's metadata, or by a list under `classes`.

    Raises:
        SourceError: the metadata are corrupt.
    """
    metadata = {key.decode("utf-8", "replace"): value for key, value in (schema.metadata or {}).items()}
    if "huggingface" in metadata:
        found = bounded_json(metadata["huggingface"], source, "its metadata")
        for key in ("info", "features", column, "names"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list) and found and all(isinstance(name, str) for name in found):
            return tuple(found)
    listed = metadata.get("classes", b"").decode("utf-8", "replace")
    return tuple(listed.split(",")) if listed else None


def _no_column(
    source: str, option: str, named: str | None, fitting: Sequence[str], every: Sequence[str]
) -> SourceError:
    what = {"image": "of encoded images", "label": "of labels"}[option]
    listed = ", ".join(name[:40] for name in (fitting or every)[:8]) or "none"
    problem = f"no column {named[:80]!r} {what}" if named is not None else f"no column {what} with a usual name"
    remedy = f"name one: ?{option}=COLUMN; there is {listed}" if fitting else f"use another file; its columns: {listed}"
    return SourceError(source, problem, remedy)
