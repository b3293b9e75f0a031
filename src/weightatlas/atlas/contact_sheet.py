"""Tissue slides as one picture for a paper: every layer with its name and facts, its units in rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

from weightatlas.atlas.sprites import arrange, checked, png_uri, similarity
from weightatlas.files import replacing
from weightatlas.palette import ACCENT, GREY, INK

if TYPE_CHECKING:
    import os

    import numpy as np
    import numpy.typing as npt

    from weightatlas.plate import SlideLayer, Slides

WIDTH: Final = 720
LABELS: Final = 190
UNIT: Final = 18
LINE: Final = 14
SPACE: Final = 26
TEXT: Final = 11
PNG_SCALE: Final = 2
CHARACTERS: Final = 30
"""Characters of a label that fit beside the units; longer names go on in the next line."""


@dataclass(frozen=True, slots=True)
class _Block:
    """One layer, placed: lines of text at the left, a magnified sheet of its units at the right."""

    top: int
    lines: tuple[tuple[str, str], ...]  # text and colour; the first is the name
    pixels: npt.NDArray[np.uint8] | None
    size: tuple[int, int]
    marked: bool


def save_contact_sheet(slides: Slides, path: str | os.PathLike[str]) -> Path:
    """Draw tissue slides as one picture, each layer labelled with its name and facts, whole or not at all.

    Units stand in order of similarity, about 18 points wide, magnified by whole numbers so that weights stay squares.

    Args:
        slides: the plate.
        path: ends in `.png` (twice the size), `.pdf` (the same picture on one page) or `.svg`.

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
    blocks, height = _place(slides)
    with replacing(target) as temporary:
        if suffix == ".svg":
            temporary.write_text(_svg(blocks, height), encoding="utf-8")
        elif suffix == ".png":
            _raster(blocks, height).save(temporary, format="png", dpi=(144, 144), optimize=True)
        else:
            _raster(blocks, height).save(temporary, format="pdf", resolution=144.0)
    return target


def _place(slides: Slides) -> tuple[list[_Block], int]:
    blocks: list[_Block] = []
    top = 0
    for layer in slides.layers:
        lines = [(part, INK) for part in _wrapped(layer.layer)]
        lines += [(part, GREY) for text in (*layer.facts, layer.note) if text for part in _wrapped(text)]
        pixels, size = _magnified(layer)
        blocks.append(_Block(top, tuple(lines), pixels, size, layer.marked))
        top += max(len(lines) * LINE, size[1]) + SPACE
    return blocks, max(top - SPACE, LINE)


def _magnified(layer: SlideLayer) -> tuple[npt.NDArray[np.uint8] | None, tuple[int, int]]:
    """The units of a layer at native resolution, and the size to draw them at: a whole multiple."""
    images = checked(layer)[similarity(layer)]
    units, _, width, _ = images.shape
    if images.size == 0:
        return None, (0, 0)
    factor = max(1, round(UNIT / width))
    columns = max(1, min(units, (WIDTH - LABELS + factor) // (factor * (width + 1))))
    pixels = arrange(images, columns)
    return pixels, (pixels.shape[1] * factor, pixels.shape[0] * factor)


def _raster(blocks: list[_Block], height: int) -> Image.Image:
    scale = PNG_SCALE
    picture = Image.new("RGB", (WIDTH * scale, height * scale), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=TEXT * scale)
    for block in blocks:
        for number, (text, colour) in enumerate(block.lines):
            draw.text((12 * scale, (block.top + number * LINE) * scale), text, fill=colour, font=font)
        if block.marked:
            draw.rectangle((0, block.top * scale, 3 * scale, (block.top + _extent(block)) * scale), fill=ACCENT)
        if block.pixels is not None:
            size = (block.size[0] * scale, block.size[1] * scale)
            units = Image.fromarray(block.pixels).resize(size, Image.Resampling.NEAREST)
            picture.paste(units, (LABELS * scale, block.top * scale), units)
    return picture


def _svg(blocks: list[_Block], height: int) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    font = f'font-family="Helvetica, Arial, sans-serif" font-size="{TEXT}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>']
    for block in blocks:
        if block.marked:
            parts.append(f'<rect y="{block.top}" width="3" height="{_extent(block)}" fill="{ACCENT}"/>')
        for number, (text, colour) in enumerate(block.lines):
            baseline = block.top + number * LINE + TEXT
            parts.append(f'<text x="12" y="{baseline}" fill="{colour}">{escape(text)}</text>')
        if block.pixels is not None:
            uri = png_uri(block.pixels)
            parts.append(
                f'<image x="{LABELS}" y="{block.top}" width="{block.size[0]}" height="{block.size[1]}" '
                f'style="image-rendering:pixelated" preserveAspectRatio="none" href="{uri}"/>'
            )
    return "\n".join([*parts, "</svg>"])


def _extent(block: _Block) -> int:
    return max(len(block.lines) * LINE, block.size[1])


def _wrapped(text: str) -> list[str]:
    return [text[start : start + CHARACTERS] for start in range(0, len(text), CHARACTERS)] or [""]
