from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.atlas.plates_for_tests import images, slide
from weightatlas.atlas.sprites import SHEET_WIDTH, arrange, checked, sample, sheet, similarity
from weightatlas.plate import SlideLayer


def pixels_of(uri: str) -> npt.NDArray[np.uint8]:
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def slow_arrange(units: npt.NDArray[np.uint8], columns: int) -> npt.NDArray[np.uint8]:
    """Paste one unit after the other."""
    count, height, width, _ = units.shape
    rows = -(-count // columns)
    picture = Image.new("RGBA", (columns * (width + 1) - 1, rows * (height + 1) - 1))
    for place, unit in enumerate(units):
        picture.paste(Image.fromarray(unit), ((place % columns) * (width + 1), (place // columns) * (height + 1)))
    return np.asarray(picture)


@pytest.mark.parametrize(("units", "size", "columns"), [(1, 1, 1), (7, 3, 4), (8, 5, 4), (5, 3, 9), (3, 2, 1)])
def test_units_stand_in_rows_as_if_pasted_one_by_one(units: int, size: int, columns: int) -> None:
    drawn = images(units, size, seed=units)
    assert np.array_equal(arrange(drawn, columns), slow_arrange(drawn, columns))


def test_kernels_need_not_be_square() -> None:
    drawn = images(6, 4, seed=1)[:, :1]
    assert np.array_equal(arrange(drawn, 4), slow_arrange(drawn, 4))


def test_a_sheet_holds_every_weight_once_and_exactly() -> None:
    drawn = images(100, 3, seed=2)
    made = sheet(drawn)
    pixels = pixels_of(made.uri)
    assert pixels.shape[:2] == (made.height, made.width)
    assert made.width <= SHEET_WIDTH
    opaque = pixels[pixels[..., 3] == 255][:, :3]
    assert sorted(map(tuple, opaque.tolist())) == sorted(map(tuple, drawn.reshape(-1, 3).tolist()))
    left, top = (37 % made.columns) * 4, (37 // made.columns) * 4
    assert np.array_equal(pixels[top : top + 3, left : left + 3, :3], drawn[37])


@pytest.mark.parametrize("shape", [(0, 3, 3, 3), (4, 0, 3, 3), (4, 3, 0, 3)])
def test_a_layer_without_units_or_positions_has_no_sheet(shape: tuple[int, ...]) -> None:
    assert sheet(np.zeros(shape, np.uint8)).uri == ""
    assert sample(SlideLayer("x", np.zeros(shape, np.uint8)), 60, 79).uri == ""


def test_a_sample_starts_and_ends_with_the_first_and_last_in_order() -> None:
    layer = slide("x", units=200)
    order = similarity(layer)
    made = sample(layer, 39, 79)
    pixels = pixels_of(made.uri)
    assert made.columns == 4
    assert np.array_equal(pixels[:9:3, :9:3, :3], layer.images[order[0]])
    assert np.array_equal(pixels[-9::3, -9::3, :3], layer.images[order[-1]])


def test_an_order_that_is_no_permutation_is_refused() -> None:
    with pytest.raises(ValueError, match="not a permutation of its 4 units"):
        similarity(SlideLayer("x", images(4, 3, 0), order=np.array([0, 1, 1, 3])))


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 3, 3, 3)), np.zeros((4, 3, 3), np.uint8), np.zeros((4, 3, 3, 4), np.uint8)]
)
def test_images_that_are_no_slide_are_refused(bad: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="a slide needs uint8"):
        checked(SlideLayer("x", bad))
