"""The colours of the atlas: one ink, one accent, and colour kept for data.

The page's style sheet, the charts and the contact sheets all take theirs from here, so that a meaning has one colour
on every plate.
"""

from __future__ import annotations

from typing import Final

INK: Final = "#1a1a18"
PAPER: Final = "#fffefb"
GREY: Final = "#6b6a66"
RULE: Final = "#e3e1da"
NULL: Final = "#ecebe4"
ACCENT: Final = "#8c3310"

FACTORS: Final = ("#ff0000", "#00ff00", "#0000ff")
"""The article's colours for the three factors of a slide."""

FACTORS_SAFE: Final = ("#e69f00", "#56b4e9", "#cc79a7")
"""The same for colour-blind readers (Okabe and Ito's orange, sky blue, reddish purple)."""

HORIZONTAL: Final = ACCENT
VERTICAL: Final = "#1f5f8b"
"""Directions of banding; safe together for colour-blind readers."""

CATEGORIES: Final = ("#8c3310", "#1f5f8b", "#b8860b", "#4d7c5a", "#7a5195", "#6b6a66", "#c9694a", "#5aa7c7")
"""Roles and clusters, in order of first use."""

DIVERGING: Final = ("#1f5f8b", "#ffffff", "#8c3310")
"""Signed weights: negative, zero, positive; white at zero."""

SEQUENTIAL: Final = ("#f6f1e7", "#d9b48f", "#b06a3b", "#6e2a0d")
