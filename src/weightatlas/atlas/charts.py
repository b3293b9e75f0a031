"""Charts as files, and the Vega-Lite theme that notebook, page and paper share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import vl_convert

from weightatlas.atlas.colours import DARK, categories
from weightatlas.files import replacing
from weightatlas.palette import ACCENT, DIVERGING, GREY, INK, PAPER, RULE, SEQUENTIAL

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

SANS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
PNG_SCALE: Final = 2.0
ALTAIR_VIEW: Final = {"continuousWidth": 300, "continuousHeight": 300}


def theme(dark: bool = False) -> dict[str, Any]:
    """Give the Vega-Lite configuration that the atlas draws its charts with.

    Hairline axes without a frame, a faint grid, small sans-serif labels, one accent, the palette's categories and
    scales. A specification's own `config` stands above it.

    Args:
        dark: for a dark page.

    Returns:
        A mapping for Vega-Lite's `config`, plain JSON values.

    Example:
        >>> theme()["background"], theme(dark=True)["background"]
        ('transparent', 'transparent')
    """
    ink, grey, rule, accent = (DARK[colour] if dark else colour for colour in (INK, GREY, RULE, ACCENT))
    label = {"labelColor": grey, "labelFontSize": 11, "titleColor": ink, "titleFontSize": 11.5, "titleFontWeight": 600}
    return {
        "background": "transparent",
        "font": SANS,
        "padding": 2,
        "view": {"stroke": None, "continuousWidth": 640, "continuousHeight": 240, "discreteWidth": 640},
        "axis": {
            **label,
            "domainColor": grey,
            "domainWidth": 1,
            "gridColor": rule,
            "gridWidth": 1,
            "labelPadding": 6,
            "labelLimit": 220,
            "labelOverlap": True,
            "tickColor": grey,
            "tickSize": 4,
            "titlePadding": 10,
        },
        "axisX": {"grid": False},
        "axisY": {
            "domain": False,
            "ticks": False,
            "tickCount": 5,
            "titleAlign": "left",
            "titleAnchor": "end",
            "titleAngle": 0,
            "titleBaseline": "bottom",
            "titleX": 0,
            "titleY": -8,
        },
        "header": {"labelColor": ink, "labelFontSize": 11.5, "labelFontWeight": 600, "titleColor": grey, "title": None},
        "legend": {
            **label,
            "labelColor": ink,
            "titleColor": grey,
            "titleFontWeight": 400,
            "orient": "top",
            "symbolSize": 60,
            "titleOrient": "left",
            "offset": 6,
            "layout": {"top": {"anchor": "end"}},
        },
        "title": {"anchor": "start", "color": ink, "fontSize": 13, "fontWeight": 600, "subtitleColor": grey},
        "text": {"color": ink, "fontSize": 11},
        "mark": {"color": grey},
        "rule": {"color": grey},
        "tick": {"color": accent, "thickness": 1.5},
        "point": {"filled": True, "size": 42, "opacity": 1},
        "circle": {"size": 42, "opacity": 1},
        "line": {"strokeWidth": 1.6},
        "area": {"opacity": 0.5},
        "range": {
            "category": categories(dark=dark),
            "diverging": list(DIVERGING),
            "heatmap": list(SEQUENTIAL),
            "ramp": list(SEQUENTIAL),
            "ordinal": list(SEQUENTIAL),
        },
    }


def prepared(spec: Mapping[str, Any], *, fluid: bool) -> dict[str, Any]:
    """A specification without the sizes that Altair writes into every chart, so that the theme's hold.

    Args:
        spec: as Altair writes it.
        fluid: let a single view take the width of its column.
    """
    own = dict(spec)
    config = dict(own.get("config") or {})
    if config.get("view") == ALTAIR_VIEW:
        del config["view"]
        own["config"] = config
    if fluid and not compound(spec) and not isinstance(spec.get("width"), dict):
        own["width"] = "container"
        own["autosize"] = {"type": "fit-x", "contains": "padding"}
    return own


def compound(spec: Mapping[str, Any]) -> bool:
    """Whether a figure is made of several views side by side or stacked, whose width is the sum of theirs."""
    return faceted(spec) or any(part in spec for part in ("concat", "hconcat", "vconcat"))


def faceted(spec: Mapping[str, Any]) -> bool:
    """Whether a figure is one view repeated under headers, where the title of the vertical axis would meet them."""
    encoding = spec.get("encoding") or {}
    return "facet" in spec or "repeat" in spec or any(channel in encoding for channel in ("facet", "row", "column"))


def facet_theme(dark: bool = False) -> dict[str, Any]:
    """The theme with vertical axes titled along themselves and not above, for `faceted` figures."""
    config = theme(dark)
    axis = {key: value for key, value in config["axisY"].items() if not key.startswith("title")}
    return {**config, "axisY": axis}


def save_chart(spec: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw a Vega-Lite specification to a file with the light theme, whole or not at all.

    Args:
        spec: as Altair's `.to_dict()` gives it, data inline.
        path: ends in `.svg`, `.png` (twice the size, on paper white) or `.pdf`.

    Returns:
        The path written.

    Raises:
        ValueError: the suffix is none of the three, or the specification is not one that Vega-Lite can draw.

    Example:
        >>> import pathlib, tempfile
        >>> spec = {"data": {"values": [{"x": 1}]}, "mark": "point"}
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "chart.svg"
        >>> save_chart(spec, target).read_text()[:4]
        '<svg'
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".svg", ".png", ".pdf"):
        message = f"cannot draw a chart as {target.name!r}: end the name in .svg, .png or .pdf"
        raise ValueError(message)
    text = json.dumps(prepared(spec, fluid=False))
    config = facet_theme() if faceted(spec) else theme()
    if suffix == ".png":
        config["background"] = PAPER
    if suffix == ".svg":
        content = vl_convert.vegalite_to_svg(text, config=config).encode()
    elif suffix == ".png":
        content = vl_convert.vegalite_to_png(text, config=config, scale=PNG_SCALE)
    else:
        content = vl_convert.vegalite_to_pdf(text, config=config)
    with replacing(target) as temporary:
        temporary.write_bytes(content)
    return target
