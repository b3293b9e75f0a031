"""The singular values of every layer's activations and gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.degeneracy.drawing.powers import powers_axis
from weightatlas.drawing.axes import inline

if TYPE_CHECKING:
    from weightatlas.degeneracy.survey import Degeneracy

AnyChart = alt.LayerChart | alt.FacetChart

WIDTH: Final = 400
HEIGHT: Final = 260
MOST: Final = 96
"""Singular values of a layer that are drawn; more are thinned evenly."""
POINTS: Final = 6_000
"""Of all layers, on each side: of many layers fewer values are drawn, `FEWEST` at least."""
FEWEST: Final = 16
FLOOR: Final = 1e-16
"""What is drawn of a singular value that is 0."""
NAMED: Final = len(palette.CATEGORIES)
"""Layers that have a colour of their own and a name; more are told by their depth."""
COLUMNS: Final = 4
"""Names side by side in the legend."""
SIDES: Final = {"activations": "activation_spectrum", "gradients": "gradient_spectrum"}


def spectra_chart(survey: Degeneracy) -> alt.HConcatChart:
    """A line a layer: its singular values, largest first, over the largest; left activations, right gradients."""
    rows = spectra_rows(survey)
    panels = [
        _panel([row for row in rows if row["side"] == side], side, survey.tolerance)
        for side in SIDES
        if any(row["side"] == side for row in rows)
    ]
    chart: alt.HConcatChart = alt.hconcat(*panels, spacing=36)
    return chart


def spectra_rows(survey: Degeneracy) -> list[dict[str, Any]]:
    """A row a singular value that is drawn."""
    rows: list[dict[str, Any]] = []
    layers = () if survey.counts is None else survey.counts.layers
    most = max(FEWEST, min(MOST, POINTS // max(len(layers), 1)))
    for depth, layer in enumerate(layers, start=1):
        for side, name in SIDES.items():
            spectrum = getattr(layer, name)
            if spectrum is None:
                continue
            values = np.asarray(spectrum.singular_values, dtype=np.float64)
            top = float(values.max(initial=0.0))
            places = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
            rows += [
                {
                    "layer": layer.layer,
                    "depth": depth,
                    "side": side,
                    "place": round((place + 1) / len(values), 4),
                    "value": float(f"{max(values[place] / top, FLOOR):.4g}") if top > 0 else FLOOR,
                }
                for place in places.tolist()
            ]
    return rows


def _panel(rows: list[dict[str, Any]], side: str, tolerance: float) -> AnyChart:
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    least = min((row["value"] for row in rows), default=FLOOR)
    foot = max(FLOOR, min(least, tolerance) / 3)
    few = len(layers) <= NAMED
    scale = alt.Scale(domain=layers, range=list(palette.CATEGORIES[: len(layers)]))
    # Two inks, not the house's sequential scale: its ends are too near to the paper, by day and by night.
    ramp = alt.Scale(range=[palette.VERTICAL, palette.ACCENT], interpolate="rgb")
    colour = (
        alt.Color("layer:N", sort=layers, title=None, scale=scale, legend=alt.Legend(columns=COLUMNS, labelLimit=180))
        if few
        else alt.Color("depth:Q", title="layer, from the input", scale=ramp)
    )
    lines = (
        inline(rows)
        .mark_line(strokeWidth=1.6, opacity=0.9)
        .encode(
            x=alt.X("place:Q", title=f"{side}: share of the singular values", axis=alt.Axis(format="%", tickCount=5)),
            y=alt.Y(
                "value:Q",
                title="over the largest",
                scale=alt.Scale(type="log", domain=[foot, 1.4], nice=False, clamp=True),
                axis=powers_axis(foot),
            ),
            color=colour,
            detail="layer:N",
            tooltip=["layer:N", alt.Tooltip("place:Q", format=".0%"), alt.Tooltip("value:Q", format=".2e")],
        )
    )
    rule = inline([{"value": tolerance}]).mark_rule(color=palette.INK, strokeDash=[4, 3]).encode(y="value:Q")
    chart: AnyChart = alt.layer(lines, rule).properties(width=WIDTH, height=HEIGHT)
    return chart
