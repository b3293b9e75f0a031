"""How a banding survey is shown: findings, the table of layers, tissue slides, banding by depth, symmetries, types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.banding.charts import NULL_WIDTH, depth_chart, profile_chart, symmetry_chart
from weightatlas.banding.findings import (
    banding_findings,
    banding_title,
    profiles_title,
    symmetry_title,
    type_shares_title,
)
from weightatlas.banding.flips import FLIPS
from weightatlas.banding.layer import BANDED_UNIT
from weightatlas.banding.score import BANDED_RAW, BANDED_SLIDES, SIGNIFICANT, SMALLEST
from weightatlas.banding.single_plates import SLIDES_METHOD, SLIDES_READING, types_plates
from weightatlas.plate import Chart, Column, Heading, Plate, SlideLayer, Slides, Strip, Table
from weightatlas.wording import counted, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.banding.layer import LayerBanding
    from weightatlas.banding.survey import BandingSurvey

FLIP_NULL: Final = (
    "Every unit's direction is a fair coin: its score changes sign freely. "
    f"{FLIPS:,} seeded patterns over units and as many over input channels, or all of them up to 16; the larger p "
    "counts, and q is Benjamini-Hochberg over the layers scored here."
)

COLUMNS: Final = (
    Column("layer", "layer", "layer"),
    Column("shape", "kernels", "shape", description="units × input channels × height × width"),
    Column("strip", "B, with its null", "strip", description="B as a dot; grey is where 99.9 % of sign flips fall"),
    Column("score", "B", "signed", description="share of spatial variance between rows less that between columns"),
    Column("q_value", "q", "probability", description="Benjamini-Hochberg over the layers scored in this source"),
    Column("slide_score", "slides B", "signed", description="the same score on the three-factor slides"),
    Column("banded_units", "banded units", "integer", description=f"units whose slide scores {BANDED_UNIT} or more"),
    Column("banded_units_null", "at random", "share", description="the share of random units that would"),
    Column("units", "units", "integer"),
)


def survey_plates(survey: BandingSurvey) -> list[Plate]:
    """All plates of a survey; a source without a scored layer has only the table that says why."""
    plates: list[Plate] = [*banding_findings(survey), _table(survey)]
    if not survey.scored:
        return plates
    if any(banding.slides is not None for banding in survey.scored):
        plates.append(_slides(survey))
    plates += [_depth(survey), _symmetries(survey)]
    if any(banding.slides is not None for banding in survey.scored):
        plates += _types(survey)
    if any(banding.reads_map for banding in survey.scored):
        plates.append(_profiles(survey))
    return plates


def _table(survey: BandingSurvey) -> Table:
    rows: list[Mapping[str, Any]] = []
    for row, banding in zip(survey.rows("layers"), survey.layers, strict=True):
        strip = None
        if banding.score is not None:
            reach = NULL_WIDTH * banding.score.null_std
            strip = Strip(banding.score.score, -reach, reach)
        rows.append(row | {"strip": strip})
    return Table(
        Heading(
            key="banding",
            title=banding_title(survey),
            reading=(
                "One row a spatial convolution, in the order of the network. The dot is B: +1 where the kernels vary "
                "only from row to row (horizontal bands), −1 where only from column to column, 0 where neither is "
                "preferred. The grey bar is its null; a filled accent marks a layer with a direction."
            ),
            method=(
                "B is the mean over units of R − C, where R is the share of a unit's spatial variance that lies "
                "between the rows of its kernels and C the share between columns, each kernel less its own mean. A "
                f"direction is named where q < {SIGNIFICANT:g} and |B| ≥ {SMALLEST:g}; a layer is called banded from "
                f"|B| = {BANDED_RAW:g} on raw kernels and {BANDED_SLIDES:g} on slides, the cut that gives the "
                "verdicts of Petrov et al. (2021). Banded units are those whose slide has the layer's sign and at "
                f"least {BANDED_UNIT:g}."
            ),
            null=FLIP_NULL,
        ),
        columns=COLUMNS,
        rows=tuple(rows),
        marked=tuple(banding.direction != "none" for banding in survey.layers),
    )


def _slides(survey: BandingSurvey) -> Slides:
    drawn = [banding for banding in survey.scored if banding.slides is not None]
    banded = [banding for banding in drawn if banding.slide_banded]
    title = "Tissue slides: each small square is one unit's kernel, reduced to three factors"
    if banded:
        striped = "is striped" if len(banded) == 1 else "are striped"
        rest = "" if len(banded) == len(drawn) else ", the rest a weave"
        title = f"Tissue slides: {number(len(banded))} of {counted(len(drawn), 'layer')} {striped} like muscle{rest}"
    return Slides(
        Heading(
            key="slides",
            title=title,
            reading=SLIDES_READING,
            method=f"{SLIDES_METHOD} Slides B is the banding score with factors in the channels' place.",
            null="The factoring finds structure in noise: the table says what share of random units would be banded.",
        ),
        tuple(_slide_layer(banding) for banding in drawn),
    )


def _slide_layer(banding: LayerBanding) -> SlideLayer:
    score, slides, slide_scores, norms = banding.score, banding.slides, banding.slide_scores, banding.norms
    if score is None or slides is None or slide_scores is None or norms is None:
        message = f"{banding.layer} has no slides"
        raise ValueError(message)
    empty = int(np.count_nonzero(~np.isfinite(score.unit_scores)))
    return SlideLayer(
        layer=banding.layer,
        images=slides.images,
        facts=(
            "×".join(map(str, banding.shape)),
            f"B {score.score:+.3f}, slides {banding.slide_score:+.3f}",
            f"{banding.direction} bands" if banding.direction != "none" else "no direction",
        ),
        measures={"score": score.unit_scores, "slide score": slide_scores, "norm": norms},
        order=slides.order,
        marked=banding.banded,
        note=f"{counted(empty, 'unit')} without spatial variance, drawn black." if empty else "",
    )


def _depth(survey: BandingSurvey) -> Chart:
    return Chart(
        Heading(
            key="depth",
            title=_depth_title(survey),
            reading=(
                "Layers in the order of the network, from the input at the left. Filled dots are B on raw kernels, "
                "rings B on slides; grey is where 99.9 % of sign flips fall. Colour marks a direction."
            ),
            method="B as in the table; the null of the raw score only.",
            null=FLIP_NULL,
        ),
        spec=depth_chart(survey).to_dict(),
        rows=tuple(row for row in survey.rows("layers") if row["skipped"] is None),
    )


def _profiles(survey: BandingSurvey) -> Chart:
    rows = tuple(row for row in survey.rows("profiles") if row["feature_map"])
    return Chart(
        Heading(
            key="profiles",
            title=profiles_title(survey),
            reading=(
                "What a fully connected layer makes of the map it reads: the share of its squared weights that falls "
                "on each row (y, from the top) and on each column (x, from the left). The tick is an even share."
            ),
            method="Weights read as (units, channels, rows, columns) of the map named for the layer; squares summed.",
        ),
        spec=profile_chart(rows).to_dict(),
        rows=rows,
    )


def _depth_title(survey: BandingSurvey) -> str:
    scores = [abs(banding.score.score) for banding in survey.scored if banding.score is not None]
    if len(scores) < 6:
        strongest = survey.scored[int(np.argmax(scores))]
        return f"Banding by depth: |B| is largest in {strongest.layer}, {max(scores):.2f}"
    thirds = np.array_split(np.array([banding.direction != "none" for banding in survey.scored]), 3)
    first, last = (
        f"{number(int(third.sum())) if third.any() else 'none'} of {len(third)}" for third in (thirds[0], thirds[-1])
    )
    return f"By depth: {first} layers have a direction in the first third, {last} in the last"


def _symmetries(survey: BandingSurvey) -> Chart:
    return Chart(
        Heading(
            key="symmetries",
            title=symmetry_title(survey),
            reading=(
                "One panel a symmetry of the square. A dot off zero says that the layer's units, taken together, are "
                "not alike under it: heavier above than below, left than right, or banded one way. Grey as before."
            ),
            method=(
                "Vertical flip: squared weights above the middle row less those below, over all; horizontal flip: "
                "columns likewise; quarter turn: b. The symmetry of single kernels (Alsallakh et al., 2025) is in the "
                "data, untested."
            ),
            null=FLIP_NULL.replace("the layers scored here", "layers and symmetries"),
        ),
        spec=symmetry_chart(survey).to_dict(),
        rows=tuple(row for row in survey.rows("symmetries") if row["skipped"] is None),
    )


def _types(survey: BandingSurvey) -> list[Plate]:
    found = survey.types()
    return types_plates(found, shares_title=type_shares_title(survey, found), method=f"Seed {survey.seed}.")
