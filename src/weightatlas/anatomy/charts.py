"""The chart of a layer survey, without a theme: spread, tails and stable rank of every layer by depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from weightatlas import palette

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH: Final = 820
HEIGHT: Final = 120
_MANY: Final = 120  # layers from which dots are drawn smaller
_REST: Final = "other roles"


def depth_chart(rows: Sequence[Mapping[str, Any]]) -> alt.VConcatChart:
    """Three panels over one axis of depth; a dot a layer, a thin line a role.

    Args:
        rows: one a layer, in the order of the network, with `depth, layer, role, std, kurtosis, stable_rank_ratio`.
    """
    groups = _groups(rows)
    values = [dict(row) | {"group": groups[row["role"]], "std": row["std"] or None} for row in rows]
    names = list(dict.fromkeys(groups.values()))
    colours = [palette.GREY if name == _REST else palette.CATEGORIES[place] for place, name in enumerate(names)]
    colour = alt.Color("group:N", title="role", scale=alt.Scale(domain=names, range=colours))
    colour = colour.legend(orient="top", columns=5) if len(names) > 1 else colour.legend(None)
    panels = (
        ("std", "standard deviation", alt.Scale(type="log"), None),
        ("kurtosis", "excess kurtosis", alt.Scale(type="symlog"), 0.0),
        ("stable_rank_ratio", "stable rank / random", alt.Scale(zero=True), 1.0),
    )
    data = alt.Data(values=values)  # type: ignore[no-untyped-call]
    drawn = [
        _panel(field, title, scale, null, colour=colour, last=field == panels[-1][0], count=len(values))
        for field, title, scale, null in panels
    ]
    chart: alt.VConcatChart = alt.vconcat(*drawn, data=data, spacing=10).resolve_scale(color="shared")
    return chart


def _panel(
    field: str, title: str, scale: alt.Scale, null: float | None, *, colour: alt.Color, last: bool, count: int
) -> alt.LayerChart | alt.FacetChart:
    axis = alt.Axis(tickMinStep=1, grid=False, labels=last, ticks=last, title="layer, from the input" if last else None)
    x = alt.X("depth:Q", axis=axis, scale=alt.Scale(domain=[0.5, max(count, 1) + 0.5], nice=False))
    y = alt.Y(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4, format=",.6~g", grid=field != "std"))
    tooltip = [
        alt.Tooltip("layer:N"),
        alt.Tooltip("role:N"),
        alt.Tooltip("shape:N"),
        alt.Tooltip("std:Q", title="standard deviation", format=".4g"),
        alt.Tooltip("kurtosis:Q", title="excess kurtosis", format=".3g"),
        alt.Tooltip("stable_rank:Q", title="stable rank", format=".4g"),
        alt.Tooltip("stable_rank_null:Q", title="of a random matrix", format=".4g"),
    ]
    base = alt.Chart().encode(x=x, y=y)
    lines = base.mark_line(strokeWidth=0.7, opacity=0.45).encode(color=colour, detail="role:N")
    dots = base.mark_point(filled=True, size=14 if count > _MANY else 32, opacity=0.9).encode(
        color=colour, tooltip=tooltip
    )
    layers = [lines, dots]
    if null is not None:
        one = alt.Data(values=[{"null": null}])  # type: ignore[no-untyped-call]
        rule = alt.Chart(one).mark_rule(color=palette.GREY, strokeDash=[3, 3])
        layers.insert(0, rule.encode(y=alt.Y("null:Q", scale=scale)))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _groups(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Roles as the legend names them: the two halves of a squeeze-and-excitation as one, the ninth and later as one."""
    names: dict[str, str] = {}
    for row in rows:
        role = str(row["role"])
        names[role] = "squeeze-excite" if role.startswith("squeeze-excite") else role
    distinct = list(dict.fromkeys(names.values()))
    room = len(palette.CATEGORIES)
    kept = set(distinct if len(distinct) <= room else distinct[: room - 1])
    return {role: name if name in kept else _REST for role, name in names.items()}
