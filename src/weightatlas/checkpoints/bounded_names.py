"""Names out of a file that no network has: too many, too long or too deep to be compared and shown in bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.checkpoints.contents import Header

NAME_LIMIT: Final = 1000
"""The most characters of a name; the longest of a published network has some 150."""

COUNT_LIMIT: Final = 200_000
"""The most tensors; the largest published checkpoints have some 140,000."""

DEPTH_LIMIT: Final = 50
"""The most modules in one another; published networks have some 15."""


def bounded_names(source: str, headers: Sequence[Header]) -> tuple[list[Header], list[Skipped]]:
    """Headers whose names can be worked with, and a row for each of the others.

    Raises:
        SourceError: there are more tensors than any network has.

    Example:
        >>> from weightatlas.checkpoints.contents import Header
        >>> long = Header("x" * 2000, "x" * 2000, (1,), "float32", 4, "net.safetensors")
        >>> bounded_names("net.safetensors", [long])[1][0].reason
        'its name has 2000 characters, more than 1000'
    """
    if len(headers) > COUNT_LIMIT:
        raise SourceError(
            source, f"holds {len(headers)} tensors, more than {COUNT_LIMIT}", "do not use this checkpoint"
        )
    kept, skipped = [], []
    for header in headers:
        reason = _unusable(header)
        if reason is None:
            kept.append(header)
        else:
            skipped.append(Skipped(header.name[:NAME_LIMIT], reason))
    return kept, skipped


def _unusable(header: Header) -> str | None:
    length = max(len(header.name), len(header.key))
    if length > NAME_LIMIT:
        return f"its name has {length} characters, more than {NAME_LIMIT}"
    depth = header.key.count(".")
    if depth > DEPTH_LIMIT:
        return f"its name has {depth} dots, more than {DEPTH_LIMIT}"
    return None if encodable(header.name) == header.name else "its name is no text that UTF-8 can hold"


def encodable(text: str) -> str:
    r"""A text with an escape in place of each half of a character: JSON and pickles can hold those, files cannot.

    Example:
        >>> print(encodable("conv\ud800"))
        conv\ud800
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
