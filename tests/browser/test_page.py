from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.atlas.plates_for_tests import HOSTILE, Given, chart, row, slide, slides, small, table
from tests.browser.accessibility import serious_faults
from weightatlas.atlas.colours import DARK
from weightatlas.palette import GREY, PAPER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(part) for part in bytes.fromhex(colour[1:]))})"


@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_opens_from_disk_without_a_word_and_fits_its_window(open_page: Callable[..., Any], width: int) -> None:
    page = open_page(small("a"), small("b", HOSTILE), width=width).page
    page.locator("#plate\\/depth").scroll_into_view_if_needed()
    page.locator(".chart-frame[data-drawn]").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_empty_pages_open_too(open_page: Callable[..., Any]) -> None:
    open_page()
    page = open_page(Given("a", (table([]), slides([])))).page
    assert page.get_by_text("Nothing stands out.").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_wear_the_pages_colours(open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page(small(), color_scheme=scheme, link="plate/depth").page
    page.locator(f".chart-frame[data-drawn={scheme}]").wait_for()
    paper = PAPER if scheme == "light" else DARK[PAPER]
    label = GREY if scheme == "light" else DARK[GREY]
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == rgb(paper)
    assert page.locator(f".chart-canvas text[fill='{label}']").count() > 3


def test_charts_change_with_the_scheme(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), color_scheme="light", link="plate/depth").page
    page.locator(".chart-frame[data-drawn=light]").wait_for()
    page.emulate_media(color_scheme="dark")
    page.locator(".chart-frame[data-drawn=dark]").wait_for()
    assert page.locator(f".chart-canvas text[fill='{DARK[GREY]}']").count() > 3


def test_charts_out_of_sight_are_drawn_when_the_page_is_idle(open_page: Callable[..., Any]) -> None:
    rows = [row(f"layer{place}", 0.1) for place in range(40)]
    page = open_page(Given("a", (table(rows), table(rows, key="more"), chart(rows))), height=600).page
    page.locator(".chart-frame[data-drawn]").wait_for(state="attached")
    assert page.evaluate("window.scrollY") == 0
    assert page.locator("head script").count() == 1  # the library is there once, however many charts there are


@pytest.mark.parametrize(("form", "starts"), [("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("CSV", b"layer,score\r\n")])
def test_a_chart_is_saved_for_paper_even_at_night(
    open_page: Callable[..., Any], tmp_path: Path, form: str, starts: bytes
) -> None:
    page = open_page(small(), color_scheme="dark", link="plate/depth").page
    with page.expect_download() as download:
        page.get_by_role("button", name=f"{form} of plate 2").click()
    download.value.save_as(tmp_path / "saved")
    content = (tmp_path / "saved").read_bytes()
    assert content.startswith(starts)
    if form == "SVG":
        assert GREY.encode() in content
        assert DARK[GREY].encode() not in content


def test_slides_are_saved_as_picture_and_as_rows(open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(small(), link="plate/slides").page
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG of plate 3").click()
    download.value.save_as(tmp_path / "slides.png")
    assert (tmp_path / "slides.png").read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of plate 3").click()
    download.value.save_as(tmp_path / "slides.csv")
    lines = (tmp_path / "slides.csv").read_text().splitlines()
    assert lines[0] == "layer,unit,score,norm"
    assert len(lines) == 1 + 3 * 24


def test_a_finding_leads_to_its_plate(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), height=400).page
    page.locator(".findings").get_by_role("link", name="Plate 3").click()
    assert page.evaluate("location.hash") == "#plate/slides"
    assert 0 <= page.locator("#plate\\/slides").bounding_box()["y"] < 100


def test_a_layers_slide_leads_back_to_its_row(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), link="layer/conv2").page
    page.locator("article[data-layer='1']").get_by_role("link", name="Plate 1").click()
    page.wait_for_function("location.hash === '#row/banding/conv2'")
    assert page.locator("tr.target th").inner_text() == "conv2"


def test_the_contents_say_what_is_being_read(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), link="plate/depth", height=500).page
    page.wait_for_function("document.querySelector('.contents a[aria-current]')?.hash === '#plate/depth'")


def test_the_narrow_page_opens_its_contents_and_closes_them_after_use(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), width=400).page
    link = page.locator(".contents").get_by_role("link", name="Two layers are banded")
    assert not link.is_visible()
    page.get_by_text("Contents", exact=True).click()
    link.click()
    assert not link.is_visible()
    assert page.evaluate("location.hash") == "#plate/slides"


def test_the_page_reads_without_scripts(open_page: Callable[..., Any]) -> None:
    rows = [row(f"layer{place}", 0.1) for place in range(60)]
    found = Given("a", (*small().given[:3], table(rows, key="long"), chart(rows), slides([slide("conv")])))
    page = open_page(found, java_script_enabled=False).page
    assert page.get_by_text("One layer is banded: conv3.").is_visible()
    assert page.locator("aside noscript p").is_visible()
    assert page.locator("tbody tr:visible").count() == 60
    assert page.locator("img.sheet").is_visible()
    assert page.locator("button:visible:not(.sort)").count() == 0


def test_print_shows_every_plate_and_no_controls(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), width=700).page
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.locator(".chart-frame[data-drawn]").wait_for()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("button:visible:not(.sort)").count() == 0
    assert page.locator("article.layer canvas[data-drawn]").count() == 3
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == rgb(PAPER)
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_accessibility_checker_finds_nothing_serious(
    open_page: Callable[..., Any], axe: str, scheme: str, width: int
) -> None:
    rows = [row(f"layer{place}", 0.1) for place in range(60)]
    skipped = [{"layer": "fc", "skipped": "A linear layer has no kernel."}]
    more = Given("b", (table([*rows, *skipped]), table([], key="none"), slides([slide("big", units=512)])))
    page = open_page(small("a"), more, color_scheme=scheme, width=width).page
    page.locator("#plate\\/depth").scroll_into_view_if_needed()
    page.locator(".chart-frame[data-drawn]").first.wait_for()
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true }")
    assert serious_faults(page, axe) == []
