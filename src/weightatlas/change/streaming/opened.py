"""The checkpoints of a run, each opened once in every process that works on it."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, overload

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from weightatlas.checkpoints import Checkpoint

RUNS: Final = 4
"""Runs whose checkpoints a worker keeps open, so that two surveys on one cluster do not open theirs in turns."""


def identity(checkpoint: Checkpoint) -> str | None:
    """Name a checkpoint by its files, their sizes and when they were written; None where they do not lie on this disk.

    Args:
        checkpoint: an open checkpoint.
    """
    if _reopens(checkpoint) is None:
        return None  # in memory, where a "file" is the name of a class; a file of that name may be there by chance
    facts = []
    try:
        for name in sorted({info.file for info in checkpoint.info.values()}):
            for file in _files(Path(name).resolve(strict=True)):
                state = file.stat()
                facts.append((str(file), state.st_size, state.st_mtime_ns))
    except (OSError, ValueError):
        return None
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    """The file, or those of a folder over which a tensor is spread."""
    if path.is_dir():
        yield from sorted(child for child in path.iterdir() if child.is_file())
    else:
        yield path


def _reopens(checkpoint: Checkpoint) -> Callable[[], Checkpoint] | None:
    """What opens a checkpoint in another process; None where it is in memory alone."""
    try:
        reopen: Callable[[], Checkpoint] = checkpoint.__reduce__()[0]
    except TypeError:
        return None
    return reopen


class Opened(Sequence["Checkpoint"]):
    """The checkpoints of a run; in another process each is opened once, when a part of it is first asked for.

    Attributes:
        identities: of each, when it was opened here.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Hold what is open here."""
        self.identities = tuple(identity(checkpoint) for checkpoint in checkpoints)
        self._token = f"{os.getpid()}-{next(_NUMBERS)}"
        self._checkpoints: dict[int, Checkpoint] = dict(enumerate(checkpoints))
        self._reopen: Sequence[Callable[[], Checkpoint]] = ()

    def __len__(self) -> int:
        """Count them."""
        return len(self.identities)

    @overload
    def __getitem__(self, index: int) -> Checkpoint: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Checkpoint]: ...
    def __getitem__(self, index: int | slice) -> Checkpoint | Sequence[Checkpoint]:
        """Give one, opening it if it is not open here.

        Raises:
            SourceError: it cannot be opened any more, or is not what it was.
        """
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index not in self._checkpoints:
            checkpoint = self._reopen[index]()
            if self.identities[index] not in {None, identity(checkpoint)}:
                raise SourceError(checkpoint.source, "changed since it was opened", "open it again once it is written")
            self._checkpoints[index] = checkpoint
        return self._checkpoints[index]

    def __reduce__(self) -> tuple[Callable[..., Opened], tuple[Any, ...]]:
        """Travel as what opens each of them.

        Raises:
            TypeError: one is in memory alone.
        """
        reopen = self._reopen or [self._checkpoints[index].__reduce__()[0] for index in range(len(self))]
        return _opened_here, (self._token, self.identities, reopen)


_NUMBERS: Final = count()
_HERE: Final[OrderedDict[str, Opened]] = OrderedDict()
"""What this process, a worker, has opened, the run that was asked for last at the end."""
_LOCK: Final = Lock()


def _opened_here(token: str, identities: tuple[str | None, ...], reopen: Sequence[Callable[[], Checkpoint]]) -> Opened:
    with _LOCK:
        opened = _HERE.pop(token, None)
        if opened is None:
            opened = Opened(())
            opened.identities, opened._token, opened._reopen = identities, token, reopen  # noqa: SLF001 - made here
        _HERE[token] = opened
        while len(_HERE) > RUNS:
            _HERE.popitem(last=False)
    return opened
