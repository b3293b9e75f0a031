"""Tissue slides, or units in columns, as one picture for a paper: every layer with its name, facts and units."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

import vl_convert
from PIL import Image

from weightatlas.atlas.column_sheet import column_drawing
from weightatlas.atlas.sprites import arrange, checked, png_uri, similarity
from weightatlas.files import replacing
from weightatlas.palette import ACCENT, GREY, INK
from weightatlas.plate import Columns

if TYPE_CHECKING:
    import os

    import numpy as np
    import numpy.typing as npt

    from weightatlas.plate import SlideLayer, Slides

WIDTH: Final = 724
LABELS: Final = 180
UNIT: Final = 15
GAP: Final = 2
COLUMNS: Final = 32
LINE: Final = 13
SPACE: Final = 22
MARGIN: Final = 8
TEXT: Final = 10
CHARACTERS: Final = 27
"""Characters of a label that fit beside the units; longer names go on in the next line."""
SCALE: Final = 2
"""Pixels a point, of the units and of a `.png`."""


@dataclass(frozen=True, slots=True)
class _Block:
    """One layer, placed: lines of text at the left, its units at the right.

    Attributes:
        top: where it begins, in points.
        lines: text and colour; those of the name come first.
        name_lines: how many of them are the name.
        pixels: the units, `SCALE` pixels a point; None if there is nothing to draw.
        marked: whether the layer is what the title speaks of.
    """

    top: int
    lines: tuple[tuple[str, str], ...]
    name_lines: int
    pixels: npt.NDArray[np.uint8] | None
    marked: bool

    @property
    def height(self) -> float:
        """In points."""
        return max(len(self.lines) * LINE, 0 if self.pixels is None else self.pixels.shape[0] / SCALE)


def save_contact_sheet(slides: Slides | Columns, path: str | os.PathLike[str]) -> Path:
    """Draw the units of a plate as one picture, each layer labelled with its name and facts, whole or not at all.

    The units of a slide stand in order of similarity, about 15 points wide, those of a column in order of its first
    measure; every weight is a square of whole pixels.

    Args:
        slides: the plate.
        path: ends in `.png` (two pixels a point, on white), `.pdf` (one page, text as text) or `.svg`.

    Returns:
        The path written.

    Raises:
        ValueError: the suffix is none of the three, or a layer's images are no slide.

    Example:
        >>> import pathlib, tempfile
        >>> from weightatlas.plate import Heading, SlideLayer, Slides
        >>> import numpy as np
        >>> layer = SlideLayer("conv1", np.zeros((8, 3, 3, 3), np.uint8), facts=("8 units",))
        >>> plate = Slides(Heading("slides", "One layer", "", ""), (layer,))
        >>> save_contact_sheet(plate, pathlib.Path(tempfile.mkdtemp()) / "slides.svg").suffix
        '.svg'
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".svg", ".png", ".pdf"):
        message = f"cannot draw slides as {target.name!r}: end the name in .svg, .png or .pdf"
        raise ValueError(message)
    paper = "white" if suffix == ".png" else "none"
    drawing = column_drawing(slides, paper=paper) if isinstance(slides, Columns) else _svg(_place(slides), paper=paper)
    with replacing(target) as temporary:
        if suffix == ".svg":
            temporary.write_text(drawing, encoding="utf-8")
        elif suffix == ".png":
            with Image.open(io.BytesIO(vl_convert.svg_to_png(drawing, scale=SCALE))) as picture:
                picture.convert("RGB").save(temporary, format="png", dpi=(72 * SCALE, 72 * SCALE), optimize=True)
        else:
            temporary.write_bytes(vl_convert.svg_to_pdf(drawing))
    return target


def _place(slides: Slides) -> list[_Block]:
    blocks: list[_Block] = []
    top = MARGIN
    for layer in slides.layers:
        name = textwrap.wrap(layer.layer, CHARACTERS) or [""]
        below = [part for text in (*layer.facts, layer.note) for part in textwrap.wrap(text, CHARACTERS)]
        lines = tuple((part, INK) for part in name) + tuple((part, GREY) for part in below)
        block = _Block(top, lines, len(name), _magnified(layer), bool(layer.marked))
        blocks.append(block)
        top += int(block.height) + SPACE
    return blocks


def _magnified(layer: SlideLayer) -> npt.NDArray[np.uint8] | None:
    """The units of a layer, in order, each weight a square of whole pixels."""
    images = checked(layer)[similarity(layer)]
    if images.size == 0:
        return None
    factor = max(1, round(UNIT / images.shape[2])) * SCALE
    columns = max(1, min(len(images), COLUMNS, (WIDTH - LABELS) * SCALE // (images.shape[2] * factor + GAP * SCALE)))
    return arrange(images.repeat(factor, axis=1).repeat(factor, axis=2), columns, gap=GAP * SCALE)


def _svg(blocks: list[_Block], *, paper: str) -> str:
    height = max(int(blocks[-1].top + blocks[-1].height) if blocks else 0, LINE) + MARGIN
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    font = f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif" font-size="{TEXT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<rect width="100%" height="100%" fill="{paper}"/>',
    ]
    for block in blocks:
        if block.marked:
            parts.append(f'<rect y="{block.top}" width="3" height="{block.height}" fill="{ACCENT}"/>')
        for number, (text, colour) in enumerate(block.lines):
            weight = 700 if block.marked and number < block.name_lines else 400
            place = f'x="10" y="{block.top + number * LINE + TEXT}"'
            parts.append(f'<text {place} fill="{colour}" font-weight="{weight}">{escape(text)}</text>')
        if block.pixels is not None:
            extent = f'width="{block.pixels.shape[1] / SCALE}" height="{block.pixels.shape[0] / SCALE}"'
            place = f'x="{LABELS}" y="{block.top}" {extent} style="image-rendering:pixelated"'
            parts.append(f'<image {place} href="{png_uri(block.pixels)}"/>')
    return "\n".join([*parts, "</svg>"])
