"""The charts of the mode connectivity experiment, without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.effects import mean_interval
from weightatlas.lab.experiments.mode_connectivity_measures import SAID, WAYS, key_of
from weightatlas.lab.experiments.mode_connectivity_variants import INSTABILITY, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.mode_connectivity_result import ModeConnectivityResult
    from weightatlas.result import Row

WIDTH, HEIGHT = 330, 220
PATH_WIDTH, PATH_HEIGHT = 190, 130
PATHS_DRAWN: Final = 9
"""Panels of lines, at most."""

COLOURS: Final = alt.Scale(domain=list(SAID), range=list(palette.CATEGORIES[: len(SAID)]))


def width_rows(result: ModeConnectivityResult, what: str = "barrier") -> list[Row]:
    """What `widths_chart` draws: a row a seed of each width and kind of line, with mean and interval of its width."""
    return _barrier_rows(result, what, role="twin")


def fork_rows(result: ModeConnectivityResult, what: str = "error_barrier") -> list[Row]:
    """What `forks_chart` draws: a row a seed of each fork and kind of line."""
    forked = {variant.name for _, variant in result.forked}
    return [row for row in _barrier_rows(result, what, role=None) if row["variant"] in forked]


def path_rows(result: ModeConnectivityResult) -> list[Row]:
    """What `paths_chart` draws: the mean of the seeds, of independent networks first, then of forks."""
    cells: dict[tuple[str, str, float], list[float]] = {}
    for row in result.rows("paths"):
        if row["alpha"] is not None and row["loss"] is not None:
            said = SAID[WAYS.index((row["matched"], row["recalibrated"]))]
            cells.setdefault((row["variant"], said, row["alpha"]), []).append(row["loss"])
    names = list(dict.fromkeys(variant for variant, _, _ in cells))
    drawn = sorted(names, key=lambda name: place_of(name).role != "twin")[:PATHS_DRAWN]
    return [
        {"variant": variant, "line": said, "alpha": alpha, "loss": sum(values) / len(values), "seeds": len(values)}
        for (variant, said, alpha), values in cells.items()
        if variant in drawn
    ]


def layer_rows(result: ModeConnectivityResult) -> list[Row]:
    """What `layers_chart` draws: every layer of every pair of independent networks."""
    return [
        row
        for row in result.rows("layers")
        if row["layer"] is not None and row["predicted"] is not None and place_of(row["variant"]).role == "twin"
    ]


def widths_chart(result: ModeConnectivityResult, what: str = "barrier") -> alt.LayerChart:
    """The barrier of independent networks by their width: a colour a kind of line, a thin line a seed."""
    rows = width_rows(result, what)
    x = alt.X("width:Q", title="width", scale=alt.Scale(type="log", base=2, nice=False, padding=16))
    values = sorted({row["width"] for row in rows})
    return _barriers(rows, x.axis(values=values, format="~g", grid=False), what)


def forks_chart(result: ModeConnectivityResult, what: str = "error_barrier") -> alt.LayerChart:
    """The barrier of forks by the share of the run at which they fork, each twice the last or more: a log axis."""
    rows = fork_rows(result, what)
    order = list(dict.fromkeys(row["share"] for row in rows))
    x = alt.X(
        "share:N", title="forked after this share of the run", sort=order, axis=alt.Axis(labelAngle=0, grid=False)
    )
    return _barriers(rows, x, what, floor=INSTABILITY if what.startswith("error") else None)


def paths_chart(result: ModeConnectivityResult) -> alt.FacetChart:
    """The loss along the line, mean of the seeds: a panel a pair, a colour a kind of line."""
    rows = path_rows(result)
    lines = (
        alt.Chart()  # the facets' data: data of its own would draw every variant in every panel
        .mark_line(strokeWidth=1.6)
        .encode(
            x=alt.X(
                "alpha:Q",
                title="share of the second network",
                axis=alt.Axis(values=[0, 0.5, 1], format="~g", grid=False),
            ),
            y=alt.Y("loss:Q", title="loss", axis=alt.Axis(tickCount=4)),
            color=alt.Color("line:N", title=None, sort=list(SAID), scale=COLOURS),
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("variant", "line", "seeds")),
                *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("alpha", "loss")),
            ],
        )
        .properties(width=PATH_WIDTH, height=PATH_HEIGHT)
    )
    faceted: alt.FacetChart = lines.facet(
        facet=alt.Facet("variant:N", title=None, sort=list(dict.fromkeys(row["variant"] for row in rows))),
        columns=3,
        data=alt.InlineData(values=rows),
    )
    return faceted


def layers_chart(result: ModeConnectivityResult) -> alt.FacetChart:
    """How far the loss rises with each layer half-way, by the prediction: a panel a width, a dot a layer of a seed."""
    rows = layer_rows(result)
    dots = (
        alt.Chart()
        .mark_point(filled=True, size=26, opacity=0.75, color=palette.INK)
        .encode(
            x=alt.X("predicted:Q", title="predicted", axis=alt.Axis(format="~g", tickCount=4)),
            y=alt.Y("rise:Q", title="measured", axis=alt.Axis(format="~g", tickCount=4)),
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "layer")),
                *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("rise", "barrier", "predicted")),
            ],
        )
        .properties(width=PATH_WIDTH, height=PATH_HEIGHT)
    )
    faceted: alt.FacetChart = dots.facet(
        facet=alt.Facet("variant:N", title=None, sort=list(dict.fromkeys(row["variant"] for row in rows))),
        columns=3,
        data=alt.InlineData(values=rows),
    )
    return faceted


def _barrier_rows(result: ModeConnectivityResult, what: str, *, role: str | None) -> list[Row]:
    """A row a seed of every pair and kind of line; of one role only, if one is given."""
    placed = [(place_of(variant.name), variant.name) for variant in result.experiment.variants]
    if role is None:
        placed = [(place, variant.name) for place, variant in result.forked]
    rows: list[Row] = []
    for place, name in placed:
        if place.role == "trunk" or role not in (None, place.role):
            continue
        for (matched, recalibrated), said in zip(WAYS, SAID, strict=True):
            values = result.values(name, key_of(what, matched=matched, recalibrated=recalibrated))
            found = mean_interval(list(values.values()))
            own: Row = {"variant": name, "family": place.family or "batch norm", "width": place.width}
            own |= {"share": place.when, "line": said, "mean": found.mean, "low": found.low, "high": found.high}
            rows += [own | {"seed": seed, "value": value} for seed, value in values.items()]
    return rows


def _barriers(rows: Sequence[Row], x: alt.X, what: str, *, floor: float | None = None) -> alt.LayerChart:
    """Barriers by something: a dot a seed, a pale line through each seed's, a thick one through the means."""
    title = "error barrier" if what.startswith("error") else "loss barrier"
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=x, color=alt.Color("line:N", title=None, sort=list(SAID), scale=COLOURS)
    )
    detail = [alt.Detail("family:N"), alt.Detail("seed:N")]
    seeds = base.mark_line(strokeWidth=0.8, opacity=0.35).encode(y=alt.Y("value:Q", title=title), detail=detail)
    means = base.mark_line(strokeWidth=2).encode(y="mean:Q", detail=detail[:1])
    dots = base.mark_point(filled=True, size=26, opacity=0.8).encode(
        y="value:Q",
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "line", "seed")),
            *(alt.Tooltip(f"{name}:Q", format=".3~g") for name in ("value", "mean", "low", "high")),
        ],
    )
    marks = [seeds, means, dots]
    if floor is not None:
        limit = alt.Chart(alt.InlineData(values=[{"floor": floor}])).encode(y="floor:Q")
        marks = [limit.mark_rule(color=palette.GREY, strokeDash=[4, 3]), *marks]
    layers: Any = alt.layer(*marks)
    chart: alt.LayerChart = layers.properties(width=WIDTH, height=HEIGHT)
    return chart
