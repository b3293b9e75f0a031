"""JSON out of a checkpoint: parsed only where it cannot fill memory, and never with a name twice."""

from __future__ import annotations

import json
from typing import Any, Final

from weightatlas.checkpoints.untrusted import REMEDY, untrusted
from weightatlas.errors import SourceError

STRUCTURE_LIMIT: Final = 3_000_000
"""The most brackets and commas: each may become an object of some 100 bytes, a header of 200,000 tensors has 2 M."""


def bounded_json(text: bytes, source: str, what: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Parse JSON of an untrusted source.

    Args:
        text: the JSON, UTF-8; its length is the caller's to bound.
        source: the name for the error.
        what: what the JSON is, as an error begins: "its safetensors header".

    Raises:
        SourceError: it is no JSON, holds a name twice, or holds so many parts that it would fill memory.

    Example:
        >>> bounded_json(b'{"a": [1, 2]}', "x.safetensors", "its header")
        {'a': [1, 2]}
    """
    if sum(text.count(sign) for sign in (b"[", b"{", b",")) > STRUCTURE_LIMIT:
        raise SourceError(source, f"{what} has more than {STRUCTURE_LIMIT} parts", "do not use this checkpoint")
    with untrusted(source, f"{what} cannot be read", REMEDY):
        return json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        message = "a name stands twice"
        raise ValueError(message)
    return mapping
