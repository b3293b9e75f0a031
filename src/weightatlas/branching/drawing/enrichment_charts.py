"""Families against branches: how much of each family stands in each branch, and how rare that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette
from weightatlas.branching.specialization import SIGNIFICANT
from weightatlas.drawing.axes import inline
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.branching.specialization import Specialization
    from weightatlas.branching.surveying.tested_families import Families

MATRICES: Final = 6
"""Layers that are drawn at most, those with the most information over chance; the table has all."""
FAMILIES: Final = 40
"""Families of a layer that are drawn, those with the smallest p."""
CELL: Final = (92, 34)
"""Pixels of a cell."""
NAMES: Final = 150
"""Pixels that the names of families have at least."""
ROOM: Final = 960
SMALLEST_Q: Final = 1e-6
"""Colours end here: rarer is as dark."""


def enrichment_matrices(tested: Sequence[Families]) -> alt.ConcatChart:
    """One matrix a layer and way of sorting, families down, branches across.

    The area of a dot is the share of the family that stands in the branch, its colour how rare that is by chance, and
    the figure beside it how many units they are.
    """
    drawn = shown(tested)
    parts = [_matrix(one, found, titled=len(drawn) > 1) for one, found in drawn]
    widest = max((int(part.width) for part in parts), default=1)
    joined: alt.ConcatChart = alt.concat(*parts, columns=max(1, ROOM // (widest + NAMES)), spacing=28)
    return joined


def shown(tested: Sequence[Families]) -> list[tuple[Families, Specialization]]:
    """The matrices that are drawn: those with the most information over chance, in the order of the network."""
    found = [(one, one.specialization) for one in tested if one.specialization is not None and one.specialization.pairs]
    kept = sorted(range(len(found)), key=lambda place: -found[place][1].excess)[:MATRICES]
    return [found[place] for place in sorted(kept)]


def enrichment_rows(found: Specialization) -> list[dict[str, Any]]:
    """One row for each family and branch that is drawn."""
    rarest = sorted(found.pairs, key=lambda pair: pair.p_value if math.isfinite(pair.p_value) else 1.0)
    names = list(dict.fromkeys(pair.family for pair in rarest))[:FAMILIES]
    return [
        {
            "family": printable(pair.family, limit=40),
            "branch": printable(pair.branch, limit=40),
            "k": pair.k,
            "of": pair.family_size,
            "share": pair.k / pair.family_size if pair.family_size else 0.0,
            "expected": round(pair.expected, 2),
            "q_value": pair.q_value if math.isfinite(pair.q_value) else None,
            "rarity": _rarity(pair.q_value),
        }
        for pair in found.pairs
        if pair.family in names
    ]


def _matrix(one: Families, found: Specialization, *, titled: bool) -> alt.LayerChart:
    rows = enrichment_rows(found)
    base = inline(rows).encode(
        x=_axis("branch", rows, alt.X, orient="top", labelAngle=0 if len(found.branches) <= 8 else -40),
        y=_axis("family", rows, alt.Y, minExtent=NAMES - 30),
        tooltip=[
            "family:N",
            "branch:N",
            alt.Tooltip("k:Q", title="units"),
            alt.Tooltip("of:Q", title="of the family's"),
            alt.Tooltip("expected:Q", title="by chance"),
            alt.Tooltip("q_value:Q", title="q", format=".2~g"),
        ],
    )
    dots = base.mark_point(filled=True, opacity=1, stroke=palette.GREY, strokeWidth=0.8, shape="circle").encode(
        size=alt.Size(
            "share:Q",
            title="share of the family",
            scale=alt.Scale(domain=[0, 1], range=[0, 520]),
            legend=alt.Legend(values=[0.25, 0.5, 1], format="%", symbolFillColor=palette.GREY),
        ),
        color=alt.Color(
            "rarity:Q",
            title="q",
            scale=alt.Scale(
                domain=[-math.log10(SIGNIFICANT), -math.log10(SMALLEST_Q)],
                range=[palette.NULL, palette.ACCENT],
                clamp=True,
                interpolate="rgb",
            ),
            legend=alt.Legend(
                values=[-math.log10(SIGNIFICANT), 3, 6], gradientLength=110, labelExpr=_Q_LABELS, labelOverlap=False
            ),
        ),
    )
    texts = base.mark_text(dx=26, align="center", baseline="middle", color=palette.INK).encode(text="k:Q")
    across, down = (len({row[key] for row in rows}) for key in ("branch", "family"))
    name = alt.TitleParams(f"{printable(one.layer, limit=40)}, by {printable(one.by, limit=40)}", frame="group")
    title: Mapping[str, Any] = {"title": name} if titled else {}
    width, height = max(3, min(CELL[0], 860 // max(across, 1))) * across, CELL[1] * down
    layered: Any = alt.layer(dots, texts)
    chart: alt.LayerChart = layered.properties(width=width, height=height, **title)
    return chart


_Q_LABELS: Final = "datum.value < 2 ? '.05' : datum.value < 4 ? '.001' : '1e-6'"


def _axis(field: str, rows: Sequence[Mapping[str, Any]], channel: Any, **options: Any) -> Any:  # noqa: ANN401 - Altair
    order = list(dict.fromkeys(row[field] for row in rows))
    axis = alt.Axis(grid=False, ticks=False, domain=False, labelLimit=200, **options)
    return channel(f"{field}:N", title=None, sort=order, axis=axis)


def _rarity(q_value: float) -> float:
    if not math.isfinite(q_value):
        return 0.0
    return -math.log10(max(q_value, SMALLEST_Q))
