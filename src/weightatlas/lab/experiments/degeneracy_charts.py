"""The charts of the degeneracy experiment, without a theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.lab.experiments.degeneracy_published import LOCAL, MODULUS, PAIRS, PCA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult
    from weightatlas.result import Row

WIDTH, HEIGHT = 230, 160
COLUMNS: Final = 3

KINDS: Final = ("interaction basis", "principal components")
KIND_COLOURS: Final = alt.Scale(domain=list(KINDS), range=list(palette.CATEGORIES[: len(KINDS)]))
WHOSE: Final = ("ours", "published")


def edge_rows(result: DegeneracyResult) -> list[Row]:
    """What `edges_chart` draws: a row a seed, two points and a basis; the published networks' where p is theirs."""
    rows: list[Row] = []
    for row in result.rows("edges"):
        own = {"variant": row["variant"], "seed": row["seed"], "from": row["source"], "whose": WHOSE[0]}
        counts = zip(KINDS, (row["interaction"], row["pca"]), strict=True)
        rows += [own | {"basis": kind, "edges": count} for kind, count in counts if count is not None]
    theirs = {row["variant"] for row in result.rows("edges") if row["modulus"] == MODULUS}
    for variant in sorted(theirs):
        for point in PAIRS:
            for kind, published in zip(KINDS, (LOCAL, PCA), strict=True):
                own = {"variant": variant, "from": point, "whose": WHOSE[1], "basis": kind}
                rows += [own | {"seed": seed, "edges": count} for seed, count in enumerate(published[point])]
    return rows


def course_rows(result: DegeneracyResult) -> list[Row]:
    """What `course_chart` draws: every checkpoint with an estimate that is finite."""
    return [
        row | {"told": "flagged" if row["flags"] else "unflagged", "updates": row["step"] + 1}
        for row in result.rows("course")
        if row["llc"] is not None
    ]


def curve_rows(result: DegeneracyResult) -> list[Row]:
    """What `curve_chart` draws: the rank of the Jacobian by the number of examples."""
    return [row for row in result.rows("curve") if row["rank"] is not None]


def edges_chart(result: DegeneracyResult) -> alt.FacetChart:
    """Edges needed at equal accuracy: a panel a variant, a row two points, a dot a seed, a colour a basis."""
    rows = edge_rows(result)
    legend = alt.Legend() if any(row["whose"] != WHOSE[0] for row in rows) else None
    dots = (
        alt.Chart()
        .mark_point(size=34, opacity=0.85)
        .encode(
            x=alt.X(
                "edges:Q", title="edges needed", scale=alt.Scale(type="symlog"), axis=alt.Axis(format=",d", tickCount=4)
            ),
            y=alt.Y("from:N", title="from", sort=None),
            yOffset=alt.YOffset("basis:N", sort=list(KINDS)),
            color=alt.Color("basis:N", title=None, sort=list(KINDS), scale=KIND_COLOURS),
            shape=alt.Shape("whose:N", title=None, sort=list(WHOSE), legend=legend),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "from", "basis", "whose", "edges")],
        )
        .properties(width=WIDTH, height=alt.Step(14))
    )
    return _faceted(dots, rows, independent="y")


def course_chart(result: DegeneracyResult) -> alt.FacetChart:
    """The learning coefficient over training: a panel a variant, a line a seed, hollow where it is flagged."""
    rows = course_rows(result)
    base = alt.Chart().encode(
        x=alt.X("updates:Q", title="updates + 1", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=4)),
        detail="seed:N",
    )
    y = alt.Y("llc:Q", title="learning coefficient", axis=alt.Axis(format="~s", tickCount=4))
    lines = base.mark_line(strokeWidth=0.9, color=palette.GREY).encode(y=y)
    bars = base.mark_rule(color=palette.INK, strokeWidth=0.8).encode(y="low:Q", y2="high:Q")
    dots = base.mark_point(size=30, stroke=palette.INK, strokeWidth=1).encode(
        y=y,
        fill=alt.Fill(
            "told:N",
            title=None,
            scale=alt.Scale(domain=["unflagged", "flagged"], range=[palette.INK, palette.PAPER]),
            legend=alt.Legend(symbolStrokeColor=palette.INK, symbolStrokeWidth=1),
        ),
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "step", "flags")),
            *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("llc", "low", "high", "loss", "test_accuracy")),
        ],
    )
    return _faceted(alt.layer(lines, bars, dots).properties(width=WIDTH, height=HEIGHT), rows, independent="both")


def curve_chart(result: DegeneracyResult) -> alt.FacetChart:
    """The rank of the Jacobian by the examples it is taken on, beside what they allow: a panel a variant."""
    rows = curve_rows(result)
    base = alt.Chart().encode(
        x=alt.X(
            "examples:Q", title="examples", scale=alt.Scale(type="log", base=2), axis=alt.Axis(format=",d", tickCount=5)
        ),
        detail="seed:N",
    )
    y = alt.Y("rank:Q", title="rank", axis=alt.Axis(format=",d", tickCount=4))
    allowed = base.mark_line(color=palette.GREY, strokeDash=[4, 3]).encode(y="allowed:Q")
    lines = base.mark_line(color=palette.INK, strokeWidth=1).encode(y=y)
    dots = base.mark_point(size=24, filled=True, color=palette.INK).encode(
        y=y,
        tooltip=[
            *(alt.Tooltip(f"{name}:N") for name in ("variant", "seed", "limited")),
            *(alt.Tooltip(f"{name}:Q") for name in ("examples", "rank", "limit", "nullity")),
        ],
    )
    drawn = [row | {"allowed": min(row["limit"], row["rank"] + row["nullity"])} for row in rows]
    chart: Any = alt.layer(allowed, lines, dots).properties(width=WIDTH, height=HEIGHT)
    return _faceted(chart, drawn, independent="both")


def _faceted(panel: Any, rows: Sequence[Row], *, independent: str) -> alt.FacetChart:  # noqa: ANN401 - any chart
    """A panel a variant; the data are the facets', so that each panel draws its own."""
    names = list(dict.fromkeys(row["variant"] for row in rows))
    faceted: alt.FacetChart = panel.facet(
        facet=alt.Facet("variant:N", title=None, sort=names), columns=COLUMNS, data=alt.InlineData(values=list(rows))
    )
    scales: dict[str, Any] = {"y": "independent"} | ({"x": "independent"} if independent == "both" else {})
    resolved: alt.FacetChart = faceted.resolve_scale(**scales)
    return resolved
