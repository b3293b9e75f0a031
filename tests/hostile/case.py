"""What a hostile file of the catalogue is, and the sign that would show that something in one ran."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

CANARY: Final = "canary"
VARIABLE: Final = "WEIGHTATLAS_CANARY"

Build = Callable[[Path], Path]
Content = bytes | Callable[[Path], bytes]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file or folder that lies.

    Attributes:
        name: what it does, in words; unique.
        build: writes it into an empty folder and gives the path to open.
        says: a pattern that the refusal, or the reason of a skipped row, must match; "" where it may simply be listed.
        when: whether the lie is found on opening, or only when a tensor is read.
    """

    name: str
    build: Build
    says: str
    when: Literal["open", "read"] = "open"


def written(filename: str, content: Content) -> Build:
    """A builder that writes one file; content that is large, or depends on the folder, is a function."""

    def build(folder: Path) -> Path:
        path = folder / filename
        path.write_bytes(content if isinstance(content, bytes) else content(folder))
        return path

    return build


def command(folder: Path) -> str:
    """A shell command that leaves the canary."""
    return f"touch {folder / CANARY}"


def statement(folder: Path) -> str:
    """Python that leaves the canary."""
    return f"__import__('os').environ.__setitem__('{VARIABLE}', '1') or open({str(folder / CANARY)!r}, 'w')"


def ran(folder: Path) -> bool:
    """Whether a payload ran."""
    return (folder / CANARY).exists() or VARIABLE in os.environ
