"""The checkpoints that a run may consist of: from a folder, a list, a mapping of steps, or the branches of a hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.arranging import arrange
from weightatlas.checkpoints.checkpoint import Checkpoint
from weightatlas.checkpoints.opening import open_checkpoint, open_location
from weightatlas.checkpoints.places.blob import Blob, LocalFolder
from weightatlas.checkpoints.places.hub_cache import references, snapshot_of
from weightatlas.checkpoints.places.locations import locate, public_name
from weightatlas.checkpoints.runs.step_folder import choices, choosing, with_weights
from weightatlas.checkpoints.runs.step_metadata import read_trainer_state
from weightatlas.checkpoints.runs.steps import Reading
from weightatlas.checkpoints.weight_files import PREFERRED
from weightatlas.checkpoints.zoo import ZOOS
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.contents import Layout
    from weightatlas.checkpoints.places.blob import Folder
    from weightatlas.checkpoints.runs.run_folder import Level

PARTS: Final = 3
"""How many parts of a path may tell a step, from the last one outwards."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A checkpoint that a run may consist of.

    Attributes:
        name: as messages and `Trajectory.sources` say it.
        texts: what may tell its step: its name, then the folders it lies in; empty for what is in memory.
        open: opens it, anew each time.
        is_local: whether opening it costs no network.
        told: what lies beside it and tells its step.
    """

    name: str
    texts: tuple[str, ...]
    open: Callable[[], Checkpoint]
    is_local: bool
    told: Callable[[], Reading] = Reading


@dataclass(frozen=True, slots=True)
class Access:
    """How the user wants sources opened.

    Attributes:
        layout: how arrays are stored where their format does not say.
        storage_options: what goes to the fsspec file system of a URL.
    """

    layout: Layout | None = None
    storage_options: Mapping[str, object] | None = None


def members_of_level(level: Level, access: Access, *, inner: str = "") -> list[Member]:
    """The checkpoints of a folder; `inner` is the file to take in the folder of each step."""
    is_local = isinstance(level.folder, LocalFolder)
    files = [_file_member(level.folder, name, access, is_local=is_local) for name in level.files]
    folders = [_folder_member(level.folder, name, inner, access, is_local=is_local) for name in level.folders]
    return files + folders


def members_of_list(sources: Sequence[Any], access: Access) -> list[Member]:
    """The checkpoints of a list: paths, URLs, zoo names, modules, state dicts, open checkpoints."""
    return [_given_member(source, f"checkpoint {place}", access) for place, source in enumerate(sources)]


def members_of_steps(sources: Mapping[int, Any], access: Access) -> list[Member]:
    """The checkpoints of a mapping from step to source."""
    return [_given_member(source, f"step {step}", access) for step, source in sources.items()]


def members_of_branches(repository: str, access: Access) -> list[Member]:
    """The branches and tags of a hub's repository, each a checkpoint: `hf://org/repo@step1000`."""
    from weightatlas.checkpoints.places.hub import branches  # huggingface_hub: only where it is named

    repository = repository.rstrip("/")
    names = branches(repository, storage_options=access.storage_options)
    members = [_given_member(f"{repository}@{name.replace('/', '%2F')}", "", access) for name in names]
    return [replace(member, texts=(name,)) for member, name in zip(members, names, strict=True)]


def members_of_cache(folder: LocalFolder, access: Access) -> list[Member]:
    """The branches and tags in a repository's folder of the Hub's cache on this disk, each a checkpoint."""
    return [_snapshot_member(folder, name, access) for name in references(folder.path)]


def _snapshot_member(folder: LocalFolder, name: str, access: Access) -> Member:
    open_it = partial(_open_snapshot, folder, name, access)
    return Member(name, (name,), open_it, is_local=True, told=lambda: read_trainer_state(_snapshot(folder, name)))


def _file_member(folder: Folder, name: str, access: Access, *, is_local: bool) -> Member:
    lies_alone = name == "." or name in PREFERRED  # then what lies beside it is about it
    told = (lambda: read_trainer_state(folder)) if lies_alone else Reading
    return Member(name, (name,), partial(_open_file, folder, name, access), is_local, told)


def _folder_member(folder: Folder, name: str, inner: str, access: Access, *, is_local: bool) -> Member:
    open_it = partial(_open_inner, folder, name, inner, access)
    return Member(name, (name,), open_it, is_local, lambda: read_trainer_state(folder.folder(name)))


def _given_member(source: Any, nameless: str, access: Access) -> Member:  # noqa: ANN401 - whatever a list holds
    """A source that the user gave, opened as `open_checkpoint` would."""
    if isinstance(source, Checkpoint):
        return Member(source.source, _parts(source.source), lambda: source, is_local=True)
    if not isinstance(source, str | os.PathLike):
        return Member(nameless, (), lambda: open_checkpoint(source, layout=access.layout), is_local=True)
    text = os.fsdecode(os.fspath(source))
    if text.partition(":")[0] in ZOOS and not Path(text).exists():
        return Member(text, (text,), lambda: open_checkpoint(text, layout=access.layout), is_local=False)
    name = public_name(text)
    is_local = "://" not in text or text.startswith(("file://", "local://"))

    def told() -> Reading:
        place = locate(text, storage_options=access.storage_options)
        if isinstance(place, Blob):
            return read_trainer_state(place.folder()) if place.filename in PREFERRED else Reading()
        return read_trainer_state(place)

    return Member(name, _parts(name), partial(_open_given, text, access), is_local, told)


# What opens a member is a function of this module, so that its checkpoint can be opened in another process too.


def _open_file(folder: Folder, name: str, access: Access) -> Checkpoint:
    place = folder if name == "." else folder.blob(name)
    again = partial(_open_file, folder, name, access)
    return arrange(_joined(folder, name), open_location(place), access.layout, again)


def _open_inner(folder: Folder, name: str, inner: str, access: Access) -> Checkpoint:
    place = folder.blob(f"{name}/{inner}") if inner else with_weights(folder.folder(name))
    again = partial(_open_inner, folder, name, inner, access)
    try:
        return arrange(_joined(folder, name), open_location(place), access.layout, again)
    except SourceError as error:
        # only where the folder itself is at fault: a file in it that is broken stays the matter
        files = [] if isinstance(place, Blob) or error.source != place.name else choices(folder.folder(name))
        if files:
            raise choosing(error, name, files) from error
        raise


def _open_snapshot(folder: LocalFolder, name: str, access: Access) -> Checkpoint:
    place = _snapshot(folder, name)
    again = partial(_open_snapshot, folder, name, access)
    return arrange(place.name, open_location(with_weights(place)), access.layout, again)


def _open_given(text: str, access: Access) -> Checkpoint:
    place = locate(text, storage_options=access.storage_options)
    if not isinstance(place, Blob):
        place = with_weights(place)
    return arrange(public_name(text), open_location(place), access.layout, partial(_open_given, text, access))


def _snapshot(folder: LocalFolder, name: str) -> LocalFolder:
    """The folder of a branch or tag in the Hub's cache.

    Raises:
        SourceError: it is not there.
    """
    path = snapshot_of(folder.path, name)
    if path is None:
        raise SourceError(name, "not in the Hub cache", "download it again")
    return LocalFolder(path)


def _joined(folder: Folder, name: str) -> str:
    return folder.name if name == "." else f"{folder.name.rstrip('/')}/{name}"


def _parts(text: str) -> tuple[str, ...]:
    parts = [part for part in text.replace("\\", "/").split("/") if part not in {"", "."}]
    return tuple(reversed(parts[-PARTS:]))
