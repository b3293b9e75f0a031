"""The Hub's cache on this disk: `models--org--name/{refs,snapshots,blobs}`, where snapshots are folders of links.

**Source:** "Understand caching" in the documentation of `huggingface_hub`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.places.blob import LocalFolder
from weightatlas.checkpoints.weight_files import INDEX_LIMIT, INDICES, PREFERRED, WEIGHTS
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.checkpoints.places.blob import Blob, Folder

REFERENCE_LIMIT: Final = 200
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_SHARD: Final = re.compile(r".*-\d{5,6}-of-(\d{5,6})\.\w+")


def repository_folder(cache: Path, repository: str) -> Path:
    """Where the cache keeps a repository.

    Example:
        >>> from pathlib import Path
        >>> repository_folder(Path("hub"), "EleutherAI/pythia-70m").name
        'models--EleutherAI--pythia-70m'
    """
    return cache / f"models--{repository.replace('/', '--')}"


def snapshot_of(repository: Path, revision: str) -> Path | None:
    """The snapshot of a branch, a tag or a commit, if it is here."""
    commit = revision if _COMMIT.fullmatch(revision) else references(repository).get(revision)
    snapshot = repository / "snapshots" / commit if commit else None
    return snapshot if snapshot is not None and snapshot.is_dir() else None


def references(repository: Path) -> dict[str, str]:
    """Branches and tags that were downloaded, with the commits they stood for then, sorted."""
    root = repository / "refs"
    found = {}
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            commit = file.read(REFERENCE_LIMIT).decode("ascii", "replace").strip()
        if re.fullmatch(r"[\w-]+", commit, re.ASCII):
            found[path.relative_to(root).as_posix()] = commit
    return found


def cache_snapshot(folder: Folder) -> tuple[LocalFolder, str] | None:
    """The snapshot that is meant by a repository's folder in the cache, and a sentence that says which it is.

    That is the one of `refs/main`, else the only one, else the one written last; None for any other folder.

    Raises:
        SourceError: the folder is a repository's, and holds no snapshot.
    """
    if not isinstance(folder, LocalFolder) or not folder.path.absolute().name.startswith("models--"):
        return None
    root = folder.path / "snapshots"
    if not root.is_dir():
        return None
    main = snapshot_of(folder.path, "main")
    if main is not None:
        return LocalFolder(main), f"the Hub cache's snapshot of main was taken, {main.name[:12]}"
    held = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    if not held:
        raise SourceError(folder.name, "a repository in the Hub cache without a snapshot", "download it again")
    newest = max(held, key=lambda path: (path.stat().st_mtime_ns, path.name))
    which = "only snapshot" if len(held) == 1 else f"newest of {len(held)} snapshots"
    return LocalFolder(newest), f"the {which} in the Hub cache was taken, {newest.name[:12]}"


def cached(snapshot: Path, path: str) -> Blob | Folder | None:
    """A file of a snapshot, or a folder of it whose weights are all here; None if something must be fetched."""
    target = snapshot / path if path else snapshot
    if target.is_dir():
        folder = LocalFolder(snapshot).folder(path) if path else LocalFolder(snapshot)
        return folder if _complete(folder) else None
    if not target.exists():
        return None
    blob = LocalFolder(snapshot).blob(path)
    if path.endswith(INDICES) and not _holds_shards(blob, blob.folder()):
        return None
    return blob


def _complete(folder: LocalFolder) -> bool:
    """Whether the weights that would be taken from a folder are there: an index with all it names, or files alone."""
    names = [name for name in folder.files() if not name.startswith(".")]
    indices = [name for name in names if name.endswith(INDICES)]
    chosen = next((name for name in PREFERRED if name in names), indices[0] if len(indices) == 1 else None)
    if chosen is not None:
        return not chosen.endswith(INDICES) or _holds_shards(folder.blob(chosen), folder)
    weights = [name for name in names if name.lower().endswith(WEIGHTS)]
    totals = {int(match[1]) for name in weights if (match := _SHARD.fullmatch(name))}
    return bool(weights) and all(len(weights) >= total for total in totals)


def _holds_shards(index: Blob, folder: Folder) -> bool:
    if index.size > INDEX_LIMIT:
        return True  # refused with its own sentence when it is opened
    try:
        owners = json.loads(index.read(0, index.size))["weight_map"]
        shards = {str(shard) for shard in owners.values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return True
    for shard in shards:
        try:
            folder.blob(shard)
        except SourceError:
            return False
    return True
