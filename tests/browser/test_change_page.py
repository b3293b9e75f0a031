from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.accessibility import serious_faults
from tests.change.example_changes import depth_example, example, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.change import Changes


def run(*, layers: int, steps: int) -> Changes:
    return told(example(layers, steps, stopped={1: steps // 2}), alone=(2,), depth=depth_example())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_all_charts_of_a_run_are_drawn_fit_and_can_be_read(
    open_page: Callable[..., Any], axe: str, scheme: str, width: int
) -> None:
    page = open_page(run(layers=12, steps=20), color_scheme=scheme, width=width).page
    frames = page.locator(".chart-frame")
    for frame in frames.all():
        frame.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.chart-frame:not([data-drawn])').length === 0")
    assert frames.count() >= 6
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    assert serious_faults(page, axe) == []


def test_three_hundred_layers_of_two_hundred_steps_are_drawn(open_page: Callable[..., Any]) -> None:
    page = open_page(run(layers=300, steps=200)).page
    frames = page.locator(".chart-frame")
    for frame in frames.all():
        frame.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.chart-frame:not([data-drawn])').length === 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
