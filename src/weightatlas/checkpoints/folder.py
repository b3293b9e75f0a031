"""A folder as the Hugging Face hub lays it out: one file of weights, or shards and an index of what they hold.

What torch.distributed.checkpoint and DeepSpeed write is told here by the names of its files, too.

Paths in an index are untrusted: a shard that lies outside the folder is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.pickles.deepspeed import deepspeed_file
from weightatlas.checkpoints.pickles.distributed import is_distributed, open_distributed
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.weight_files import INDEX_LIMIT, INDICES, PREFERRED, WEIGHTS
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.checkpoints.places.blob import Blob, Folder

_SHARD = re.compile(r"(.*)-(\d{5,6})-of-(\d{5,6})(\.safetensors|\.bin|\.pt|\.pth)")


def open_folder(folder: Folder, open_blob: Callable[[Blob], Contents]) -> Contents:
    """List the one checkpoint that a folder holds: by its index, its only safetensors file, or its only weights.

    Raises:
        SourceError: there is none, or there are several and nothing says which is meant.
    """
    with untrusted(folder.name, "the folder cannot be read"):
        distributed = is_distributed(folder)
        names = [name for name in folder.files() if not name.startswith(".")]
        inner = [name for name in folder.folders() if not name.startswith(".")]
    if distributed:
        return open_distributed(folder)
    indices = [name for name in names if name.endswith(INDICES)]
    chosen: str | None = next((name for name in PREFERRED if name in names), None)
    if chosen is None and len(indices) == 1:
        (chosen,) = indices
    if chosen is None:
        chosen = deepspeed_file(folder.name, names)
    if chosen is not None:
        return open_blob(folder.blob(chosen))
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    for suffix in sorted({match[4] for match in shards}, reverse=True):  # safetensors before the others
        same = [match for match in shards if match[4] == suffix]
        if len({(match[1], match[3]) for match in same}) == 1:
            return _open_shards(folder, folder.name, {}, _complete(folder.name, same), open_blob)
    weights = [name for name in names if name.lower().endswith(WEIGHTS)]
    safetensors = [name for name in weights if name.lower().endswith(".safetensors")]
    if len(safetensors) == 1:
        return open_blob(folder.blob(safetensors[0]))
    if len(weights) == 1:
        return open_blob(folder.blob(weights[0]))
    raise _no_choice(folder.name, weights, [*names, *(f"{name}/" for name in inner)])


def open_index(blob: Blob, open_blob: Callable[[Blob], Contents]) -> Contents:
    """List the shards that a `.safetensors.index.json` or `.bin.index.json` names.

    Raises:
        SourceError: the index cannot be read, names a shard that is missing or outside its folder, or promises a
            tensor that its shard lacks.
    """
    if blob.size > INDEX_LIMIT:
        raise SourceError(blob.name, "an index of more than 100 MB", "download it again")
    with untrusted(blob.name, "the index cannot be read"):
        text = blob.read(0, blob.size)
    index = bounded_json(text, blob.name, "the index")
    owners = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(owners, dict) or not all(isinstance(shard, str) for shard in owners.values()):
        raise SourceError(blob.name, "an index without a weight_map", "download it again")
    if not owners:
        raise SourceError(blob.name, "an index that names no tensors", "download it again")
    return _open_shards(blob.folder(), blob.name, owners, list(dict.fromkeys(owners.values())), open_blob)


def _complete(source: str, shards: list[re.Match[str]]) -> list[str]:
    """The names of shards without an index, if all that their names promise are there."""
    stem, digits, suffix = shards[0][1], shards[0][3], shards[0][4]
    total = int(digits)
    if len(shards) != total:
        present = {int(match[2]) for match in shards}
        missing = next((number for number in range(1, total + 1) if number not in present), 0)
        name = f"{stem}-{missing:0{len(digits)}d}-of-{digits}{suffix}"
        raise SourceError(
            source, f"{len(shards)} of {total} shards are there; {name} is missing", "download it as well"
        )
    return [match[0] for match in shards]


def _open_shards(
    folder: Folder, source: str, owners: Mapping[str, str], shards: list[str], open_blob: Callable[[Blob], Contents]
) -> Contents:
    headers: dict[str, Header] = {}
    owner: dict[str, Contents] = {}
    skipped: list[Skipped] = []
    metadata: dict[str, str] = {}
    notes: dict[str, None] = {}
    formats: dict[str, None] = {}
    for shard in shards:
        contents = open_blob(folder.blob(shard))
        formats[contents.format] = None
        metadata.update(contents.metadata)
        notes.update(dict.fromkeys(contents.notes))
        skipped.extend(entry for entry in contents.skipped if owners.get(entry.name, shard) == shard)
        for header in contents.headers:
            if owners.get(header.name, shard) != shard:
                continue
            if header.name in headers:
                first = headers[header.name].file.rpartition("/")[2]
                raise SourceError(
                    source, f"{header.name[:80]!r} is in two shards, {first} and {shard}", "download them again"
                )
            headers[header.name] = header
            owner[header.name] = contents
    found = headers.keys() | {entry.name for entry in skipped}
    for name, shard in owners.items():
        if name not in found:
            raise SourceError(source, f"{name[:80]!r} should be in {shard[:80]} and is not", "download both again")

    def read(name: str) -> torch.Tensor:
        return owner[name].read(name)

    count = f"{len(shards)} files" if len(shards) > 1 else "1 file"
    title = f"{', '.join(formats)}, {count}"
    return Contents(title, list(headers.values()), read, metadata, skipped, tuple(notes))


def _no_choice(source: str, weights: list[str], names: list[str]) -> SourceError:
    if weights:
        listed = ", ".join(weights[:8]) + (f" and {len(weights) - 8} more" if len(weights) > 8 else "")
        return SourceError(source, f"a folder with {len(weights)} files of weights ({listed})", "give one of them")
    if not names:
        return SourceError(source, "an empty folder", "give a folder with model.safetensors or its index")
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return SourceError(
        source, f"a folder without weights (it holds {listed})", "give the file or folder that holds them"
    )
