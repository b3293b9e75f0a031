"""How findings and titles speak of numbers and lists, and how names out of files are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.errors import visible

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


def printable(text: str, *, limit: int = 200) -> str:
    r"""A name out of a file as a reader may see it: one line, nothing that a terminal obeys, of bounded length.

    Whatever does not print (control characters, escape sequences, line breaks, direction overrides, lone surrogates)
    stands as the escape that Python writes for it; a long text loses its middle. A backslash stays as it is.

    Args:
        text: anything.
        limit: the most characters that come back.

    Example:
        >>> print(printable("conv\x1b[31m1\nweight"), printable("a" * 50 + "z", limit=9))
        conv\x1b[31m1\nweight aaa...aaz
    """
    if len(text) <= limit and text.isprintable():
        return text
    pieces = [visible(letter) for letter in text[: limit + 1]]
    if len(text) <= limit and sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    last = [visible(letter) for letter in reversed(text[-limit:])]
    tail = _within(last, (limit - 3) // 2)
    head = _within(pieces, limit - 3 - sum(map(len, tail)))
    return f"{''.join(head)}...{''.join(reversed(tail))}"


def escaped(text: str) -> str:
    r"""JSON with whatever does not print as `\uXXXX`: the same values, safe to show and to encode.

    Args:
        text: JSON; what does not print stands only within its strings.

    Example:
        >>> print(escaped('{"layer": "conv\x9b1"}'))
        {"layer": "conv\u009b1"}
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else _utf16(letter) for letter in text)


def _utf16(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def _within(pieces: Sequence[str], limit: int) -> list[str]:
    """The first pieces that fit together into so many characters."""
    kept: list[str] = []
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            break
        kept.append(piece)
    return kept
