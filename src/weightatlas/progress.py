"""How long work tells its caller where it is: a callable. The library is silent; the command line hands in a bar."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with the number of items done, the number there are, and what is being worked on."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """Report that `done` of `total` items are finished."""


def silent(done: int, total: int, label: str) -> None:
    """Report nothing: the default everywhere in the library."""
