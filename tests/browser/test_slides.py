from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.atlas.plates_for_tests import HOSTILE, Given, images, slide, slides, small
from weightatlas.plate import SlideLayer

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

DRAWN = "canvas[data-drawn]"
PIXEL = "(c, [x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"


def colour(canvas: Locator, x: int, y: int) -> list[int]:
    found: list[int] = canvas.evaluate(PIXEL, [x, y])
    return found


def one_layer(units: int = 40, seed: int = 5) -> SlideLayer:
    generator = np.random.default_rng(seed)
    measures = {"score": generator.permutation(units).astype(float), "norm": np.full(units, np.nan)}
    return SlideLayer("conv", images(units, 3, seed), measures=measures, order=generator.permutation(units))


def first(page: Page) -> Locator:
    canvas = page.locator("article.layer " + DRAWN).first
    canvas.wait_for()
    return canvas


def test_units_are_drawn_in_order_as_crisp_squares(open_page: Callable[..., Any]) -> None:
    layer = one_layer()
    assert layer.order is not None
    canvas = first(open_page(Given("a", (slides([layer]),)), link="plate/slides").page)
    for place, unit in enumerate(layer.order[:3]):
        for row in range(3):
            for column in range(3):
                corner = (place * 24 + column * 7, row * 7)
                weight = layer.images[unit, row, column].tolist()
                assert colour(canvas, *corner) == weight
                assert colour(canvas, corner[0] + 6, corner[1] + 6) == weight


@pytest.mark.parametrize("ratio", [1.5, 2, 3])
def test_weights_are_whole_pixels_on_every_screen(open_page: Callable[..., Any], ratio: float) -> None:
    layer = one_layer()
    assert layer.order is not None
    canvas = first(open_page(Given("a", (slides([layer]),)), link="plate/slides", device_scale_factor=ratio).page)
    drawn, shown = canvas.evaluate("c => [c.width, c.getBoundingClientRect().width]")
    assert drawn == pytest.approx(shown * ratio, abs=0.6)
    size = int(21 * ratio / 3 + 0.5)
    assert colour(canvas, 2 * size - 1, 0) == layer.images[layer.order[0], 0, 1].tolist()
    assert colour(canvas, 2 * size, 0) == layer.images[layer.order[0], 0, 2].tolist()


def test_units_sort_by_measure_and_by_index(open_page: Callable[..., Any]) -> None:
    layer = one_layer()
    page = open_page(Given("a", (slides([layer]),)), link="plate/slides").page
    canvas = first(page)
    page.get_by_role("button", name="score").click()
    highest = int(np.argmax(layer.measures["score"]))
    page.wait_for_timeout(100)
    assert colour(canvas, 0, 0) == layer.images[highest, 0, 0].tolist()
    page.get_by_role("button", name="index").click()
    page.wait_for_timeout(100)
    assert colour(canvas, 0, 0) == layer.images[0, 0, 0].tolist()
    assert page.get_by_role("button", name="index").get_attribute("aria-pressed") == "true"


def test_the_safe_palette_mixes_its_three_colours(open_page: Callable[..., Any]) -> None:
    layer = one_layer()
    page = open_page(Given("a", (slides([layer]),)), link="plate/slides").page
    canvas = first(page)
    page.get_by_role("button", name="colour-blind safe").click()
    page.locator("canvas[data-drawn=safe]").wait_for()
    assert layer.order is not None
    weight = layer.images[layer.order[0], 0, 0].astype(float) / 255
    safe = np.array([[230, 159, 0], [86, 180, 233], [204, 121, 167]])
    mixed = np.minimum(weight @ safe, 255)
    assert np.abs(np.array(colour(canvas, 0, 0)) - mixed).max() <= 1
    assert page.locator("img.specimen").first.get_attribute("data-rgb")


def test_large_layers_fold_and_a_units_link_opens_them(open_page: Callable[..., Any]) -> None:
    layer = slide("block/conv", units=2048)
    assert layer.order is not None
    folded = int(layer.order[-1])
    page = open_page(Given("a", (slides([layer]),))).page
    assert page.get_by_role("button", name="Show all 2048 units").is_visible()
    before = page.locator("article.layer canvas").bounding_box()["height"]
    page.evaluate("hash => { location.hash = hash }", f"unit/block%2Fconv/{folded}")
    page.locator(".pin").wait_for()
    box = page.locator(".pin").bounding_box()
    assert 0 <= box["y"] <= 900 - box["height"]
    assert page.locator("article.layer canvas").bounding_box()["height"] > 5 * before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_fresh_page_opens_at_a_units_link(open_page: Callable[..., Any], name: str) -> None:
    from weightatlas.atlas.chapters import encoded

    page = open_page(small(names=("conv1", name)), link=f"unit/{encoded(name)}/7").page
    page.locator(".pin:visible").wait_for()
    article = page.locator("article.layer").filter(has=page.locator(".pin:visible"))
    assert article.get_attribute("aria-label") == name
    page.locator("article.layer canvas").nth(1).wait_for()


def test_links_to_units_that_do_not_exist_change_nothing(open_page: Callable[..., Any]) -> None:
    page = open_page(small(), link="unit/conv1/999999").page
    page.evaluate("location.hash = 'unit/nowhere/3'")
    page.evaluate("location.hash = 'layer/%E0%A4%A'")
    page.wait_for_timeout(50)
    assert page.locator(".pin:visible").count() == 0


def test_a_click_on_a_unit_is_its_link(open_page: Callable[..., Any]) -> None:
    layer = one_layer()
    assert layer.order is not None
    page = open_page(Given("a", (slides([layer]),)), link="plate/slides").page
    first(page).click(position={"x": 24 * 2 + 5, "y": 5})
    assert page.evaluate("location.hash") == f"#unit/conv/{layer.order[2]}"
    assert page.locator(".pin").is_visible()


def test_hovering_shows_the_units_figures(open_page: Callable[..., Any]) -> None:
    layer = one_layer()
    assert layer.order is not None
    page = open_page(Given("a", (slides([layer]),)), link="plate/slides").page
    first(page).hover(position={"x": 24 + 10, "y": 3})
    unit = int(layer.order[1])
    text = page.locator("#inspector").inner_text()
    assert f"unit {unit}" in text
    assert f"{layer.measures['score'][unit]:.0f}" in text
    assert "none" in text  # its norm is not finite
    for value in layer.images[unit, 0, 1]:
        assert f"{value / 255:.2f}" in text
    page.mouse.move(5, 5)
    assert not page.locator("#inspector").is_visible()


def test_the_keyboard_moves_from_unit_to_unit(open_page: Callable[..., Any]) -> None:
    layer = one_layer(units=70)
    order = layer.order
    assert order is not None
    page = open_page(Given("a", (slides([layer]),)), link="plate/slides").page
    first(page)
    page.get_by_role("button", name="colour-blind safe").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    said = page.locator("#announcer")
    inspector = page.locator("#inspector")
    assert f"unit {order[0]}," in said.inner_text()
    page.keyboard.press("ArrowRight")
    assert f"unit {order[1]}," in said.inner_text()
    page.keyboard.press("ArrowDown")
    assert f"unit {order[33]}," in said.inner_text()
    page.keyboard.press("End")
    assert f"unit {order[69]}," in said.inner_text()
    page.keyboard.press("ArrowDown")
    assert f"unit {order[69]}," in said.inner_text()
    page.keyboard.press("Home")
    assert inspector.is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == f"#unit/conv/{order[0]}"
    page.keyboard.press("Escape")
    assert not inspector.is_visible()


def test_layers_filter_by_name_and_by_mark_and_a_link_clears_the_filter(open_page: Callable[..., Any]) -> None:
    page = open_page(small()).page
    shown = page.locator("article.layer:visible")
    page.get_by_label("Filter").fill("conv2")
    assert shown.count() == 1
    page.get_by_label("Filter").fill("")
    page.get_by_role("button", name="marked layers only").click()
    assert shown.count() == 1
    assert page.locator(".slides output").inner_text().startswith("1 of 3 layers")
    page.evaluate("location.hash = 'layer/conv1'")
    page.wait_for_timeout(50)
    assert shown.count() == 3


def test_three_hundred_layers_draw_only_what_is_near_and_give_memory_back(open_page: Callable[..., Any]) -> None:
    layers = [slide(f"stage.{place}", units=64, seed=place) for place in range(300)]
    page = open_page(Given("deep", (slides(layers),))).page
    page.locator(DRAWN).first.wait_for(state="attached")
    assert page.locator(DRAWN).count() < 30
    page.evaluate("location.hash = 'layer/stage.250'")
    page.locator(f"[data-layer='250'] {DRAWN}").wait_for()
    page.wait_for_timeout(200)
    assert page.locator(DRAWN).count() < 40
    assert page.locator(f"[data-layer='0'] {DRAWN}").count() == 0


def test_layers_that_are_empty_tiny_or_oddly_shaped_are_drawn(open_page: Callable[..., Any]) -> None:
    flat = SlideLayer("flat", images(9, 7, 0)[:, :1])
    tall = SlideLayer("tall", images(9, 7, 0)[:, :, :2])
    layers = [slide("none", units=0), slide("one", units=1, size=1), flat, tall, slide("deep." * 24, units=3)]
    page = open_page(Given("odd", (slides(layers),)), width=400, link="plate/slides").page
    assert page.get_by_text("No unit of this layer could be drawn.").is_visible()
    first(page)
    assert page.locator("article.layer canvas").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
