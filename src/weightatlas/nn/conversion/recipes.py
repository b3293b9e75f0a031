"""What a recipe such as "ws+gn" asks of the convolutions and of the norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WEIGHTS: Final = ("ws", "centred", "scaled")
"""What can be done to the weights of a convolution: standardised, only centred, only divided by their deviation."""

NORMS: Final = ("bn", "syncbn", "gn", "bcn", "micro-bcn", "in")
"""What the norms can become: batch norm, batch norm over all processes, group norm, batch-channel norm of large batches
and of micro-batches, instance norm."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe in parts.

    Attributes:
        weights: one of `WEIGHTS`, or None: the convolutions stay as they are.
        norm: one of `NORMS`, or None: the norms stay as they are.
    """

    weights: str | None
    norm: str | None

    def __str__(self) -> str:
        """The recipe as `convert` takes it."""
        return "+".join(part for part in (self.weights, self.norm) if part)


def parse_recipe(text: str) -> Recipe:
    """Read a recipe, `[WEIGHTS+]NORM` or `WEIGHTS`, in any case of letters.

    Raises:
        ValueError: it has other words, or none; those that there are stand in the message.

    Example:
        >>> parse_recipe("ws+gn"), parse_recipe("centred"), str(parse_recipe("WS+BCN"))
        (Recipe(weights='ws', norm='gn'), Recipe(weights='centred', norm=None), 'ws+bcn')
    """
    words = [word.strip() for word in text.lower().split("+")]
    weights = words[0] if words[0] in WEIGHTS else None
    rest = words[1:] if weights else words
    norm = rest[0] if len(rest) == 1 and rest[0] in NORMS else None
    if norm is None and (rest or weights is None):
        message = f"no recipe {text[:80]!r}: write [{'|'.join(WEIGHTS)}+]NORM with {', '.join(NORMS)}, such as ws+gn"
        raise ValueError(message)
    return Recipe(weights, norm)
