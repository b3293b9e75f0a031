"""The rows of a branching survey: the fields of the command line's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from weightatlas.branching.survey import BranchingSurvey
    from weightatlas.branching.surveying.units import LayerUnits

TUNED: Final = ("chroma", "orientation", "selectivity", "frequency", "phase", "dc_share", "gabor", "norm")

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "units": ("layer", "unit", "branch", "class", "class_score", *TUNED, "label", "label_score", "by", "skipped"),
    "branches": ("layer", "kind", "branch", "size", "units", "weight", "kernel", "bottleneck", "weights", "skipped"),
    "families": (
        "layer",
        "family",
        "branch",
        "k",
        "family_size",
        "branch_size",
        "layer_size",
        "p_value",
        "q_value",
        "binomial",
        "by",
        "chosen_after_looking",
        "skipped",
    ),
    "information": (
        "layer",
        "by",
        "information",
        "null_mean",
        "null_std",
        "excess",
        "p_value",
        "q_value",
        "branch_entropy",
        "units",
        "skipped",
    ),
    "implicit": (
        "layer",
        "next",
        "method",
        "axis",
        "singular_value",
        "share",
        "null_mean",
        "null_std",
        "p_value",
        "q_value",
        "chroma_rho",
        "chroma_p",
        "frequency_rho",
        "frequency_p",
        "units",
        "next_units",
        "skipped",
    ),
    "clusterability": (
        "layer",
        "clusters",
        "ncut",
        "null_mean",
        "null_std",
        "z_score",
        "p_value",
        "shuffles",
        "in_out_ratio",
        "units",
        "skipped",
    ),
    "onset": (
        "step",
        "layer",
        "by",
        "information",
        "null_mean",
        "null_std",
        "excess",
        "p_value",
        "q_value",
        "skipped",
    ),
}


def unit_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row a unit of every tuned layer, one row a layer that is not."""
    for layer in survey.layers:
        if layer.skipped is not None:
            yield {"layer": layer.layer, "skipped": layer.skipped}
            continue
        for unit in range(layer.units):
            yield _unit_row(layer, unit)


def _unit_row(layer: LayerUnits, unit: int) -> Row:
    row: Row = {"layer": layer.layer, "unit": unit, "branch": layer.names[unit] if layer.names else None}
    reason = None
    if layer.tuning is not None:
        tuning = layer.tuning
        reason = tuning.skipped.get(unit)
        row |= {name: plain(getattr(tuning, name)[unit]) for name in TUNED}
        row |= {"class_score": plain(tuning.class_score[unit]), "class": tuning.classes[unit], "by": layer.by}
    if layer.responses is not None:
        row |= {"label": layer.responses.labels[unit], "label_score": plain(layer.responses.scores[unit])}
    return row | {"skipped": reason}


def branch_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row a branch."""
    for branching in survey.branchings:
        for branch in branching.branches:
            yield {
                "layer": branching.layer,
                "kind": branching.kind,
                "branch": branch.name,
                "size": len(branch.units),
                "units": branching.units,
                "weight": branch.layer,
                "kernel": None if branch.kernel is None else list(branch.kernel),
                "bottleneck": branch.bottleneck,
                "weights": list(branch.layers),
            }
    if not survey.branchings:
        yield {"skipped": survey.no_branches}


def family_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row for each family and branch."""
    for found in survey.families:
        if found.specialization is None:
            yield {"layer": found.layer, "by": found.by, "skipped": found.skipped}
            continue
        if not found.specialization.pairs:
            yield {"layer": found.layer, "by": found.by, "skipped": "no families of it are named"}
        for pair in found.specialization.pairs:
            yield {
                "layer": found.layer,
                "family": pair.family,
                "branch": pair.branch,
                "k": pair.k,
                "family_size": pair.family_size,
                "branch_size": pair.branch_size,
                "layer_size": pair.layer_size,
                "p_value": plain(pair.p_value),
                "q_value": plain(pair.q_value),
                "binomial": plain(pair.binomial),
                "by": found.by,
                "chosen_after_looking": found.specialization.chosen_after_looking,
                "skipped": None if pair.family_size else "no unit of these branches is in this family",
            }
    if not survey.families:
        yield {"skipped": survey.no_families}


def information_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row for each layer with families and branches."""
    for found in survey.families:
        row: Row = {"layer": found.layer, "by": found.by, "skipped": found.skipped}
        if found.specialization is not None:
            names = ("information", "null_mean", "null_std", "excess", "p_value", "branch_entropy", "units")
            row |= {name: plain(getattr(found.specialization, name)) for name in names}
            row["q_value"] = plain(found.q_value)
        yield row
    if not survey.families:
        yield {"skipped": survey.no_families}


def implicit_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row for each axis of every two successive layers, one for each layer without a partner."""
    for pair in survey.pairs:
        row: Row = {"layer": pair.layer or None, "next": pair.next_layer, "skipped": pair.skipped}
        hidden = pair.hidden
        if hidden is None:
            yield row
            continue
        for axis in range(len(hidden.singular_values)):
            figures = {
                "method": hidden.method,
                "axis": axis + 1,
                "singular_value": hidden.singular_values[axis],
                "share": hidden.shares[axis],
                "null_mean": hidden.null_mean[axis],
                "null_std": hidden.null_std[axis],
                "p_value": hidden.p_values[axis],
                "q_value": pair.q_values[axis],
                "units": len(hidden.left),
                "next_units": len(hidden.right),
            }
            for name in ("chroma", "frequency"):
                if name in hidden.correlations:
                    found = hidden.correlations[name][axis]
                    figures |= {f"{name}_rho": found.rho, f"{name}_p": found.p_value}
            yield row | {name: plain(value) for name, value in figures.items()}
    if not survey.pairs:
        yield {"skipped": survey.no_pairs}


def clusterability_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row for the whole network."""
    found = survey.clusterability
    if found is None:
        yield {"layer": None, "skipped": survey.no_clusterability}
        return
    yield {
        "layer": None,
        "clusters": found.clusters,
        "shuffles": len(found.null),
        "units": len(found.labels),
        **{
            name: plain(getattr(found, name))
            for name in ("ncut", "null_mean", "null_std", "z_score", "p_value", "in_out_ratio")
        },
    }


def onset_rows(survey: BranchingSurvey) -> Iterator[Row]:
    """One row a step of a run."""
    for onset in survey.onsets:
        yield from onset.rows()
    if not survey.onsets:
        yield {"skipped": survey.no_onset}


ROWS: Final[Mapping[str, Callable[[BranchingSurvey], Iterator[Row]]]] = {
    "units": unit_rows,
    "branches": branch_rows,
    "families": family_rows,
    "information": information_rows,
    "implicit": implicit_rows,
    "clusterability": clusterability_rows,
    "onset": onset_rows,
}
