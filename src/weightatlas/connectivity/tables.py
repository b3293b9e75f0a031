"""The rows of a survey of connectivity: the fields of the command line's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.connectivity.pair import NO_DATA, UNASKED
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from weightatlas.connectivity.pair import Line, Pair
    from weightatlas.connectivity.survey import Connection

_OF_BARRIERS: Final = tuple(
    f"{what}_barrier{figure}" for what in ("loss", "error") for figure in ("", "_low", "_high", "_alpha", "_midpoint")
)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "path": (
        "alpha",
        "loss",
        "error",
        "aligned",
        "recalibrated",
        "pair",
        "loss_above",
        "error_above",
        "skipped",
    ),
    "layers": (
        "layer",
        "barrier",
        "predicted",
        "midpoint",
        "low",
        "high",
        "random",
        "random_high",
        "p_value",
        "q_value",
        "in_first",
        "in_second",
        "from_input",
        "from_output",
        "parameters",
        "pair",
        "skipped",
    ),
    "groups": ("group", "size", "axes", "pinned", "moved", "skipped"),
    "barriers": (
        "pair",
        "aligned",
        "recalibrated",
        *_OF_BARRIERS,
        "reference",
        "resolution",
        "examples",
        "similarity",
        "distance",
        "curvature_seen",
        "curvature_in_kinks",
        "seconds_evaluating",
        "seconds_recalibrating",
        "skipped",
    ),
}


def path_rows(found: Connection) -> Iterator[Row]:
    """A row a point of every line; one that says why, of a pair without lines."""
    for pair in found.pairs:
        if not pair.lines:
            yield {"pair": pair.name, "skipped": pair.skipped.get("path", NO_DATA)}
        for line in pair.lines:
            yield from _points(pair, line)


def _points(pair: Pair, line: Line) -> Iterator[Row]:
    seen = line.barrier
    above = {
        what: values - seen.reference_line(values) for what, values in (("loss", seen.losses), ("error", seen.errors))
    }
    for place, alpha in enumerate(seen.alphas):
        yield {
            "alpha": float(alpha),
            "loss": plain(seen.losses[place]),
            "error": plain(seen.errors[place]),
            "aligned": line.aligned,
            "recalibrated": line.recalibrated,
            "pair": pair.name,
            "loss_above": plain(above["loss"][place]),
            "error_above": plain(above["error"][place]),
        }


def layer_rows(found: Connection) -> Iterator[Row]:
    """A row a layer of every pair; q values over the layers of one pair."""
    for pair in found.pairs:
        if not pair.layers:
            yield {"pair": pair.name, "skipped": pair.skipped.get("layers", UNASKED)}
        for one, q_value in zip(pair.layers, pair.layer_q_values, strict=True):
            yield {
                "layer": one.layer,
                "barrier": plain(one.barrier),
                "predicted": plain(pair.predicted.get(one.layer)),
                "midpoint": plain(one.midpoint),
                "low": plain(one.low),
                "high": plain(one.high),
                "random": plain(one.random.mean()) if one.random.size else None,
                "random_high": plain(one.random.max()) if one.random.size else None,
                "p_value": plain(one.p_value),
                "q_value": plain(q_value),
                "in_first": plain(one.in_a),
                "in_second": plain(one.in_b),
                "from_input": plain(one.from_input),
                "from_output": plain(one.from_output),
                "parameters": list(one.parameters),
                "pair": pair.name,
            }


def group_rows(found: Connection) -> Iterator[Row]:
    """A row a group of units that may change places, then one a reason, with what it pins."""
    if found.symmetries is None:
        why = next((note for note in found.notes if note.startswith("not aligned")), UNASKED)
        yield {"skipped": why}
        return
    matching = next((pair.matching for pair in found.pairs if pair.matching is not None), None)
    permutations = {} if matching is None else matching.permutations
    moved = {name: float(np.mean(order != np.arange(len(order)))) for name, order in permutations.items()}
    for row in found.symmetries.rows():
        yield {**row, "moved": moved.get(row["group"])}


def barrier_rows(found: Connection) -> Iterator[Row]:
    """A row a line: how high its barrier is, how sure that is, what it cost."""
    for pair in found.pairs:
        if not pair.lines:
            yield {"pair": pair.name, "skipped": pair.skipped.get("path", NO_DATA), **_closeness(pair, aligned=True)}
        for line in pair.lines:
            yield {**_of_line(line), **_closeness(pair, aligned=line.aligned), "pair": pair.name} | _curved(pair, line)


def _of_line(line: Line) -> Row:
    seen = line.barrier
    row: Row = {
        "aligned": line.aligned,
        "recalibrated": line.recalibrated,
        "reference": seen.reference,
        "resolution": plain(seen.resolution),
        "examples": seen.examples,
        "seconds_evaluating": round(seen.seconds_evaluating, 3),
        "seconds_recalibrating": round(seen.seconds_recalibrating, 3),
    }
    for what, height in (("loss", seen.loss_barrier), ("error", seen.error_barrier)):
        row |= {
            f"{what}_barrier": plain(height.height),
            f"{what}_barrier_low": plain(height.low),
            f"{what}_barrier_high": plain(height.high),
            f"{what}_barrier_alpha": plain(height.alpha),
            f"{what}_barrier_midpoint": plain(height.midpoint),
        }
    return row


def _closeness(pair: Pair, *, aligned: bool) -> Row:
    if pair.matching is None:
        return {}
    found = pair.matching
    return {
        "similarity": plain(found.similarity if aligned else found.similarity_before),
        "distance": plain(found.distance if aligned else found.distance_before),
    }


def _curved(pair: Pair, line: Line) -> Row:
    if pair.curvature is None or line is not pair.best:
        return {}
    place = int(abs(pair.curvature.alphas - 0.5).argmin())
    return {
        "curvature_seen": plain(pair.curvature.seen[place]),
        "curvature_in_kinks": plain(pair.curvature.in_kinks[place]),
    }


ROWS: Final[Mapping[str, Callable[[Connection], Iterator[Row]]]] = {
    "path": path_rows,
    "layers": layer_rows,
    "groups": group_rows,
    "barriers": barrier_rows,
}
