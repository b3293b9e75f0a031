"""How findings and titles speak of numbers and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def number(count: int) -> str:
    """A number in words up to twelve, in figures beyond.

    Example:
        >>> number(2), number(4096)
        ('two', '4,096')
    """
    return _WORDS[count] if count < len(_WORDS) else f"{count:,}"


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> counted(2, "layer"), counted(1, "unit"), counted(40, "layer")
        ('two layers', 'one unit', '40 layers')
    """
    return f"{number(count)} {noun}" if count == 1 else f"{number(count)} {noun}s"


def capitalized(sentence: str) -> str:
    """A sentence with a capital at its start and nothing else changed: layer names keep their letters.

    Example:
        >>> capitalized("one layer leans, BN1")
        'One layer leans, BN1'
    """
    return sentence[:1].upper() + sentence[1:]


def listed(parts: Sequence[str]) -> str:
    """Parts as a list in a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
