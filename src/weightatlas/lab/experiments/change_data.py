"""Several data sets under one name: what an experiment on all of them is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

KNOWN: Final = ("cifar10", "cifar100", "svhn")


def data_sets(source: str, data: str | None, *, needed: Sequence[str]) -> dict[str, str]:
    """The data sets that a text names, each as `open_data` takes it.

    The text is a list with commas: `cifar10:PATH,cifar100:PATH`. A folder in it stands for the sets that it holds in
    folders called cifar10, cifar100 and svhn.

    Args:
        source: what needs the data, for errors.
        data: the text.
        needed: sets that have to be there.

    Raises:
        SourceError: one of these is not there, or a part names no data set.

    Example:
        >>> data_sets("weight-change", "cifar10:a,cifar100:b", needed=["cifar10"])
        {'cifar10': 'cifar10:a', 'cifar100': 'cifar100:b'}
    """
    example = ",".join(f"{name}:PATH" for name in needed)
    remedy = f"give them: --data {example}, or a folder that holds {', '.join(needed)}"
    if data is None:
        raise SourceError(source, "this preset needs data", remedy)
    found: dict[str, str] = {}
    for part in data.split(",") if not Path(data).exists() else [data]:
        word, colon, path = part.partition(":")
        if colon and word in KNOWN and path:
            found[word] = part
        elif Path(part).is_dir():
            held = [name for name in KNOWN if (Path(part) / name).exists()]
            found |= {name: f"{name}:{Path(part) / name}" for name in held}
        else:
            raise SourceError(source, f"{part[:200]!r} names no data set and no folder", remedy)
    absent = [name for name in needed if name not in found]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        raise SourceError(source, f"{' and '.join(absent)} {verb} not among the data", remedy)
    return found
