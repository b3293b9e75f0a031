"""How bytes come from one kind of remote place: sizes, ranges, lists. Each kind of server has a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class Stat:
    """What a server says of one object.

    Attributes:
        size: in bytes; `UNKNOWN` where the server does not tell.
        version: what changes whenever the object does (an ETag, a time), or None where the server does not tell.
        head: its first bytes, where they came with the answer.
    """

    size: int
    version: str | None = None
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies directly in a remote folder: files with their sizes, and names of folders."""

    files: Mapping[str, Stat] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


class Transport(ABC):
    """One kind of remote place. Addresses are its own; every method raises `SourceError` with the shown name."""

    @abstractmethod
    def name(self, address: str) -> str:
        """The address as messages show it."""

    @abstractmethod
    def child(self, address: str, name: str) -> str:
        """The address of what lies in a folder under that name."""

    @abstractmethod
    def parent(self, address: str) -> str:
        """The address of the folder that an object lies in."""

    @abstractmethod
    def look(self, address: str) -> Stat | None:
        """Size and version of an object; None for a folder."""

    @abstractmethod
    def fetch(self, address: str, offset: int, view: memoryview) -> Stat:
        """Fill `view` with the bytes from `offset` on, by one request, and say what they belong to."""

    @abstractmethod
    def listing(self, address: str) -> Listing:
        """What lies directly in a folder, by one listing call."""
