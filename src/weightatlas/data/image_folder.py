"""A folder of images with a sub-folder a class, as torchvision's `ImageFolder` reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weightatlas.data.decoding import KEEP, Fit
from weightatlas.data.encoded import encoded_examples
from weightatlas.data.splits import KNOWN, NoSplitError, choose_split
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.data.examples import Examples

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
FILE_LIMIT: Final = 256 * 2**20


def read_image_folder(path: Path, *, split: str | None = None, fit: Fit = KEEP) -> Examples:
    """Open a folder of images: each sub-folder is a class, in the order of their names.

    Images are found at any depth below their class and come in the order of their paths, class by class; a link to a
    folder is followed where it is a class, and not below. Where the sub-folders are splits (`train`, `val`, `test`),
    the classes are theirs.

    Args:
        path: the folder.
        split: which split, where the folder has them; None is "train" if it is there, else the only one there is.
        fit: the size to bring the images to; without one all must have the same.

    Returns:
        Examples with int64 targets from 0, and the names of the sub-folders as classes. Images that cannot be decoded
        are skipped when their batch is read.

    Raises:
        NoSplitError: there is no such split.
        SourceError: there is no sub-folder or no image, or the images have several sizes.

    **Source:** the order and the suffixes are those of torchvision's `ImageFolder`, and GIF; a sub-folder without
    images keeps its number, as with its `allow_empty`, and is noted.
    """
    import torch

    folders = _folders(path)
    chosen: str | None = None
    if folders and all(folder.name in KNOWN for folder in folders):
        chosen = choose_split(str(path), [folder.name for folder in folders], split)
        path = path / chosen
        folders = _folders(path)
    elif split is not None:
        raise NoSplitError(path, f"no split {split[:80]!r}: its sub-folders are classes", "drop ?split=")
    if not folders:
        raise SourceError(path, "no sub-folders", "give a folder with a sub-folder of images for each class")
    files: list[Path] = []
    targets: list[int] = []
    empty: list[str] = []
    for number, folder in enumerate(folders):
        found = _images(folder)
        files.extend(found)
        targets.extend([number] * len(found))
        if not found:
            empty.append(folder.name)
    if not files:
        raise SourceError(path, "no images in its sub-folders", f"their names should end in {', '.join(SUFFIXES)}")
    more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
    notes = [f"without images: {', '.join(repr(name[:80]) for name in empty[:5])}{more}"] if empty else []
    return encoded_examples(
        str(path),
        lambda number: _content(files[number]),
        torch.tensor(targets, dtype=torch.int64),
        title=lambda number: str(files[number].relative_to(path)),
        fit=fit,
        classes=[folder.name for folder in folders],
        notes=notes,
        split=chosen,
    )


def _folders(path: Path) -> list[Path]:
    try:
        inner = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except PermissionError as error:
        raise SourceError(path, "permission denied", "make it readable for this user") from error
    return sorted(inner, key=lambda child: child.name)


def _images(folder: Path) -> list[Path]:
    """The images below a class, folder by folder, as `ImageFolder` lists them."""
    found: list[Path] = []
    for place, _, names in sorted(os.walk(folder)):
        found.extend(Path(place) / name for name in sorted(names) if name.lower().endswith(SUFFIXES))
    return found


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        message = f"a file of more than {FILE_LIMIT} bytes"
        raise ValueError(message)
    return content
