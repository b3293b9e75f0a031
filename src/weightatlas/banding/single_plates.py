"""How the results of single estimators are shown: one layer's score, slides and symmetries, the types of many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import numpy as np

from weightatlas import palette
from weightatlas.banding.charts import NULL_WIDTH, types_chart
from weightatlas.banding.findings import types_title
from weightatlas.drawing.axes import inline
from weightatlas.plate import Chart, Heading, Plate, SlideLayer, Slides
from weightatlas.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weightatlas.banding.score import BandingScore
    from weightatlas.banding.slides import TissueSlides
    from weightatlas.banding.symmetries import Symmetries
    from weightatlas.banding.types import BandingTypes

FLIP_NULL: Final = "Every unit's sign is a fair coin; over units and over input channels, the larger p counts."
SLIDES_READING: Final = (
    "A kernel over all its input channels is factored into three non-negative patterns, drawn red, green and blue; a "
    "colour means the same pattern throughout a layer, red the topmost. Rows of one colour are horizontal bands. Units "
    "lie in the order of their first principal component; click one for its link and its values."
)
SLIDES_METHOD: Final = (
    "Non-negative matrix factorisation of rank 3 for each unit, on the positive and the negative part of its weights "
    "side by side, as in Voss et al., Visualizing Weights (2021); factors matched across units by assignment to one "
    "layout; each unit scaled to its own maximum."
)


def score_chart(score: BandingScore) -> alt.LayerChart:
    """Units counted by their score, B as a rule, its null as a band."""
    rows = [{"score": row["score"]} for row in score.rows() if row["score"] is not None]
    mean = [{"score": score.score, "low": -NULL_WIDTH * score.null_std, "high": NULL_WIDTH * score.null_std}]
    null = inline(mean).mark_rect(color=palette.NULL).encode(x=alt.X("low:Q", title="b"), x2="high:Q")
    units = (
        inline(rows)
        .mark_bar(color=palette.GREY)
        .encode(x=alt.X("score:Q", bin=alt.Bin(extent=[-1, 1], step=0.05)), y=alt.Y("count()", title="units"))
    )
    rule = inline(mean).mark_rule(color=palette.ACCENT, strokeWidth=2).encode(x="score:Q")
    chart: alt.LayerChart = (null + units + rule).properties(width="container", height=200)
    return chart


def score_plates(score: BandingScore) -> list[Plate]:
    """The spread of the units' scores."""
    verdict = f"{score.direction} bands" if score.direction != "none" else "no direction"
    return [
        Chart(
            Heading(
                key="score",
                title=f"B = {score.score:+.3f}, {verdict} (p = {score.p_value:.2g})",
                reading="Units counted by their score b; the rule is B, their mean; grey holds 99.9 % of sign flips.",
                method="b is the share of a unit's spatial variance between rows, less that between columns.",
                null=FLIP_NULL,
            ),
            spec=score_chart(score).to_dict(),
            rows=tuple(score.rows()),
        )
    ]


def slides_plate(slides: TissueSlides) -> Slides:
    """One layer's slides."""
    units, height, width = slides.images.shape[:3]
    layer = SlideLayer(
        layer=slides.source,
        images=slides.images,
        facts=(f"{counted(units, 'unit')} of {height}×{width}", f"unexplained {slides.error.mean():.0%}"),
        measures={"unexplained": slides.error.astype(np.float64)},
        order=slides.order,
    )
    heading = Heading("slides", f"Tissue slides of {slides.source}", SLIDES_READING, SLIDES_METHOD)
    return Slides(heading, (layer,))


def error_chart(slides: TissueSlides) -> alt.Chart:
    """Units counted by what the factors leave unexplained."""
    chart: alt.Chart = (
        inline([{"error": error} for error in slides.error.tolist()])
        .mark_bar(color=palette.GREY)
        .encode(
            x=alt.X("error:Q", bin=alt.Bin(maxbins=40), title="unexplained share of the norm"),
            y=alt.Y("count()", title="units"),
        )
        .properties(width="container", height=200)
    )
    return chart


def symmetries_chart(found: Symmetries) -> alt.LayerChart:
    """The three imbalances with their nulls."""
    rows: list[Mapping[str, Any]] = [
        row | {"low": -NULL_WIDTH * row["null_std"], "high": NULL_WIDTH * row["null_std"]}
        for row in found.rows()
        if row["score"] is not None and row["null_std"] is not None
    ]
    base = inline(rows).encode(y=alt.Y("symmetry:N", title=None, sort=None))
    null = base.mark_bar(color=palette.NULL, size=12).encode(x=alt.X("low:Q", title="imbalance"), x2="high:Q")
    colours = alt.Scale(domain=[True, False], range=[palette.ACCENT, palette.GREY])
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        x="score:Q", color=alt.Color("broken:N", title="broken", scale=colours)
    )
    chart: alt.LayerChart = (null + dots).properties(width="container", height=90)
    return chart


def symmetries_plates(found: Symmetries) -> list[Plate]:
    """The three imbalances of one layer."""
    broken = [test.symmetry for test in found if test.broken]
    title = f"The units break the {' and the '.join(broken)}" if broken else "The units break no symmetry in common"
    return [
        Chart(
            Heading(
                key="symmetries",
                title=title,
                reading="A dot off zero says that the units, taken together, are not alike under the symmetry.",
                method="Squared weights above less below, left less right, over all; quarter turn: b.",
                null=FLIP_NULL,
            ),
            spec=symmetries_chart(found).to_dict(),
            rows=tuple(found.rows()),
        )
    ]


def types_plates(
    found: BandingTypes, *, shares_title: str = "What each layer is made of", method: str = ""
) -> list[Plate]:
    """The types of tissue, and each layer's share of each."""
    rows: Sequence[Mapping[str, Any]] = found.rows()
    clusters = (
        "k-means on slides of unit length, pooled over layers of one kernel size, as in figure 12 of Petrov et al. "
    )
    return [
        Slides(
            Heading(
                key="types",
                title=types_title(found),
                reading="Each square is the mean slide of one type: score is its b, share the part of all units in it.",
                method=f"{clusters}(2021). {method}".strip(),
            ),
            tuple(
                SlideLayer(
                    layer=f"{size} kernels",
                    images=_pictures(centres),
                    facts=(counted(len(centres), "type"),),
                    measures={"score": found.scores[size], "share": found.overall(size)},
                    order=np.argsort(-found.scores[size], kind="stable"),
                )
                for size, centres in found.centres.items()
                if len(centres)
            ),
        ),
        Chart(
            Heading(
                key="type-shares",
                title=shares_title,
                reading=(
                    "One bar a layer, one stretch a type, coloured by the type's own b: the accent is horizontal "
                    "bands, blue vertical, white none."
                ),
                method="Shares of the types above. k-means finds types in noise, too: judge a layer by its score.",
            ),
            spec=types_chart(rows).to_dict(),
            rows=tuple(rows),
        ),
    ]


def _pictures(centres: np.ndarray) -> np.ndarray:
    """Mean slides as red, green and blue, each scaled to its own maximum."""
    peaks = np.maximum(centres.max(axis=(1, 2, 3), keepdims=True), np.finfo(float).tiny)
    scaled = np.clip(np.rint(255 * centres[..., :3] / peaks), 0, 255).astype(np.uint8)
    return np.pad(scaled, ((0, 0), (0, 0), (0, 0), (0, 3 - scaled.shape[3])))
