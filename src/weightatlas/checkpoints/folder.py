"""A folder as the Hugging Face hub lays it out: one safetensors file, or shards and an index of what they hold.

Paths in an index are untrusted: a shard that lies outside the folder is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.safetensors_file import open_safetensors
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.checkpoint import Skipped

INDEX_LIMIT: Final = 100_000_000
WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".th", ".ckpt", ".npz", ".h5", ".hdf5")
_PREFERRED: Final = ("model.safetensors", "diffusion_pytorch_model.safetensors", "adapter_model.safetensors")
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")


def open_folder(path: Path, open_file: Callable[[Path], Contents]) -> Contents:
    """List the one checkpoint that a folder holds: by its index, its only safetensors file, or its only weights.

    Raises:
        SourceError: there is none, or there are several and nothing says which is meant.
    """
    with untrusted(path, "the folder cannot be read"):
        names = sorted(child.name for child in path.iterdir() if child.is_file() and not child.name.startswith("."))
        inner = sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    indices = [name for name in names if name.endswith(".safetensors.index.json")]
    chosen: str | None = next((name for name in ("model.safetensors.index.json", *_PREFERRED) if name in names), None)
    if chosen is None and len(indices) == 1:
        (chosen,) = indices
    if chosen is not None:
        return open_index(path / chosen) if chosen in indices else open_file(path / chosen)
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    if shards and len({(match[1], match[3]) for match in shards}) == 1:
        return _open_shards(path, {}, _complete(path, shards))
    weights = [name for name in names if name.lower().endswith(WEIGHTS)]
    safetensors = [name for name in weights if name.lower().endswith(".safetensors")]
    if len(safetensors) == 1:
        return open_file(path / safetensors[0])
    if len(weights) == 1:
        return open_file(path / weights[0])
    raise _no_choice(path, weights, [*names, *(f"{name}/" for name in inner)])


def open_index(path: Path) -> Contents:
    """List the shards that a `.safetensors.index.json` names.

    Raises:
        SourceError: the index cannot be read, names a shard that is missing or outside its folder, or promises a
            tensor that its shard lacks.
    """
    with untrusted(path, "the index cannot be read"):
        if path.stat().st_size > INDEX_LIMIT:
            raise SourceError(path, "an index of more than 100 MB", "download it again")
        index = json.loads(path.read_text(encoding="utf-8"))
    owners = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(owners, dict) or not all(isinstance(shard, str) for shard in owners.values()):
        raise SourceError(path, "an index without a weight_map", "download it again")
    if not owners:
        raise SourceError(path, "an index that names no tensors", "download it again")
    return _open_shards(path, owners, list(dict.fromkeys(owners.values())))


def _complete(path: Path, shards: list[re.Match[str]]) -> list[str]:
    """The names of shards without an index, if all that their names promise are there."""
    stem, total = shards[0][1], int(shards[0][3])
    if len(shards) != total:
        present = {int(match[2]) for match in shards}
        missing = next(number for number in range(1, total + 1) if number not in present)
        name = f"{stem}-{missing:05d}-of-{total:05d}.safetensors"
        raise SourceError(path, f"{len(shards)} of {total} shards are there; {name} is missing", "download it as well")
    return [match[0] for match in shards]


def _open_shards(path: Path, owners: Mapping[str, str], shards: list[str]) -> Contents:
    folder = path if path.is_dir() else path.parent
    opened: dict[str, Contents] = {}
    headers: dict[str, Header] = {}
    source: dict[str, Contents] = {}
    skipped: list[Skipped] = []
    metadata: dict[str, str] = {}
    for shard in shards:
        contents = opened[shard] = open_safetensors(_inside(path, folder, shard))
        metadata.update(contents.metadata)
        skipped.extend(entry for entry in contents.skipped if owners.get(entry.name, shard) == shard)
        for header in contents.headers:
            if owners.get(header.name, shard) != shard:
                continue
            if header.name in headers:
                problem = f"{header.name!r} is in two shards, {Path(headers[header.name].file).name} and {shard}"
                raise SourceError(path, problem, "download them again")
            headers[header.name] = header
            source[header.name] = contents
    found = headers.keys() | {entry.name for entry in skipped}
    for name, shard in owners.items():
        if name not in found:
            raise SourceError(path, f"{name!r} should be in {shard} and is not", "download both again")

    def read(name: str) -> torch.Tensor:
        return source[name].read(name)

    count = f"{len(shards)} files" if len(shards) > 1 else "1 file"
    return Contents(f"safetensors, {count}", list(headers.values()), read, metadata, skipped)


def _inside(path: Path, folder: Path, shard: str) -> Path:
    """The path of a shard, which must lie in the folder by its name; a hub's cache links to files elsewhere."""
    parts = PurePosixPath(shard)
    if not shard or "\0" in shard or "\\" in shard or ":" in shard or parts.is_absolute() or ".." in parts.parts:
        raise SourceError(path, f"its index names {shard!r}, outside its folder", "do not use this checkpoint")
    target = folder / parts
    with untrusted(path, f"the shard {shard!r} cannot be opened", "download it again"):
        if not target.exists():
            raise SourceError(path, f"the shard {shard} is missing", "download it as well")
        if not target.is_file():
            raise SourceError(path, f"the shard {shard} is no file", "download it again")
    return target


def _no_choice(path: Path, weights: list[str], names: list[str]) -> SourceError:
    if weights:
        listed = ", ".join(weights[:8]) + (f" and {len(weights) - 8} more" if len(weights) > 8 else "")
        return SourceError(path, f"a folder with {len(weights)} files of weights ({listed})", "give one of them")
    if not names:
        return SourceError(path, "an empty folder", "give a folder with model.safetensors or its index")
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return SourceError(path, f"a folder without weights (it holds {listed})", "give the file or folder that holds them")
