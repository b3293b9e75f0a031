"""The rows of a banding survey: the fields of the command line's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.banding.score import NO_VARIANCE
from weightatlas.banding.symmetries import is_broken
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from weightatlas.banding.layer import LayerBanding
    from weightatlas.banding.survey import BandingSurvey

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "layers": (
        "layer",
        "tensor",
        "shape",
        "score",
        "null_mean",
        "null_std",
        "p_value",
        "p_units",
        "p_inputs",
        "q_value",
        "direction",
        "banded",
        "row_share",
        "column_share",
        "slide_score",
        "slide_banded",
        "banded_units",
        "banded_units_null",
        "units",
        "skipped",
    ),
    "units": (
        "layer",
        "unit",
        "score",
        "row_share",
        "column_share",
        "slide_score",
        "banded",
        "norm",
        "skipped",
    ),
    "symmetries": (
        "layer",
        "symmetry",
        "score",
        "null_mean",
        "null_std",
        "p_value",
        "q_value",
        "broken",
        "kernel_symmetry",
        "mean_kernel_symmetry",
        "units",
        "skipped",
    ),
    "types": ("layer", "kernel", "type", "type_score", "share", "units", "skipped"),
    "profiles": ("layer", "axis", "position", "share", "uniform", "feature_map", "skipped"),
}


def layers_rows(survey: BandingSurvey) -> Iterator[Row]:
    """One row a weight."""
    for banding in survey.layers:
        row: Row = {"layer": banding.layer, "tensor": banding.tensor, "shape": list(banding.shape)}
        score = banding.score
        if score is not None:
            has_slides = banding.slide_scores is not None
            row |= {
                "score": score.score,
                "null_mean": score.null_mean,
                "null_std": score.null_std,
                "p_value": score.p_value,
                "p_units": score.p_units,
                "p_inputs": score.p_inputs,
                "q_value": banding.q_value,
                "direction": banding.direction,
                "banded": banding.banded,
                "row_share": score.row_share,
                "column_share": score.column_share,
                "slide_score": plain(banding.slide_score),
                "slide_banded": banding.slide_banded if has_slides else None,
                "banded_units": int(banding.banded_slides.sum()) if has_slides else None,
                "banded_units_null": plain(banding.random_share),
                "units": score.units,
            }
        yield row | {"skipped": banding.skipped}


def units_rows(survey: BandingSurvey) -> Iterator[Row]:
    """One row a unit of every scored layer, one row a skipped layer."""
    for banding in survey.layers:
        score = banding.score
        if score is None or banding.norms is None:
            yield {"layer": banding.layer, "skipped": banding.skipped}
            continue
        slide_scores = banding.slide_scores
        banded = banding.banded_slides
        for unit in range(score.units):
            if not np.isfinite(score.unit_scores[unit]):
                yield {"layer": banding.layer, "unit": unit, "skipped": NO_VARIANCE}
                continue
            yield {
                "layer": banding.layer,
                "unit": unit,
                "score": plain(score.unit_scores[unit]),
                "row_share": plain(score.row_shares[unit]),
                "column_share": plain(score.column_shares[unit]),
                "slide_score": None if slide_scores is None else plain(slide_scores[unit]),
                "banded": None if slide_scores is None else bool(banded[unit]),
                "norm": plain(banding.norms[unit]),
                "skipped": None,
            }


def symmetries_rows(survey: BandingSurvey) -> Iterator[Row]:
    """Three rows a scored layer, one row a skipped one."""
    for banding in survey.layers:
        if banding.score is None:
            yield {"layer": banding.layer, "skipped": banding.skipped}
            continue
        for test, q_value in zip(banding.symmetries, banding.symmetry_q_values, strict=True):
            yield {
                "layer": banding.layer,
                "symmetry": test.symmetry,
                "score": test.score,
                "null_mean": 0.0,
                "null_std": test.null_std,
                "p_value": test.p_value,
                "q_value": q_value,
                "broken": is_broken(test.score, q_value),
                "kernel_symmetry": plain(banding.kernel_symmetry),
                "mean_kernel_symmetry": plain(banding.mean_kernel_symmetry),
                "units": banding.score.units,
                "skipped": None,
            }


def types_rows(survey: BandingSurvey) -> Iterator[Row]:
    """One row for each layer and type of its kernel size, one row a skipped layer."""
    drawn = any(banding.slides is not None for banding in survey.scored)
    found = survey.types() if drawn else None
    for banding in survey.layers:
        if found is None or banding.slides is None:
            yield {"layer": banding.layer, "skipped": banding.skipped or _no_slides(banding)}
            continue
        yield from found.rows_of(banding.layer)


def profiles_rows(survey: BandingSurvey) -> Iterator[Row]:
    """One row for each row and each column of every scored layer: its share of the squared weights."""
    for banding in survey.layers:
        score = banding.score
        if score is None:
            yield {"layer": banding.layer, "skipped": banding.skipped}
            continue
        for axis, profile in (("y", score.row_profile), ("x", score.column_profile)):
            for position, share in enumerate(profile.tolist()):
                yield {
                    "layer": banding.layer,
                    "axis": axis,
                    "position": position,
                    "share": share,
                    "uniform": 1 / len(profile),
                    "feature_map": banding.reads_map,
                    "skipped": None,
                }


def _no_slides(banding: LayerBanding) -> str:
    return f"the slides of {banding.layer} were not asked for"


ROWS: Final[Mapping[str, Callable[[BandingSurvey], Iterator[Row]]]] = {
    "layers": layers_rows,
    "units": units_rows,
    "symmetries": symmetries_rows,
    "types": types_rows,
    "profiles": profiles_rows,
}
