"""A `.pt2` export: checked entry by entry, so that only a graph of torch's own operators and plain tensors is loaded.

`torch.export.load` trusts its file: it unpickles objects, evaluates expressions and generates Python from names. What
would reach any of these is refused before torch sees it.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from typing import TYPE_CHECKING, Any, Final

from weightatlas.anatomy.graph.exporting import quiet_torch
from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.zipped import open_archive
from weightatlas.errors import SourceError
from weightatlas.evaluation.exported_graph import check_graph

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

JSON_LIMIT: Final = 64 * 2**20
INPUTS_LIMIT: Final = 256 * 2**20
_MODEL: Final = "models/model.json"
_INPUTS: Final = "data/sample_inputs/model.pt"
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN: Final = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder|version"
    r"|\.data/\w+|\.format_version|\.storage_alignment|extra/[^/]+"
)
_REMEDY: Final = "open the model from the code that made it: package.module:callable"


def is_export(path: Path) -> bool:
    """Whether a file is a zip archive laid out as `torch.export.save` does."""
    if not zipfile.is_zipfile(path):
        return False
    with open_archive(LocalBlob(path)) as archive:
        return any(name.partition("/")[2] in {_MODEL, "archive_format"} for name in archive.namelist())


def open_export(path: Path) -> nn.Module:
    """Load an exported program as a module, if it is nothing but a graph of torch's operators and plain tensors.

    The mode is that of the export: `eval()` and `train()` are refused by torch, and not called.

    Args:
        path: what `torch.export.save` wrote.

    Raises:
        SourceError: the file is corrupt or of another version; or it holds pickled objects, compiled libraries, example
            inputs other than tensors and containers, operators that are not torch's own, or names, types and
            expressions that are more than that.

    **Source:** `torch.export`'s PT2 archive, as `torch/export/pt2_archive` writes it. torch warns never to load one
    from an untrusted source; the checks here cover the ways to run code that its reader has, as far as we know them.
    """
    import torch

    _check(path)
    problem = "cannot be loaded as an exported program"
    with untrusted(path, problem, "export it again with the installed torch"), quiet_torch():
        program = torch.export.load(path)
        return program.module(check_guards=False)


def _check(path: Path) -> None:
    with untrusted(path, "a corrupt .pt2 export"), open_archive(LocalBlob(path)) as archive:
        entries: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            if name in entries:
                raise SourceError(path, f"two of its entries are called {name[:80]!r}", _REMEDY)
            if entry.compress_type != zipfile.ZIP_STORED:
                raise SourceError(path, "a compressed archive, which torch never writes", _REMEDY)
            if name not in {_MODEL, _INPUTS, *_CONFIGS} and not _PLAIN.fullmatch(name):
                raise _refused(path, f"an entry {name[:80]!r}, which is more than a graph and its tensors")
            entries[name] = entry
        for name in (_MODEL, _INPUTS, *_CONFIGS):
            if name not in entries:
                raise SourceError(path, f"no {name} in it", "export it again with the installed torch")
        for name in _CONFIGS:
            _check_payloads(path, _json(path, archive, entries[name]), entries, name.rpartition("/")[0])
        _check_inputs(path, archive, entries[_INPUTS])
        check_graph(str(path), _json(path, archive, entries[_MODEL]))


def _json(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:  # noqa: ANN401
    if entry.file_size > JSON_LIMIT:
        raise SourceError(path, f"{entry.filename[:80]!r} has more than {JSON_LIMIT} bytes", _REMEDY)
    return bounded_json(archive.read(entry), str(path), "its description")


def _check_payloads(path: Path, config: Any, entries: dict[str, zipfile.ZipInfo], folder: str) -> None:  # noqa: ANN401
    """Refuse what is pickled, and a tensor that claims a size without having bytes."""
    for payload in config["config"].values():
        name = str(payload["path_name"])
        stored = entries.get(f"{folder}/{name}")
        if payload["use_pickle"] is not False or payload["tensor_meta"] is None or stored is None:
            raise _refused(path, f"{name[:80]!r}, an object that is pickled or not there")
        sizes = [size.get("as_int") for size in payload["tensor_meta"]["sizes"]]
        if any(type(size) is not int or size < 0 for size in sizes):
            raise _refused(path, f"{name[:80]!r}, a tensor without fixed sizes")
        if not stored.file_size and math.prod(sizes):
            raise _refused(path, f"{name[:80]!r}, a tensor of {math.prod(sizes)} elements and no bytes")


def _check_inputs(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Refuse example inputs that torch would fall back to unpickling without limits."""
    import torch

    if not entry.file_size:
        return
    if entry.file_size > INPUTS_LIMIT:
        raise _refused(path, f"example inputs of {entry.file_size} bytes")
    try:
        with quiet_torch():
            torch.load(io.BytesIO(archive.read(entry)), weights_only=True, map_location="cpu")
    except Exception as error:
        raise _refused(path, "example inputs that are more than tensors and containers") from error


def _refused(path: Path, what: str) -> SourceError:
    return SourceError(path, f"not opened: it holds {what}", _REMEDY)
