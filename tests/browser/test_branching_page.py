from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.branching.example_surveys import deep, grey, planted, run, wide
from tests.browser.accessibility import serious_faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


def drawn(page: Page) -> int:
    """How many charts there are, once all of them are drawn."""
    frames = page.locator(".chart-frame")
    for frame in frames.all():
        frame.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.chart-frame:not([data-drawn])').length === 0")
    return frames.count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_all_plates_of_a_survey_are_drawn_fit_and_can_be_read(
    open_page: Callable[..., Any], axe: str, scheme: str, width: int
) -> None:
    page = open_page(run(), color_scheme=scheme, width=width).page
    assert drawn(page) == 7
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    assert serious_faults(page, axe) == []


def test_no_chart_warns_of_anything(open_page: Callable[..., Any]) -> None:
    opened = open_page(run())
    said: list[str] = []
    opened.page.on("console", lambda message: said.append(message.text))
    opened.page.reload()
    drawn(opened.page)
    assert said == []


@pytest.mark.parametrize("made", [lambda: deep(300), lambda: wide(40), grey])
def test_huge_and_empty_surveys_are_drawn(open_page: Callable[..., Any], made: Any) -> None:  # noqa: ANN401
    page = open_page(made(), width=400).page
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_keyboard_reaches_the_units_of_both_branches(open_page: Callable[..., Any]) -> None:
    page = open_page(planted(), link="plate/columns").page
    canvases = page.locator(".unit-column canvas[data-drawn]")
    canvases.first.wait_for()
    told = []
    for place in range(canvases.count()):
        canvases.nth(place).focus()
        page.keyboard.press("End")
        told.append(page.locator("#announcer").inner_text())
    assert len(told) == 2
    assert all("class" in text and "chroma" in text for text in told)
