"""How options are described: sentences that begin with a capital, whole lines, defaults that a reader can take in."""

from __future__ import annotations

from copy import copy
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter, InlineText
from rich.text import Text

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions


class SentenceFormatter(DefaultFormatter):
    """Cyclopts' own panels; an attribute's description becomes a sentence without the line breaks of its docstring."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel."""
        changed = copy(panel)
        changed.entries = [_as_sentence(entry) for entry in panel.entries]
        super().__call__(console, options, changed)


def shown_default(value: object) -> str | None:
    """A default as the help shows it; what is off, empty or not there goes without.

    Example:
        >>> shown_default((1 / 3, 8 / 9)), shown_default(0.003), shown_default(False)
        ('1/3 8/9', '0.003', None)
    """
    if value is None or value is False or value == ():
        return None
    if isinstance(value, tuple):
        return " ".join(_short(item) for item in value)
    return str(value)


def _short(value: Any) -> str:  # noqa: ANN401 - whatever stands in a default
    """A number that has no short decimal as the fraction it is."""
    if isinstance(value, float) and len(str(value)) > 6:
        return str(Fraction(value).limit_denominator(100))
    return str(value)


def _as_sentence(entry: HelpEntry) -> HelpEntry:
    described = entry.description
    if not isinstance(described, InlineText) or not isinstance(described.primary_renderable, Text):
        return entry
    text = " ".join(described.primary_renderable.plain.split())
    changed = copy(entry)
    changed.description = InlineText(Text(text[:1].upper() + text[1:]))  # type: ignore[misc]  # attrs' alias of it
    return changed
