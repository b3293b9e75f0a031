"""What a pickle asks for, written down instead of done: a name to import, a call, an object kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Extent(NamedTuple):
    """A long run of bytes or text that was left where it lies.

    Attributes:
        offset: its first byte in the blob.
        length: in bytes.
        is_text: whether the bytes are UTF-8.
    """

    offset: int
    length: int
    is_text: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """The name of a class or function, which is never looked up.

    Attributes:
        module: as the pickle gives it.
        name: in that module, perhaps with dots.
        path: both with a dot between, short and printable.

    Example:
        >>> Global("collections", "OrderedDict").path
        'collections.OrderedDict'
    """

    module: str
    name: str
    path: str = field(init=False)

    def __post_init__(self) -> None:
        """Join the two once; a name is met thousands of times."""
        text = f"{self.module}.{self.name}"[:120]
        path = text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
        object.__setattr__(self, "path", path)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Persistent:
    """An object that the pickle keeps outside itself: for torch a storage, or a module's class and its source."""

    identity: Any


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """A call of a function, or an object made from its class; neither ever happens.

    Its representation is short: records may hold each other, and two in each of sixty would never end.

    Attributes:
        function: what would be called.
        arguments: in order.
        keywords: by name, or None.
        state: what BUILD would set on the result, or None.
        items: what would be set by key on the result, or None.
        elements: what would be appended to the result, or None.
    """

    function: Global | Persistent
    arguments: tuple[Any, ...]
    keywords: Any = None
    state: Any = None
    items: dict[Any, Any] | None = None
    elements: list[Any] | None = None

    @property
    def path(self) -> str:
        """The full name of what would be called; of a module's class where torch kept it with its source."""
        function: Any = self.function
        if isinstance(function, Global):
            return function.path
        if isinstance(function, Persistent):
            identity = function.identity
            function = identity[1] if isinstance(identity, tuple) and len(identity) > 1 else None
        return function.path if isinstance(function, Global) else "something unnamed"

    def __repr__(self) -> str:
        """The name alone."""
        return f"<a call of {self.path}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Key:
    """A dictionary's key that is no plain scalar, compared by identity.

    Equal hashes can be made at will for tuples and large integers, and would make a dictionary take hours.
    """

    value: Any

    def __str__(self) -> str:
        """A short form for a name."""
        if isinstance(self.value, tuple) and all(isinstance(part, str | int | float | None) for part in self.value[:8]):
            return f"({', '.join(str(part)[:40] for part in self.value[:8])})"
        return f"a {type(self.value).__name__}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pickle:
    """What one pickle holds.

    Attributes:
        value: plain containers and scalars, and records where a pickle would call something.
        end: the byte after its last.
        persistent: every reference to an object kept elsewhere, in order.
    """

    value: Any
    end: int
    persistent: list[Persistent] = field(default_factory=list)
