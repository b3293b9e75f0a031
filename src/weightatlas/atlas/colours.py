"""The palette by day and by night: every colour of the house and what stands for it on a dark page."""

from __future__ import annotations

from typing import Any, Final

from weightatlas.palette import (
    ACCENT,
    CATEGORIES,
    DIVERGING,
    FACTORS,
    FACTORS_SAFE,
    GREY,
    INK,
    NULL,
    PAPER,
    RULE,
    SEQUENTIAL,
    VERTICAL,
)

DARK: Final = {
    INK: "#eceae3",
    PAPER: "#151513",
    GREY: "#a5a39b",
    RULE: "#34332f",
    NULL: "#403f38",
    ACCENT: "#e88f63",
    VERTICAL: "#6db3e3",
    "#b8860b": "#d9ac3d",
    "#4d7c5a": "#7fb58e",
    "#7a5195": "#b48ccd",
    "#c9694a": "#f0a98f",
    "#5aa7c7": "#9cd0e6",
}
"""What each colour of the palette becomes on a dark page, the same hue at the contrast it has by day."""

DARK_GROUND: Final = "#45443e"
"""What parts the units of a slide on a dark page, where the black of a zero weight would run into the paper."""

SCALES: Final = (DIVERGING, SEQUENTIAL)
"""Colour scales mean the same by day and by night, so they stay as they are."""


def css_variables() -> str:
    """The custom properties of the style sheet, light and dark."""
    names = {
        "ink": INK,
        "paper": PAPER,
        "grey": GREY,
        "rule": RULE,
        "null": NULL,
        "accent": ACCENT,
        "vertical": VERTICAL,
        **{f"category-{place}": colour for place, colour in enumerate(CATEGORIES)},
    }
    light = names | {"ground": "transparent"}
    dark = {name: DARK[colour] for name, colour in names.items()} | {"ground": DARK_GROUND}
    sheets = ["".join(f"--{name}:{colour};" for name, colour in colours.items()) for colours in (light, dark)]
    return f":root{{{sheets[0]}}}@media screen and (prefers-color-scheme:dark){{:root{{{sheets[1]}}}}}"


def page_colours() -> dict[str, Any]:
    """What the page's scripts need: colours to exchange at night, scales to leave alone, the two factor palettes."""
    return {
        "dark": DARK,
        "scales": [list(scale) for scale in SCALES],
        "factors": {"rgb": [_rgb(colour) for colour in FACTORS], "safe": [_rgb(colour) for colour in FACTORS_SAFE]},
    }


def categories(*, dark: bool) -> list[str]:
    """Colours of roles and clusters in order of first use."""
    return [DARK[colour] if dark else colour for colour in CATEGORIES]


def _rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour.removeprefix("#")))
