from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from tests.atlas.plates_for_tests import HOSTILE, images, slide, slides
from weightatlas.atlas.contact_sheet import GAP, LABELS, LINE, MARGIN, SCALE, save_contact_sheet
from weightatlas.palette import ACCENT
from weightatlas.plate import SlideLayer

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


def test_the_first_unit_in_order_stands_first_as_squares_of_whole_pixels(tmp_path: Path) -> None:
    layer = SlideLayer("conv", images(5, 3, seed=3), order=np.array([4, 3, 2, 1, 0]))
    with Image.open(save_contact_sheet(slides([layer]), tmp_path / "s.png")) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    size = 5 * SCALE
    top = MARGIN * SCALE
    unit = pixels[top : top + 3 * size, LABELS * SCALE : LABELS * SCALE + 3 * size]
    assert np.array_equal(unit, layer.images[4].repeat(size, axis=0).repeat(size, axis=1))


def test_marked_layers_have_a_rule_and_others_none(tmp_path: Path) -> None:
    with Image.open(save_contact_sheet(slides([slide("a"), slide("b", marked=True)]), tmp_path / "s.png")) as picture:
        edge = np.asarray(picture.convert("RGB"))[:, 0]
    ruled = (edge == list(bytes.fromhex(ACCENT[1:]))).all(axis=1)
    assert not ruled[: len(ruled) // 3].any()
    assert ruled.any()


def test_an_svg_says_names_and_facts_as_text_and_draws_the_same_units(tmp_path: Path) -> None:
    layer = slide(HOSTILE[0], units=6)
    path = save_contact_sheet(slides([layer]), tmp_path / "s.svg")
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - we have just written it
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == [HOSTILE[0], *layer.facts]
    (image,) = root.iter(f"{SVG}image")
    content = base64.b64decode(re.sub("^data:image/png;base64,", "", image.attrib["href"]))
    with Image.open(io.BytesIO(content)) as units:
        assert units.size == ((6 * (15 + GAP) - GAP) * SCALE, 15 * SCALE)


def test_a_pdf_is_written(tmp_path: Path) -> None:
    assert save_contact_sheet(slides([slide("a")]), tmp_path / "s.pdf").read_bytes().startswith(b"%PDF")


def test_long_names_wrap_and_empty_layers_and_plates_are_drawn(tmp_path: Path) -> None:
    long = slide("block." * 25, units=0)
    with Image.open(save_contact_sheet(slides([long]), tmp_path / "long.png")) as picture:
        assert picture.height >= 5 * LINE * SCALE
    with Image.open(save_contact_sheet(slides([]), tmp_path / "none.png")) as picture:
        assert picture.height > 0


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end the name in \.svg, \.png or \.pdf"):
        save_contact_sheet(slides([]), tmp_path / "s.jpg")
