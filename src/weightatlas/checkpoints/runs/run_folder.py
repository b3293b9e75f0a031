"""What lies in the folder of a training run: its checkpoints, and what is still being written. Only names count.

A file is one checkpoint, and so is a folder. What goes with them (configurations, logs, the optimizer's state) goes by
without a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.runs.steps import LONGEST, read_name, read_names
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.weight_files import INDICES, WEIGHTS
from weightatlas.errors import SourceError
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Folder
    from weightatlas.checkpoints.runs.step_pattern import StepPattern

SUFFIXES: Final = (*INDICES, *WEIGHTS, ".pth.tar", ".onnx", ".gguf", ".keras", ".pkl", ".pickle")
"""What the names of files of weights end with."""

USUAL: Final = re.compile(
    r"checkpoints?|ckpts?|snapshots?|weights|models?|lightning_logs|version_[0-9]+", re.IGNORECASE
)
"""Folders in which runs keep their checkpoints."""

OTHERS: Final = 64
"""The most folders of other names that are looked into, on this disk."""

MAX_DEPTH: Final = 3

UNFINISHED: Final = re.compile(
    r"(?P<before>\.?(?:tmp|temp)[-_.])?(?P<name>.+?)"
    r"(?P<after>(?:[-_.]tmp|\.(?:temp|part|partial|incomplete|downloading|crdownload|orbax-checkpoint-tmp))"
    r"(?:[-_.]?[0-9]+|[-_.][0-9a-z]{4,})?)?",
    re.IGNORECASE,
)
"""A temporary name, and the name that it stands for."""

SIDECAR: Final = re.compile(
    r"optim|optimizer|scheduler|scaler|rng_state(_[0-9]+)?|random_states(_[0-9]+)?|train|training_args|args|config|"
    r"([a-z0-9]+_)?zero_pp_rank_[0-9]+_mp_rank_[0-9]+_?optim_states|tokenizer|vocab",
    re.IGNORECASE,
)
"""What has the suffix of weights and holds what lies beside them."""

SHARD: Final = re.compile(r"(?P<stem>.*)-[0-9]{5,6}-of-[0-9]{5,6}\.[a-z]+", re.IGNORECASE)
_SUFFIX: Final = re.compile(r"\.[a-z]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Level:
    """The checkpoints of one folder.

    Attributes:
        folder: which.
        files: names of files with a checkpoint each; "." for shards without an index, which lie in it openly.
        folders: names of folders with a checkpoint each.
        skipped: what has a checkpoint's name and is none yet, or lies beside the folder.
        note: a sentence on where the folder was found; empty if it is the one the user gave.
        seen: all that lies in it, for messages.
    """

    folder: Folder
    files: tuple[str, ...]
    folders: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    note: str = ""
    seen: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All its checkpoints."""
        return (*self.files, *self.folders)


def find_level(folder: Folder, *, is_local: bool, pattern: StepPattern | None) -> Level:
    """The folder that holds a run's checkpoints: the one given, or the only one in it that does.

    Args:
        folder: what the user gave.
        is_local: whether looking costs nothing; behind a URL only folders of usual names are looked into.
        pattern: where the user says that the step stands in a name.

    Raises:
        SourceError: there are several such folders, or the folder cannot be read.
    """
    level = look(folder, is_local=is_local, pattern=pattern)
    return _search(level, MAX_DEPTH, is_local=is_local, pattern=pattern) or level


def _search(level: Level, depth: int, *, is_local: bool, pattern: StepPattern | None) -> Level | None:
    if _tell_steps(level.names, pattern):
        return level
    inner = [name.rstrip("/") for name in level.seen if name.endswith("/") and not name.startswith((".", "_"))]
    usual = [name for name in inner if USUAL.fullmatch(name)]
    others = [name for name in inner if name not in usual][: OTHERS if is_local else 0]
    for names in (usual, others) if depth else ():
        below = {name: _look_into(level.folder, name, is_local=is_local, pattern=pattern) for name in names}
        found = {
            name: run
            for name, inside in below.items()
            if inside is not None
            and (run := _search(inside, depth - 1, is_local=is_local, pattern=pattern)) is not None
        }
        if len(found) > 1:
            runs = listed([f"{printable(name, limit=80)}/" for name in list(found)[:8]])
            problem = f"holds the checkpoints of {len(found)} runs ({runs})"
            raise SourceError(level.folder.name, problem, "give one of them")
        for name, run in found.items():
            return _found_in(level, name, run)
    return None


def _look_into(folder: Folder, name: str, *, is_local: bool, pattern: StepPattern | None) -> Level | None:
    try:
        return look(folder.folder(name), is_local=is_local, pattern=pattern)
    except SourceError:  # not ours to read, or a link that leaves the folder: the run is not in there
        return None


def _found_in(outer: Level, name: str, run: Level) -> Level:
    others = [
        Skipped(other, f"lies beside {printable(name, limit=80)}/, which holds the run")
        for other in outer.names
        if other != name and not SIDECAR.fullmatch(other)
    ]
    note = run.note or f"the checkpoints were found in {run.folder.name}"
    return replace(run, skipped=(*outer.skipped, *others, *run.skipped), note=note)


def look(folder: Folder, *, is_local: bool, pattern: StepPattern | None) -> Level:
    """The checkpoints that lie directly in a folder.

    A file counts by its suffix, a folder by the step that its name tells; on this disk also by the weights in it.
    Whatever fits the user's pattern counts.

    Raises:
        SourceError: the folder cannot be read.
    """
    with untrusted(folder.name, "the folder cannot be read", "check the path"):
        files, folders = list(folder.files()), list(folder.folders())
    told = read_names([finished_name(name) for name in folders])
    weights = [name for name in files if is_weights(finished_name(name)) or _fits(name, pattern)]
    holding = [
        name
        for name in folders
        if told[finished_name(name)].tells or _fits(name, pattern) or (is_local and holds_weights(folder, name))
    ]
    skipped = [
        Skipped(name, "cannot be opened (a temporary name): still being written?")
        for name in (*weights, *holding)
        if finished_name(name) != name
    ]
    return Level(
        folder,
        tuple(_without_shards([name for name in weights if _is_whole(name)])),
        tuple(name for name in holding if _is_whole(name)),
        tuple(skipped),
        seen=(*files, *(f"{name}/" for name in folders)),
    )


def _fits(name: str, pattern: StepPattern | None) -> bool:
    return pattern is not None and pattern.step(name) is not None


def _tell_steps(names: Sequence[str], pattern: StepPattern | None) -> bool:
    if pattern is not None:
        return any(_fits(name, pattern) for name in names)
    return any(reading.tells for reading in read_names(names).values())


def finished_name(name: str) -> str:
    """The name that a temporary name stands for; any other name as it is.

    Example:
        >>> finished_name("tmp-checkpoint-100"), finished_name("step100.pt.part"), finished_name("step100.pt")
        ('checkpoint-100', 'step100.pt', 'step100.pt')
    """
    match = UNFINISHED.fullmatch(name[:LONGEST])
    return match["name"] if match and (match["before"] or match["after"]) else name


def _is_whole(name: str) -> bool:
    return finished_name(name) == name and not name.startswith(".")


def is_weights(name: str) -> bool:
    """Whether a file's name is one of weights: by its suffix, or without one by the step that it tells.

    Example:
        >>> is_weights("step-10.ckpt"), is_weights("step-10"), is_weights("step-10.png"), is_weights("optimizer.pt")
        (True, True, False, False)
    """
    suffix = next((end for end in SUFFIXES if name.lower().endswith(end)), None)
    if suffix is not None:
        return not SIDECAR.fullmatch(name[: -len(suffix)])
    return not _SUFFIX.search(name) and (read_name(name).tells or name.isdigit())


def _without_shards(names: Sequence[str]) -> list[str]:
    """Names with the shards of an index left out, and "." in the place of shards that have none."""
    indexed = {name.removesuffix(suffix) for name in names for suffix in INDICES if name.endswith(suffix)}
    shards = {name: match["stem"] for name in names if (match := SHARD.fullmatch(name))}
    whole = [name for name in names if name not in shards]
    return [".", *whole] if set(shards.values()) - indexed else whole


def holds_weights(folder: Folder, name: str) -> bool:
    """Whether there are weights directly in a folder of a folder, by the names of its files."""
    try:
        return has_weights(folder.folder(name))
    except (OSError, SourceError):  # gone since, not ours to read, or a link that leaves the folder
        return False


def has_weights(folder: Folder) -> bool:
    """Whether there are weights directly in a folder, by the names of its files; a distributed checkpoint's too."""
    return any(is_weights(file) or file == ".metadata" or file.endswith(".distcp") for file in folder.files())
