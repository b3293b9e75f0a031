"""Two layers whose connections divide: their matrix with units in order of the first hidden axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.branching.hidden.balancing import balance
from weightatlas.branching.specialization import SIGNIFICANT
from weightatlas.drawing.axes import inline
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from weightatlas.branching.implicit import HiddenBranches
    from weightatlas.branching.survey import BranchingSurvey
    from weightatlas.branching.surveying.tested_pairs import HiddenPair

    Matrix = npt.NDArray[np.float64]

CELLS: Final = 64
"""Cells of a side at most; beyond that neighbours are drawn as one, their mean."""
SIDE: Final = 380
"""Pixels of a side at most."""
CELL: Final = 14
"""Pixels of a cell at most."""
STRIP: Final = 12
"""Pixels of the strip of chroma."""
REACH: Final = (1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times chance, and what part of it, the colours may end at."""
DRAWN: Final = 2
"""Pairs of layers that are drawn."""


def hidden_chart(survey: BranchingSurvey, pairs: Sequence[HiddenPair]) -> alt.HConcatChart:
    """The balanced matrix of each pair: units of the first layer down, of the next across, both in bicluster order.

    Where the units of the first layer see colours, a strip beside their rows has the chroma of each.
    """
    drawn = [(pair, *_ordered(pair.hidden)) for pair in pairs if pair.hidden is not None]
    reach = _reach([cells for _, _, cells in drawn])
    parts: list[Any] = []
    for pair, rows, cells in drawn:
        heat = _heat(pair, cells, reach)
        chroma = _chroma(survey, pair, rows)
        parts.append(heat if chroma is None else _beside(_strip(chroma, len(cells)), heat))
    joined: alt.HConcatChart = alt.hconcat(*parts, spacing=36).resolve_scale(color="independent")
    return joined


def hidden_rows(pairs: Sequence[HiddenPair]) -> list[dict[str, Any]]:
    """The data behind it: the first axis of every unit of the pairs."""
    rows = []
    for pair in pairs:
        if pair.hidden is None:
            continue
        for name, axes, order in (
            (pair.layer, pair.hidden.left, pair.hidden.row_order),
            (pair.next_layer, pair.hidden.right, pair.hidden.column_order),
        ):
            rows += [
                {"from": pair.layer, "to": pair.next_layer, "layer": name, "unit": unit, "axis": axes[unit, 0]}
                for unit in order.tolist()
            ]
    return rows


def strongest(survey: BranchingSurvey, most: int = DRAWN) -> list[HiddenPair]:
    """The pairs whose first axis stands furthest above its null, in its standard deviations; the strongest first."""
    found = [pair for pair in survey.pairs if pair.hidden is not None and len(pair.hidden.shares)]
    return sorted(found, key=lambda pair: (not hides(pair), -height(pair)))[:most]


def pictured(survey: BranchingSurvey, most: int = DRAWN) -> list[HiddenPair]:
    """The pairs whose matrices are drawn: the strongest whose first layer sees colours, then the strongest others."""
    found = strongest(survey, len(survey.pairs))
    tuned = [pair for pair in found if hides(pair) and pair.hidden is not None and pair.hidden.correlations][:1]
    return [*tuned, *(pair for pair in found if pair not in tuned)][:most]


def height(pair: HiddenPair) -> float:
    """How many standard deviations of its null the first axis's share stands above the null's mean."""
    hidden = pair.hidden
    if hidden is None or not len(hidden.shares):
        return float("-inf")
    spread = float(hidden.null_std[0])
    return float(hidden.shares[0] - hidden.null_mean[0]) / spread if spread > 0 else 0.0


def _reach(matrices: Sequence[Matrix]) -> float:
    """How many times chance, and what part of it, the colours end at: what 98 in 100 cells stay below."""
    needed = max((float(np.percentile(cells, 98)) for cells in matrices), default=REACH[0])
    return next((reach for reach in REACH if needed <= reach), REACH[-1])


def hides(pair: HiddenPair) -> bool:
    """Whether the first axis of a pair stands out."""
    return bool(pair.hidden is not None and pair.q_values and pair.q_values[0] < SIGNIFICANT)


def has_test(pair: HiddenPair) -> bool:
    """Whether the first axis of a pair was tested: only some methods have a test that holds its level."""
    return pair.hidden is not None and len(pair.hidden.p_values) > 0 and bool(np.isfinite(pair.hidden.p_values[0]))


def _ordered(hidden: HiddenBranches) -> tuple[list[npt.NDArray[np.int64]], Matrix]:
    """Units of the first layer that each row of cells stands for, and the cells: times what chance gives."""
    balanced = balance(np.asarray(hidden.matrix, dtype=np.float64))
    rows = [unit for unit in hidden.row_order.tolist() if balanced.rows[unit]]
    columns = [unit for unit in hidden.column_order.tolist() if balanced.columns[unit]]
    place_row, place_column = np.cumsum(balanced.rows) - 1, np.cumsum(balanced.columns) - 1
    matrix = balanced.matrix[place_row[rows]][:, place_column[columns]]
    row_parts, column_parts = (_parts(len(units)) for units in (rows, columns))
    joined = np.array([matrix[part].mean(axis=0) for part in row_parts])
    cells = np.array([joined[:, part].mean(axis=1) for part in column_parts]).T
    return [np.array(rows)[part] for part in row_parts], cells


def _beside(strip: alt.Chart, heat: alt.Chart) -> alt.HConcatChart:
    joined: alt.HConcatChart = alt.hconcat(strip, heat, spacing=4).resolve_scale(color="independent")
    return joined


def _parts(units: int) -> list[npt.NDArray[np.int64]]:
    """Neighbours that are drawn as one, evenly over all units, so that the middle of the units is that of the cells."""
    cells = min(CELLS, units)
    return np.split(np.arange(units), np.linspace(0, units, cells + 1).round().astype(np.int64)[1:-1])


def _heat(pair: HiddenPair, cells: Matrix, reach: float) -> alt.Chart:
    down, across = cells.shape
    values = [
        {"row": row, "column": list(range(across)), "times": [float(f"{cell:.3g}") for cell in line]}
        for row, line in enumerate(cells.tolist())
    ]
    scale = alt.Scale(
        type="log", domain=[1 / reach, 1, reach], range=list(palette.DIVERGING), clamp=True, interpolate="rgb"
    )
    legend = alt.Legend(values=[1 / reach, 1, reach], format=".2~g", gradientLength=90, labelOverlap=False)
    names = [printable(name, limit=40) for name in (pair.layer, pair.next_layer)]
    chart: alt.Chart = (
        inline(values)
        .transform_flatten(["column", "times"])
        .mark_rect()
        .encode(
            x=alt.X("column:O", title=f"units of {names[1]}", axis=_bare()),
            y=alt.Y("row:O", title=f"units of {names[0]}", axis=_bare()),
            color=alt.Color("times:Q", title="times chance", scale=scale, legend=legend),
            tooltip=[alt.Tooltip("times:Q", title="times chance", format=".2~f")],
        )
        .properties(width=_side(across), height=_side(down), title=f"{names[0]} → {names[1]}")
    )
    return chart


def _strip(chroma: Sequence[float | None], down: int) -> alt.Chart:
    values = [{"row": row, "chroma": value} for row, value in enumerate(chroma)]
    chart: alt.Chart = (
        inline(values)
        .mark_rect()
        .encode(
            y=alt.Y("row:O", title=None, axis=None),
            color=alt.Color(
                "chroma:Q",
                title="chroma",
                scale=alt.Scale(domain=[0, 1], range=list(palette.SEQUENTIAL), interpolate="rgb"),
                legend=alt.Legend(values=[0, 1], gradientLength=50),
            ),
            tooltip=[alt.Tooltip("chroma:Q", format=".2f")],
        )
        .properties(width=STRIP, height=_side(down))
    )
    return chart


def _chroma(
    survey: BranchingSurvey, pair: HiddenPair, rows: Sequence[npt.NDArray[np.int64]]
) -> list[float | None] | None:
    """The mean chroma of the units of each row of cells, if the first layer's units were tuned."""
    layer = next((layer for layer in survey.layers if layer.layer == pair.layer and layer.tuning is not None), None)
    if layer is None or layer.tuning is None or pair.hidden is None or layer.units != len(pair.hidden.left):
        return None
    means = [layer.tuning.chroma[part] for part in rows]
    return [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else None for part in means]


def _side(cells: int) -> int:
    return max(1, min(CELL, SIDE // cells)) * cells


def _bare() -> alt.Axis:
    return alt.Axis(labels=False, ticks=False, domain=False, titleAnchor="middle")
