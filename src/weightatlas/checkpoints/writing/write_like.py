"""Other values into the format of a checkpoint: its files again, byte for byte, but for the tensors that are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.checkpoints.opening import format_of
from weightatlas.checkpoints.places.blob import Blob, LocalBlob, LocalFolder
from weightatlas.checkpoints.recognition import claimed_format
from weightatlas.checkpoints.writing.filling import write_file, write_folder
from weightatlas.checkpoints.writing.originals import Original, original
from weightatlas.checkpoints.writing.pieces import overlapping
from weightatlas.errors import SourceError
from weightatlas.progress import Progress, silent
from weightatlas.wording import counted, printable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from weightatlas.checkpoints.checkpoint import Checkpoint
    from weightatlas.checkpoints.contents import Layout

Given = Mapping[str, torch.Tensor] | Callable[[str], torch.Tensor | None]

NAMED: Final = 4
"""How many names an error or a note shows."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        path: the file or the folder.
        files: their names: in the folder, or beside the file and with it.
        tensors: names of the tensors that have the values given.
        kept: names of those that were given none; without those that share elements with one that was.
        notes: what stayed as it was beside the tensors, one sentence each.
    """

    path: Path
    files: tuple[str, ...]
    tensors: tuple[str, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def write_like(
    source: str | os.PathLike[str] | Checkpoint,
    tensors: Given,
    target: str | os.PathLike[str],
    *,
    layout: Layout | None = None,
    storage_options: Mapping[str, object] | None = None,
    progress: Progress = silent,
) -> Written:
    """Write a checkpoint in the format of another one, with other values.

    The files of the original are copied, and each tensor's elements are put where they lie in them. Names, order,
    types, shapes, layouts, ties, shards, index, metadata and whatever else the files hold stay those of the original,
    the state of an optimizer too. Nothing of it is run or unpickled. One tensor at a time is in memory.

    - A file (safetensors, `torch.save` of any age, `.npz`, Keras and other HDF5, `.keras`, ONNX, GGUF's plain types)
      becomes a file. Elements that an ONNX file keeps in others become files beside it, by the same names.
    - A folder (Hugging Face with its shards, torch.distributed.checkpoint) becomes a folder, with configuration and
      words beside the weights. Weights in other formats in it are left out.

    All is written beside the target, opened once more, and then renamed: a killed process leaves the old file or none.

    Args:
        source: what `open_checkpoint` opens and lies in files: here, or behind a URL.
        tensors: values by the names in the source, of the shapes that `open_checkpoint` gives; or what gives them when
            it is called with a name, and None to keep a tensor. It is called once for each part that a tensor lies in,
            and once more where tensors share elements. Values are rounded to the type in the file.
        target: a path on this disk. A file may be replaced; a folder must not hold anything.
        layout: as `open_checkpoint` takes it; a `Checkpoint` keeps that which it was opened with.
        storage_options: likewise.
        progress: called as tensors are written.

    Returns:
        What was written.

    Raises:
        SourceError: the source lies in no file or cannot be read; the target is a part of it, holds something, or
            claims another format; a tensor is unknown, does not fit, shares elements with one that is to differ, or
            lies where nothing can be put (compressed chunks of HDF5, numbers of varying length in ONNX).

    Example:
        >>> import safetensors.torch, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> safetensors.torch.save_file({"fc.weight": torch.zeros(2, 3).half()}, folder / "old.safetensors")
        >>> given = {"fc.weight": torch.ones(2, 3)}
        >>> written = write_like(folder / "old.safetensors", given, folder / "new.safetensors")
        >>> safetensors.torch.load_file(written.path)["fc.weight"].sum()
        tensor(6., dtype=torch.float16)
    """
    found, path = original(source, layout=layout, storage_options=storage_options), Path(target)
    _check(found, path)
    values = _Values(found, tensors, progress)
    write = write_file if isinstance(found.place, Blob) else write_folder
    files = write(found, path, values)
    groups = [names for names in overlapping(found.pieces) if names & values.given.keys()]
    changed = set[str]().union(*groups) | values.given.keys()
    kept = tuple(name for name in found.headers if name not in changed)
    shared = [name for name in found.headers if name in changed and name not in values.given]
    return Written(path, files, tuple(values.given), kept, tuple(_notes(found, kept, shared)))


def refuse_overwriting(target: Path, inputs: Sequence[Path]) -> None:
    """Refuse a target that is one of the inputs, by whatever name or link.

    Raises:
        SourceError: it is.
    """
    if target.exists() and any(one.exists() and target.samefile(one) for one in inputs):
        raise SourceError(target, "would be written over an input", "give another path")


class _Values:
    """What is given for each tensor: its names are checked before anything is written, its values come one by one."""

    def __init__(self, found: Original, tensors: Given, progress: Progress) -> None:
        self._tensors, self._progress, self._count = tensors, progress, len(found.headers)
        self.given: dict[str, None] = {}
        strange = [] if callable(tensors) else [name for name in tensors if name not in found.headers]
        if strange:
            raise SourceError(found.name, f"has no tensor {_shown(strange)}", "give values by the names in the file")

    def __call__(self, name: str) -> torch.Tensor | None:
        value = self._tensors(name) if callable(self._tensors) else self._tensors.get(name)
        if value is not None and name not in self.given:
            self.given[name] = None
            self._progress(len(self.given), self._count, name)
        return value


def check_target(source: str | os.PathLike[str] | Checkpoint, target: str | os.PathLike[str]) -> None:
    """Refuse, before any work, a target that `write_like` would refuse.

    Raises:
        SourceError: the source lies in no file; the target is a part of it, holds something, or is of another kind.
    """
    _check(original(source), Path(target))


def _check(found: Original, path: Path) -> None:
    refuse_overwriting(path, [blob.path() for blob in found.files().values() if isinstance(blob, LocalBlob)])
    if not isinstance(found.place, Blob):
        refuse_overwriting(path, [found.place.path] if isinstance(found.place, LocalFolder) else [])
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise SourceError(path, "there is something already, and a folder is written", "name a new folder")
        return
    if path.is_dir():
        raise SourceError(path, "a folder, and a file is written", "name a file in it")
    title, claimed = format_of(found.place).title, claimed_format(path.name)
    if claimed not in {None, title}:
        ending = Path(found.place.filename).suffix
        raise SourceError(path, f"its name says {claimed}, what is written is {title}", f"end its name in {ending}")
    there = next((other for name in list(found.files())[1:] if (other := path.parent / name).exists()), None)
    if there is not None:
        raise SourceError(there, "there is something already, and elements go there", "write into another folder")


def _notes(found: Original, kept: Sequence[str], shared: Sequence[str]) -> Iterator[str]:
    if shared:
        yield f"tied in {found.name} to tensors that were given values, and changed with them: {_shown(shared)}"
    if kept:
        yield f"{counted(len(kept), 'tensor')} of {found.name} kept the values they had: {_shown(kept)}"
    beside = [entry.name for entry in found.contents.skipped]
    if beside:
        yield f"what lies beside the weights is that of {found.name} as it was: {_shown(beside)}"


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(repr(printable(name, limit=80)) for name in names[:NAMED]) + more
