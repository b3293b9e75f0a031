"""The folder of one step: which file or folder in it holds the weights, and what to say where several may."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.runs.run_checks import AVERAGES, COPIES
from weightatlas.checkpoints.runs.run_folder import SHARD, SIDECAR, has_weights, holds_weights, is_weights
from weightatlas.checkpoints.runs.step_pattern import template_of
from weightatlas.checkpoints.runs.steps import stem
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.weight_files import INDICES, PREFERRED
from weightatlas.errors import SourceError
from weightatlas.wording import printable

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob, Folder

LOOKED_INTO: Final = 16
"""The most folders within the folder of a step that are looked into for a file to name."""

RANK: Final = re.compile(r"(?<![a-z])rank[-_]?[0-9]", re.IGNORECASE)
"""A name of what one process of several wrote."""


def with_weights(folder: Folder) -> Blob | Folder:
    """Where the weights of a step lie: its folder, the only file of weights in it, or the only folder that holds some.

    The state of the optimizer beside them (`optim.pt`, `zero_pp_rank_0_mp_rank_00_optim_states.pt`) does not count;
    `model_and_optim/`, `checkpoint/` and `mp_rank_00/` are such folders.
    """
    with untrusted(folder.name, "the folder cannot be read", "check the path"):
        files = list(folder.files())
        weights = [name for name in files if is_weights(name)]
        if len(weights) == 1 and ".metadata" not in files and not SHARD.fullmatch(weights[0]):
            # a rank's part under ZeRO-3 looks alone beside the optimizer's, and is not the whole
            return folder if weights[0].startswith("zero_pp_rank") else folder.blob(weights[0])
        if has_weights(folder):
            return folder
        names = _holding(folder)
    return folder.folder(names[0]) if len(names) == 1 else folder


def choices(folder: Folder) -> list[str]:
    """The files of weights in the folder of a step where nothing says which is meant: the plainest name first.

    They lie in it, or in the folders in it. None where an index, a distributed checkpoint's list or a usual name says
    which, or where they are shards.
    """
    with untrusted(folder.name, "the folder cannot be read", "check the path"):
        found = _open_choices(folder)
        if not has_weights(folder):
            for name in _holding(folder)[:LOOKED_INTO]:
                found.extend(f"{name}/{file}" for file in _open_choices(folder.folder(name)))

    def rank(name: str) -> tuple[bool, bool, int, str]:
        text = stem(name)
        return AVERAGES.search(text) is not None, COPIES.search(text) is not None, len(text), name

    return sorted(found, key=rank) if len(found) > 1 else []


def choosing(error: SourceError, name: str, files: list[str]) -> SourceError:
    """The error for the folder of a step with several files of weights, with the pattern that takes one of them.

    Args:
        error: what opening the folder said.
        name: the folder, as the run calls it.
        files: what may be meant, the likeliest first.
    """
    template = template_of([name])
    if template is None:
        chosen = printable(f"{name}/{files[0]}", limit=200)
        return SourceError(error.source, error.problem, f"give a list of the files to take, such as {chosen}")
    pattern = f"pattern={printable(f'{template}/{files[0]}', limit=200)!r}"
    if all(RANK.search(file) for file in files):
        remedy = f"each rank may hold a part: join them first, or take one with {pattern}"
    else:
        remedy = f"take one of them with {pattern}"
    return SourceError(error.source, error.problem, remedy)


def _holding(folder: Folder) -> list[str]:
    return [name for name in folder.folders() if not SIDECAR.fullmatch(name) and holds_weights(folder, name)]


def _open_choices(folder: Folder) -> list[str]:
    files = list(folder.files())
    if ".metadata" in files or any(name in PREFERRED or name.endswith(INDICES) for name in files):
        return []
    weights = [name for name in files if is_weights(name) and not name.startswith(".")]
    return [name for name in weights if not SHARD.fullmatch(name) and not name.startswith("zero_pp_rank")]
