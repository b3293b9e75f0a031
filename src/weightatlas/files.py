"""Writing files that are whole at every moment: beside the target, then renamed over it."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the target's folder; rename it over the target if the block ends well.

    A reader sees the old file or the new one, never a part, whenever the process is killed. The temporary keeps the
    target's suffix, since many writers choose their format by it.

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "figures.csv"
        >>> with replacing(target) as temporary:
        ...     _ = temporary.write_text("layer,score")
        >>> target.read_text()
        'layer,score'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes its files private; a result is an ordinary file
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
