"""Tissue slides as the template draws them: a sprite sheet a layer, and what its units measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.atlas.sprites import Sheet, checked, sample, sheet, similarity
from weightatlas.plate import Columns, Slides

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.atlas.chapters import Chapter, NumberedPlate
    from weightatlas.plate import SlideLayer

SIGNIFICANT_DIGITS: Final = 4
FRONTISPIECE_LAYERS: Final = 40
FRONTISPIECE: Final = (480, 79)
"""Pixels that the cover has for the tissue of all layers; the page draws each as two."""
FRONTISPIECE_GAP: Final = 6


@dataclass(frozen=True, slots=True)
class SlideView:
    """One layer: its text, its link, its sprite sheet, the plates whose tables show it too."""

    layer: SlideLayer
    anchor: str
    units: int
    kernel: str
    sheet: Sheet
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SlidesView:
    """What the template needs of a plate of tissue slides."""

    layers: tuple[SlideView, ...]
    measures: tuple[str, ...]

    @property
    def units(self) -> int:
        """How many units the plate shows."""
        return sum(layer.units for layer in self.layers)

    @property
    def stem(self) -> str:
        """What all names begin with, up to a dot or slash: the contents write it once."""
        return common_stem([layer.layer.layer for layer in self.layers])

    @property
    def marked(self) -> int:
        """How many layers the title speaks of."""
        return sum(layer.layer.marked for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Specimen:
    """One layer on the cover: a column of its units."""

    layer: str
    anchor: str
    marked: bool
    sheet: Sheet


def slides_view(plate: NumberedPlate, slides: Slides, chapter: Chapter) -> SlidesView:
    """Draw every layer's sprite sheet and write down its measures."""
    names = dict.fromkeys(name for layer in slides.layers for name in layer.measures)
    own_links = slide_anchors(plate, [layer.layer for layer in slides.layers], chapter)
    layers = tuple(slide_view(layer, anchor) for layer, anchor in zip(slides.layers, own_links, strict=True))
    return SlidesView(layers, tuple(names))


def common_stem(names: Sequence[str]) -> str:
    """What several names begin with, up to a dot or slash.

    Example:
        >>> common_stem(["a.b.one", "a.b.two"]), common_stem(["one"])
        ('a.b.', '')
    """
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    alike = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[: max(first.rfind(".", 0, alike), first.rfind("/", 0, alike)) + 1]


def slide_anchors(plate: NumberedPlate, layers: Sequence[str], chapter: Chapter) -> list[str]:
    """The link of every layer that a plate draws.

    A chapter's first plate of slides has the short ones, or its first plate of columns where it has no slides; in
    another the links name the plate, too.
    """
    drawn = [other for other in chapter.plates if isinstance(other.figure, Slides | Columns)]
    first = next((other for other in drawn if isinstance(other.figure, Slides)), drawn[0])
    used: dict[str, int] = {}
    anchors = []
    for layer in layers:
        anchor = chapter.layer_anchor(layer)
        if plate is not first:
            anchor = f"{plate.anchor}/{anchor.removeprefix(chapter.prefix)}"
        used[anchor] = used.get(anchor, 0) + 1
        anchors.append(anchor if used[anchor] == 1 else f"{anchor}~{used[anchor]}")
    return anchors


def frontispiece(slides: Slides, anchors: list[str]) -> list[Specimen]:
    """A few units of each layer in the order of the network; of a deep network every marked layer and some between."""
    drawable = [index for index, layer in enumerate(slides.layers) if layer.images.size]
    if len(drawable) > FRONTISPIECE_LAYERS:
        marked = _spread([index for index in drawable if slides.layers[index].marked], FRONTISPIECE_LAYERS // 2)
        others = [index for index in drawable if index not in marked]
        drawable = sorted(marked + _spread(others, FRONTISPIECE_LAYERS - len(marked)))
    width, height = FRONTISPIECE
    share = (width + FRONTISPIECE_GAP) // max(len(drawable), 4) - FRONTISPIECE_GAP
    return [
        Specimen(
            slides.layers[index].layer,
            anchors[index],
            slides.layers[index].marked,
            sample(slides.layers[index], share, height),
        )
        for index in drawable
    ]


def _spread(items: list[int], count: int) -> list[int]:
    """At most so many of the items, evenly from the first to the last."""
    if len(items) <= count:
        return items
    return [items[position] for position in np.linspace(0, len(items) - 1, count).round().astype(int)]


def slide_view(layer: SlideLayer, anchor: str) -> SlideView:
    """Draw one layer's sprite sheet and write down its measures."""
    images = checked(layer)
    order = similarity(layer)
    units, height, width, _ = images.shape
    drawn = sheet(images[order])
    data = {
        "layer": layer.layer,
        "anchor": anchor,
        "marked": bool(layer.marked),
        "units": units if drawn.uri else 0,
        "height": height,
        "width": width,
        "columns": drawn.columns,
        "order": order.tolist(),
        "measures": {name: _figures(layer, name, values) for name, values in layer.measures.items()},
    }
    return SlideView(layer, anchor, units, f"{height} × {width}", drawn, data)


def _figures(layer: SlideLayer, name: str, values: npt.NDArray[np.float64]) -> list[float | None]:
    """A measure to a few significant digits, None where it is not finite."""
    figures = np.asarray(values, dtype=np.float64)
    if figures.shape != (len(layer.images),):
        message = f"measure {name!r} of layer {layer.layer!r} has shape {figures.shape} for {len(layer.images)} units"
        raise ValueError(message)
    return [float(f"{value:.{SIGNIFICANT_DIGITS}g}") if np.isfinite(value) else None for value in figures]
