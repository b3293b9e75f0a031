from __future__ import annotations

import re

from weightatlas import palette
from weightatlas.atlas.colours import DARK, DARK_GROUND, categories, css_variables, page_colours


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [part / 255 for part in bytes.fromhex(colour.removeprefix("#"))]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_read_by_day_and_by_night() -> None:
    for colour in (palette.INK, palette.GREY, palette.ACCENT, palette.VERTICAL):
        assert contrast(colour, palette.PAPER) >= 4.5
        assert contrast(DARK[colour], DARK[palette.PAPER]) >= 4.5


def test_every_category_stands_out_at_night() -> None:
    for colour in categories(dark=True):
        assert contrast(colour, DARK[palette.PAPER]) >= 3
    assert len(set(categories(dark=True))) == len(palette.CATEGORIES)


def test_a_zero_weight_is_told_from_the_ground_between_units_at_night() -> None:
    assert contrast(DARK_GROUND, "#000000") >= 2


def test_the_style_sheet_has_each_name_in_both_schemes() -> None:
    light, dark = css_variables().split("@media")
    names = re.findall(r"--(\w+):", light)
    assert names == re.findall(r"--(\w+):", dark)
    assert "accent" in names


def test_the_scripts_get_the_factor_colours_as_numbers() -> None:
    factors = page_colours()["factors"]
    assert factors["rgb"] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert factors["safe"][0] == [230, 159, 0]
