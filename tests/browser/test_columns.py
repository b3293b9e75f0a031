from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from tests.atlas.plates_for_tests import HOSTILE, Given, column, columns, slide, slides
from tests.browser.accessibility import serious_faults
from weightatlas.plate import ColumnGroup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator, Page

DRAWN = ".unit-column canvas[data-drawn]"
PIXEL = "(c, [x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"


def two(units: int = 24, size: int = 5) -> Given:
    """A layer in two branches, the second as wide."""
    branches = (column("first", units, size), column("second", units, size, first=units, category=1))
    return Given("a", (columns([ColumnGroup("conv1", branches)]),))


def canvases(page: Page) -> Locator:
    found = page.locator(DRAWN)
    found.first.wait_for()
    return found


def box_of(canvas: Locator) -> Any:  # noqa: ANN401 - playwright's own
    return canvas.bounding_box()


def images_of(result: Given, place: int) -> Any:  # noqa: ANN401 - an array
    return result.given[0].groups[0].columns[place].images  # type: ignore[union-attr]


def colour(canvas: Locator, x: int, y: int) -> list[int]:
    found: list[int] = canvas.evaluate(PIXEL, [x, y])
    return found


def test_branches_stand_side_by_side_with_their_highest_units_first(open_page: Callable[..., Any]) -> None:
    given = two()
    found = canvases(open_page(given, link="plate/columns").page)
    boxes = [box_of(found.nth(place)) for place in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
    for place in range(2):
        assert colour(found.nth(place), 0, 0) == images_of(given, place)[23, 0, 0].tolist()


def test_units_sort_by_measure_by_class_and_by_index(open_page: Callable[..., Any]) -> None:
    given = two()
    page = open_page(given, link="plate/columns").page
    found = canvases(page)
    highest = int(np.argmax(given.given[0].groups[0].columns[1].measures["norm"]))  # type: ignore[union-attr]
    for name, unit in (("norm", highest), ("index", 0), ("class", 23)):
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(100)
        assert colour(found.nth(1), 0, 0) == images_of(given, 1)[unit, 0, 0].tolist()


def test_a_large_layer_shows_every_so_many_units_and_opens(open_page: Callable[..., Any]) -> None:
    branches = (column("wide", 400, 3), column("narrow", 100, 3, first=400))
    page = open_page(Given("a", (columns([ColumnGroup("conv1", branches)]),)), link="plate/columns").page
    found = canvases(page)
    folded = [box_of(found.nth(place))["height"] for place in range(2)]
    assert folded[0] / folded[1] == pytest.approx(4, rel=0.4)
    page.get_by_role("button", name="show all 500").click()
    page.wait_for_timeout(100)
    opened = [box_of(found.nth(place))["height"] for place in range(2)]
    assert opened[0] > 1.5 * folded[0]
    assert opened[0] / opened[1] == pytest.approx(4, rel=0.15)


def test_a_unit_that_is_folded_away_opens_from_its_link(open_page: Callable[..., Any]) -> None:
    branches = (column("wide", 400, 3), column("narrow", 100, 3, first=400))
    page = open_page(Given("a", (columns([ColumnGroup("conv1", branches)]),)), link="unit/conv1/437").page
    pin = page.locator(".pin:visible")
    pin.wait_for()
    assert pin.count() == 1
    inside = page.locator(".unit-column").filter(has=pin)
    assert inside.get_attribute("aria-label") == "conv1, narrow"
    box = pin.bounding_box()
    assert 0 <= box["y"] <= 900 - box["height"]


def test_hovering_says_the_units_own_number_its_figures_and_its_class(open_page: Callable[..., Any]) -> None:
    page = open_page(two(), link="plate/columns").page
    canvases(page).nth(1).hover(position={"x": 3, "y": 3})
    text = page.locator("#inspector").inner_text()
    assert "unit 47" in text
    assert "chroma" in text
    assert "Gabor" in text
    assert "factor" not in text


def test_the_keyboard_reaches_every_unit_of_every_branch(open_page: Callable[..., Any]) -> None:
    page = open_page(two(), link="plate/columns").page
    canvases(page)
    page.get_by_role("button", name="L", exact=True).focus()
    told = []
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "CANVAS":
            page.keyboard.press("ArrowRight")
            told.append(page.locator("#announcer").inner_text())
        if len(told) == 2:
            break
    assert [text.split(",")[0] for text in told] == ["unit 22", "unit 46"]
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#unit/conv1/46"


def test_slides_and_columns_of_one_layer_have_links_of_their_own(open_page: Callable[..., Any]) -> None:
    given = Given("a", (*two().given, slides([slide("conv1")])))
    page = open_page(given, link="plate/columns/unit/conv1/30").page
    page.locator(".unit-column .pin:visible").wait_for()
    page.evaluate("location.hash = 'unit/conv1/3'")
    page.locator("article.layer .pin:visible").wait_for()
    assert page.locator(".unit-column .pin:visible").count() == 0


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("size", [3, 64])
def test_any_number_of_branches_fits_the_window(open_page: Callable[..., Any], width: int, size: int) -> None:
    groups = [
        ColumnGroup(f"layer{count}", tuple(column(f"branch {place}", 30, size) for place in range(count)))
        for count in (1, 4, 12)
    ]
    groups.append(ColumnGroup("tiny", (column("one", 1, size), column("none", 0))))
    page = open_page(Given("a", (columns(groups),)), width=width, link="plate/columns").page
    canvases(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".unit-column canvas").count() == 1 + 4 + 12 + 1
    for place in page.locator(".unit-column", has=page.locator("canvas")).all():
        assert place.locator("canvas").bounding_box()["width"] <= place.bounding_box()["width"] + 1


def test_columns_are_saved_as_picture_and_as_rows(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(two(), link="plate/columns").page
    canvases(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG of plate 1").click()
    download.value.save_as(tmp_path / "columns.png")
    assert (tmp_path / "columns.png").read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of plate 1").click()
    download.value.save_as(tmp_path / "columns.csv")
    frame = pd.read_csv(tmp_path / "columns.csv")
    assert list(frame.columns) == ["layer", "branch", "unit", "chroma", "norm", "class"]
    assert frame["unit"].tolist() == list(range(48))
    assert frame["branch"].tolist() == ["first"] * 24 + ["second"] * 24


def test_columns_are_there_without_scripts_and_in_print(open_page: Callable[..., Any]) -> None:
    page = open_page(two(), java_script_enabled=False).page
    assert page.locator(".unit-column img.sheet:visible").count() == 2
    printed = open_page(two(), width=700).page
    printed.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    canvases(printed)
    printed.emulate_media(media="print", color_scheme="dark")
    assert printed.locator(DRAWN).count() == 2
    assert printed.locator("button:visible").count() == 0
    assert printed.evaluate("document.documentElement.scrollWidth") <= 700


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_accessibility_checker_finds_nothing_serious(
    open_page: Callable[..., Any], axe: str, scheme: str, width: int
) -> None:
    branches = tuple(column(name, 40, 5, category=place) for place, name in enumerate((*HOSTILE, "e", "f", "g", "h")))
    groups = [ColumnGroup("conv1", branches, facts=("a fact",), note="A note.", marked=True)]
    page = open_page(Given("a", (columns(groups),)), color_scheme=scheme, width=width).page
    canvases(page)
    assert serious_faults(page, axe) == []
