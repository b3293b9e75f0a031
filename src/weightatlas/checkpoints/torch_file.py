"""What `torch.save` writes: the zip archive of today, mapped, and the plain pickle of before 1.6.

Nothing in the file runs: only `weights_only=True` ever loads it, and a pickle that asks for more is refused. A few
classes that training scripts leave beside the weights (parsed arguments, paths, numpy's scalars) are let in by name
as empty placeholders: their own code is never reached.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.live import contents_of_state
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.zipped import open_archive
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.checkpoints.blob import Blob
    from weightatlas.checkpoints.contents import Contents

PICKLE: Final = b"\x80"
PROTOCOLS: Final = (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")

RECORDS: Final = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "datetime.datetime",
    "datetime.timedelta",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
)
"""What training scripts leave beside the weights; each becomes an empty placeholder."""

_GLOBAL: Final = re.compile(r"GLOBAL ([\w.<>]+)")
_RESAVE: Final = "save its weights alone: torch.save(model.state_dict(), path)"


class _Placeholder:
    """Stands for an object whose class is not loaded: takes anything, keeps nothing."""

    def __new__(cls, *_args: object) -> _Placeholder:  # noqa: PYI034 - the arguments are whatever the pickle holds
        return super().__new__(cls)

    def __init__(self, *_args: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


def detect_torch(blob: Blob, head: bytes) -> bool:
    """Whether a file is a zip as `torch.save` writes it, or a pickle."""
    if head[:1] == PICKLE and head[1:2] in PROTOCOLS:
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    with open_archive(blob) as archive:
        return any(name.endswith(("/data.pkl", "/constants.pkl")) for name in archive.namelist())


def open_torch(blob: Blob) -> Contents:
    """List a file of `torch.save`: a state dict, or a training run's dictionary that holds one.

    Raises:
        SourceError: the file is truncated or corrupt, would run code, or holds no tensors.
    """
    path = blob.path()
    zipped = _check_zip(path)
    import torch  # this format cannot be listed without it

    with untrusted(path, "a truncated or corrupt PyTorch file"):
        state = _load(path, mmap=zipped)
    if isinstance(state, torch.Tensor):
        state = {path.stem: state}
    if not isinstance(state, Mapping):
        raise SourceError(path, f"holds a {type(state).__name__}, no dictionary of tensors", _RESAVE)
    title = "PyTorch" if zipped else "PyTorch, legacy"
    return contents_of_state(state, title=title, file=str(path), limit=path.stat().st_size)


def _check_zip(path: Path) -> bool:
    """Say whether the file is a zip archive; refuse what carries code and what would unpack to more than it is."""
    with path.open("rb") as file:
        if file.read(1) == PICKLE:
            return False
    with untrusted(path, "a truncated or corrupt PyTorch archive"), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith("/constants.pkl"):
                raise SourceError(path, "a TorchScript archive, which carries code", _RESAVE)
            if member.compress_type != zipfile.ZIP_STORED:
                raise SourceError(path, "a compressed PyTorch archive, which torch never writes", _RESAVE)
    return True


def _load(path: Path, *, mmap: bool) -> object:
    """Load by `weights_only`; where that is refused for a known record alone, with placeholders for those."""
    try:
        return _load_weights(path, mmap=mmap)
    except pickle.UnpicklingError as error:
        if _wanted(error) not in RECORDS:
            raise _refusal(path, error) from error
    import torch

    placeholders: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
        (type(name, (_Placeholder,), {}), name) for name in RECORDS
    ]
    try:
        with torch.serialization.safe_globals(placeholders):
            return _load_weights(path, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error


def _load_weights(path: Path, *, mmap: bool) -> object:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of old pickles; what matters of it becomes an error here
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def _wanted(error: Exception) -> str:
    """The class or function that a refused pickle asked for, or nothing."""
    match = _GLOBAL.search(str(error))
    return match[1] if match else ""


def _refusal(path: Path, error: Exception) -> SourceError:
    wanted, text = _wanted(error), str(error)
    if wanted:
        problem = f"not opened: its pickle asks for {wanted}, which is no tensor and could run code"
        return SourceError(path, problem, _RESAVE)
    if "Unsupported operand" in text:
        return SourceError(path, "not opened: its pickle does more than hold tensors", _RESAVE)
    if "reduce for unrecognized" in text or "allowlisted" in text:
        return SourceError(path, "not opened: its pickle asks to run code", _RESAVE)
    return SourceError(path, "a truncated or corrupt PyTorch file, or another pickle", _RESAVE)
