"""What the charts of weight change call their figures, and the colours of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from weightatlas import palette

FIGURE_TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ratio_l1": "relative change",
        "elementwise": "mean elementwise change",
        "ratio_l2": "relative change, L2",
    }
)
"""What an axis of a figure is called."""
COLOURS: Final = tuple(colour for colour in palette.CATEGORIES if colour != palette.GREY)
"""Clusters in the order of their numbers; grey is for what belongs to none."""


def colour_of(cluster: int | None) -> str:
    """The colour of a cluster; grey of none.

    Example:
        >>> colour_of(0) == palette.ACCENT, colour_of(None) == palette.GREY
        (True, True)
    """
    return palette.GREY if cluster is None else COLOURS[cluster % len(COLOURS)]
