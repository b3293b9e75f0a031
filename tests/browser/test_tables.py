from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.atlas.plates_for_tests import HOSTILE, Given, row, small, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

ROWS = [row(f"layer{place}", (place * 37 % 100) / 100 - 0.5, 64) for place in range(100)]


def names(page: Page) -> list[str]:
    """Layers of the rows that can be seen, top to bottom."""
    return page.locator("tbody tr:visible th[scope=row]").all_inner_texts()


@pytest.mark.parametrize("way", ["click", "Enter", "Space"])
def test_a_header_sorts_by_pointer_and_by_keyboard(open_page: Callable[..., Any], way: str) -> None:
    page = open_page(Given("a", (table(ROWS[:10]),))).page
    button = page.get_by_role("button", name="B", exact=True)

    def press() -> None:
        if way == "click":
            button.click()
        else:
            button.focus()
            page.keyboard.press(way)

    original = [f"layer{place}" for place in range(10)]
    ordered = [found["layer"] for found in sorted(ROWS[:10], key=lambda found: found["score"])]
    press()
    assert names(page) == ordered[::-1]
    assert page.locator("th[aria-sort=descending]").count() == 1
    press()
    assert names(page) == ordered
    assert page.locator("th[aria-sort=ascending]").count() == 1
    press()
    assert names(page) == original
    assert page.locator("th[aria-sort]").count() == 0


def test_what_is_missing_stands_last_whichever_way(open_page: Callable[..., Any]) -> None:
    page = open_page(Given("a", (table([{"layer": "none"}, row("low", -0.5), row("high", 0.5)]),))).page
    button = page.get_by_role("button", name="B", exact=True)
    button.click()
    assert names(page) == ["high", "low", "none"]
    button.click()
    assert names(page) == ["low", "high", "none"]


def test_names_sort_as_people_count(open_page: Callable[..., Any]) -> None:
    page = open_page(Given("a", (table([row(name, 0.1) for name in ("b.10", "b.9", "a.2")]),))).page
    page.get_by_role("button", name="layer", exact=True).click()
    assert names(page) == ["a.2", "b.9", "b.10"]


def test_a_long_table_folds_unfolds_and_filters(open_page: Callable[..., Any]) -> None:
    page = open_page(Given("a", (table(ROWS),))).page
    assert len(names(page)) == 40
    page.get_by_role("button", name="Show all 100 rows").click()
    assert len(names(page)) == 100
    page.get_by_label("Filter").fill("LAYER9")
    assert names(page) == ["layer9", *(f"layer{place}" for place in range(90, 100))]
    assert page.locator("output.count").inner_text().startswith("11 of 100")
    page.get_by_label("Filter").fill("no such row")
    assert page.get_by_text("No row has this text.").is_visible()


def test_sorting_brings_folded_rows_to_the_top(open_page: Callable[..., Any]) -> None:
    page = open_page(Given("a", (table(ROWS),))).page
    page.get_by_role("button", name="B", exact=True).click()
    highest = sorted(ROWS, key=lambda found: -found["score"])[:40]
    assert names(page) == [found["layer"] for found in highest]


def test_a_row_opens_from_its_link_though_it_is_folded(open_page: Callable[..., Any]) -> None:
    page = open_page(Given("a", (table(ROWS),)), link="layer/layer99").page
    line = page.locator("tr.target")
    assert line.locator("th").inner_text() == "layer99"
    assert line.is_visible()
    box = line.bounding_box()
    assert 0 < box["y"] < 900


def test_a_table_is_saved_as_csv_with_its_nulls_and_its_skipped_rows(
    open_page: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [row('say "a,b"', 0.5), {"layer": HOSTILE[0], "skipped": "no kernel"}]
    page = open_page(Given("a", (table(rows),))).page
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of plate 1").click()
    assert download.value.suggested_filename == "banding.csv"
    download.value.save_as(tmp_path / "table.csv")
    import pandas as pd

    frame = pd.read_csv(tmp_path / "table.csv")
    assert list(frame["layer"]) == ['say "a,b"', HOSTILE[0]]
    assert list(frame.columns[2:5]) == ["strip", "strip_low", "strip_high"]
    assert frame["score"].tolist()[0] == 0.5
    assert frame["skipped"].isna().tolist() == [True, False]


def test_hostile_names_are_rows_like_any_other(open_page: Callable[..., Any]) -> None:
    page = open_page(small("<b>x</b>", HOSTILE)).page
    assert names(page) == list(HOSTILE)
    for name in HOSTILE:
        page.get_by_role("table").get_by_role("link", name=name, exact=True).click()
        article = page.locator("article.layer").filter(has=page.get_by_role("link", name=name, exact=True))
        assert article.bounding_box()["y"] < 900


def test_marked_rows_stand_in_a_folded_table(open_page: Callable[..., Any]) -> None:
    long = table(ROWS)
    page = open_page(Given("a", (replace(long, marked=tuple(place == 90 for place in range(100))),))).page
    assert names(page) == [*(f"layer{place}" for place in range(40)), "layer90"]
