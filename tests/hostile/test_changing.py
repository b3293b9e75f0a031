"""Files that change or vanish between listing and reading, and while they are listed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.hostile.folder_lies import FIRST, INDEX, indexed
from tests.hostile.safetensors_lies import entry, packed
from tests.hostile.valid_files import BUILDERS, valid
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from typing import BinaryIO

Change = Callable[[Path], None]
SAID: Final = r"changed|no such file|missing|is a directory|cannot be read|pipe|no file"
HELD: Final = frozenset({"arrays.pkl"})
"""Files so small that their values were read with the list: they stay what they were."""


def _vanish(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(100))


def _overwrite(path: Path) -> None:
    state = path.stat()
    path.write_bytes(bytes(state.st_size))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))  # a clock may be too coarse to see it


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(path.stat().st_size))
    other.replace(path)


def _become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: Final[dict[str, Change]] = {
    "vanishes": _vanish,
    "is cut": _cut,
    "is emptied": _empty,
    "grows": _grow,
    "is overwritten": _overwrite,
    "is replaced": _replace,
    "becomes a folder": _become_folder,
    "becomes a pipe": _become_pipe,
}


def place(folder: Path, name: str) -> Path:
    path = folder / f"model{''.join(Path(name).suffixes)}"
    path.write_bytes(valid(name))
    return path


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", BUILDERS)
def test_a_file_that_changes_before_it_is_read_is_said(name: str, change: Change, tmp_path: Path) -> None:
    path = place(tmp_path, name)
    checkpoint = open_checkpoint(path)
    assert len(checkpoint) > 0
    change(path)
    if name in HELD:
        assert [tensor.tolist() for tensor in checkpoint.values()] == [[[1, 2], [3, 4]]]
        return
    for tensor in checkpoint:
        with pytest.raises(SourceError) as refusal:
            checkpoint[tensor]
        assert re.search(SAID, str(refusal.value), re.IGNORECASE), str(refusal.value)
        assert str(refusal.value).count("\n") == 0


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", BUILDERS)
def test_a_file_that_changes_while_it_is_listed_is_said(
    name: str, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever time the file is opened, it has changed by then."""
    opened = LocalBlob.open
    refused = listed = 0
    for moment in range(1, 40):
        folder = tmp_path / str(moment)
        folder.mkdir()
        path = place(folder, name)
        times = 0

        def open_later(blob: LocalBlob, moment: int = moment, path: Path = path) -> BinaryIO:
            nonlocal times
            times += 1
            if times == moment:
                change(path)
            return opened(blob)

        monkeypatch.setattr(LocalBlob, "open", open_later)
        try:
            open_checkpoint(path)
            listed += 1
        except SourceError as error:
            refused += 1
            assert str(error).count("\n") == 0  # noqa: PT017 - either outcome is right
        shutil.rmtree(folder)
        if times < moment:
            break
    assert refused > 0
    assert listed > 0


@pytest.mark.parametrize("change", [_vanish, _cut, _replace, _become_folder])
def test_a_shard_that_changes_before_it_is_read_is_said(change: Change, tmp_path: Path) -> None:
    indexed({"a.weight": FIRST}, files={FIRST: packed({"a.weight": entry()})})(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    change(tmp_path / FIRST)
    with pytest.raises(SourceError, match=SAID):
        checkpoint["a.weight"]


def test_a_folder_that_vanishes_before_it_is_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    indexed({"a.weight": FIRST}, files={FIRST: packed({"a.weight": entry()})})(folder)
    checkpoint = open_checkpoint(folder / INDEX)
    shutil.rmtree(folder)
    with pytest.raises(SourceError, match=r"(?i)no such file"):
        checkpoint["a.weight"]
