from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from tests.atlas.plates_for_tests import HOSTILE, column, columns
from weightatlas.atlas import save_contact_sheet
from weightatlas.atlas.column_sheet import WIDTH, column_drawing
from weightatlas.palette import CATEGORIES
from weightatlas.plate import ColumnGroup

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.plate import UnitColumn

SVG = "{http://www.w3.org/2000/svg}"


def drawing(*branches: UnitColumn, layer: str = "conv1") -> ET.Element:
    text = column_drawing(columns([ColumnGroup(layer, branches, facts=("a fact",))]), paper="white")
    return ET.fromstring(text)  # noqa: S314 - we have just written it


def pictures(root: ET.Element) -> list[tuple[float, float, float]]:
    """Left, top and right of every picture."""
    found = []
    for image in root.iter(f"{SVG}image"):
        left, top, width = (float(image.attrib[name]) for name in ("x", "y", "width"))
        found.append((left, top, left + width))
    return found


def test_branches_stand_side_by_side_on_one_line_under_their_names() -> None:
    root = drawing(column("short", 20), column("a branch with a very long name of several lines" * 2, 9, first=20))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[:2] == ["conv1", "a fact"]
    assert "short" in texts
    (one, other) = pictures(root)
    assert one[1] == other[1]
    assert one[2] < other[0]


@pytest.mark.parametrize("count", [1, 2, 8, 12])
@pytest.mark.parametrize("size", [1, 3, 11, 64])
def test_whatever_the_number_of_branches_all_fit_the_page(count: int, size: int) -> None:
    root = drawing(*(column(f"branch {place}", 40, size) for place in range(count)))
    assert len(pictures(root)) == count
    assert all(left >= 0 and right <= WIDTH for left, _, right in pictures(root))
    bottoms = [float(image.attrib["y"]) + float(image.attrib["height"]) for image in root.iter(f"{SVG}image")]
    assert max(bottoms) <= float(root.attrib["height"])


def test_kernels_of_two_sizes_have_weights_of_one_size() -> None:
    root = drawing(column("small", 1, 3), column("large", 1, 9))
    (small, large) = [float(image.attrib["width"]) for image in root.iter(f"{SVG}image")]
    assert large == 3 * small


def test_units_are_drawn_in_order_of_the_first_measure() -> None:
    branch = column("a", 3)
    (image,) = drawing(branch).iter(f"{SVG}image")
    with Image.open(io.BytesIO(base64.b64decode(image.attrib["href"].partition(",")[2]))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    size = pixels.shape[0] // 5
    assert np.array_equal(pixels[: 5 * size, : 5 * size], branch.images[2].repeat(size, axis=0).repeat(size, axis=1))


def test_a_branch_has_the_colour_of_its_category() -> None:
    root = drawing(column("a", category=2), column("b", category=None))
    fills = [rule.attrib["fill"] for rule in root.iter(f"{SVG}rect") if rule.attrib.get("height") == "2"]
    assert fills[0] == CATEGORIES[2]
    assert fills[1] not in CATEGORIES


def test_empty_branches_empty_plates_and_hostile_names_are_saved(tmp_path: Path) -> None:
    groups = [ColumnGroup(HOSTILE[0], (column(HOSTILE[1], 0), column("b", 3)), note=HOSTILE[2], marked=True)]
    path = save_contact_sheet(columns(groups), tmp_path / "sheet.svg")
    texts = [text.text for text in ET.fromstring(path.read_text(encoding="utf-8")).iter(f"{SVG}text")]  # noqa: S314
    assert HOSTILE[0] in texts
    assert save_contact_sheet(columns([]), tmp_path / "none.png").read_bytes().startswith(b"\x89PNG")
    assert save_contact_sheet(columns(groups), tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
