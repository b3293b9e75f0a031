"""The one place where whatever a parser throws at a hostile file becomes one sentence."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

REMEDY = "copy or download it again"


@contextmanager
def untrusted(source: object, problem: str, remedy: str = REMEDY) -> Iterator[None]:
    """Turn any exception of the block into a `SourceError`; one that is a `SourceError` already passes.

    Parsers of other people's formats raise nearly anything on a corrupt file (KeyError, IndexError, RecursionError,
    MemoryError, UnicodeDecodeError, their own classes), so nothing narrower keeps the promise of one clear line.

    Example:
        >>> with untrusted("net.npz", "is corrupt"):
        ...     {}["missing"]
        Traceback (most recent call last):
        weightatlas.errors.SourceError: net.npz: is corrupt (KeyError: 'missing'); copy or download it again
    """
    try:
        yield
    except SourceError:
        raise
    except PermissionError as error:
        raise unreadable(source) from error
    except Exception as error:
        raise SourceError(source, f"{problem} ({summary(error)})", remedy) from error


def unreadable(source: object) -> SourceError:
    """The error of a file that this user may not read."""
    return SourceError(source, "permission denied", "make it readable for this user")


def summary(error: BaseException) -> str:
    """An exception as one short line.

    Example:
        >>> summary(ValueError("the first line"))
        'ValueError: the first line'
    """
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    first = "".join(letter if letter.isprintable() else "?" for letter in first)
    if len(first) > 160:
        first = f"{first[:157]}..."
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
