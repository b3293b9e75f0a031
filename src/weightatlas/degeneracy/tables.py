"""The rows of a survey of degeneracy: the fields of the command line's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.degeneracy.counts import LIMITED
from weightatlas.result import Row, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from weightatlas.degeneracy.ablation import EdgeAblation, NodeAblation
    from weightatlas.degeneracy.counts import Counts, LayerCounts
    from weightatlas.degeneracy.spectra import Spectrum
    from weightatlas.degeneracy.structure import Structure
    from weightatlas.degeneracy.survey import Degeneracy

SOURCES: Final = (
    *("activations", "gradients", "synchronised", "rescalings", "conditional", "heads", "linear", "norms"),
    *("union", "exact"),
)
"""What frees a direction; `rescalings` are counted among `synchronised`, `union` is the rank of all together."""

UNEXPLAINED: Final = "unexplained"
"""The source of the row that says how many free directions of a network none of the others names."""

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "counts": (
        "layer",
        "source",
        "directions",
        "data_limited",
        "parameters",
        "share",
        "estimated",
        "low",
        "high",
        "examples",
        "limit",
        "skipped",
    ),
    "layers": (
        "layer",
        "parameters",
        *(
            f"{side}_{figure}"
            for side in ("activation", "gradient")
            for figure in ("width", "rank", "effective_rank", "participation_ratio")
        ),
        "free",
        "share",
        "skipped",
    ),
    "curve": ("examples", "rank", "nullity", "limit", "parameters", "data_limited", "skipped"),
    "edges": ("layer", "target", "direction", "target_direction", "strength", "share", "kept", "skipped"),
    "modules": ("layer", "direction", "module", "importance", "interaction", "skipped"),
    "ablations": ("layer", "target", "removed", "basis", "needed", "total", "base", "reached", "drop", "skipped"),
    "chains": (
        "chain",
        "estimate",
        "nbeta",
        "localization",
        "prior_sensitivity",
        "prior_sensitivity_error",
        "initial_loss",
        "draws",
        "burn_in",
        "effective_draws",
        "flags",
        "skipped",
    ),
}

NONE_OF_IT: Final = "the network has nothing that it could be counted in, no claim of it held, or it was not asked for"
UNKNOWN: Final = "the exact number of free directions is not known"


def count_rows(survey: Degeneracy) -> Iterator[Row]:
    """The whole network, a row a source; then every layer."""
    found = survey.counts
    if found is None:
        yield {"skipped": survey.missing["counts"]}
        return
    yield from _network_rows(found)
    for layer in found.layers:
        yield from _layer_count_rows(found, layer)


def _network_rows(found: Counts) -> Iterator[Row]:
    base: Row = {
        "layer": None,
        "parameters": found.parameters,
        "data_limited": found.data_limited,
        "examples": found.examples,
        "limit": found.limit,
    }
    for source in SOURCES:
        directions = getattr(found, source)
        row = base | {"source": source, "directions": directions, "share": _share(directions, found.parameters)}
        if source == "exact":
            row |= {"estimated": found.exact_kind == "estimate", "low": found.exact_low, "high": found.exact_high}
            row["skipped"] = None if directions is not None else found.exact_kind
        elif directions is None:
            row["skipped"] = NONE_OF_IT
        yield row
    gap: Row = base | {"source": UNEXPLAINED, "directions": found.gap, "share": _share(found.gap, found.parameters)}
    yield gap | {"skipped": None if found.gap is not None else UNKNOWN}


def _layer_count_rows(found: Counts, layer: LayerCounts) -> Iterator[Row]:
    base: Row = {"layer": layer.layer, "parameters": layer.parameters, "examples": found.examples}
    base |= {"limit": found.limit}
    if layer.skipped is not None:
        yield base | {"skipped": layer.skipped}
        return
    for source in SOURCES:
        directions = getattr(layer, source)
        if directions is not None:
            share = _share(directions, layer.parameters)
            limited = found.data_limited if source != "exact" else _limited(layer, found)
            yield base | {"source": source, "directions": directions, "share": share, "data_limited": limited}


def _limited(layer: LayerCounts, found: Counts) -> bool:
    """Whether something is free, and the Jacobian of the layer's weights has hardly a dependent row."""
    return bool(layer.exact) and layer.parameters - (layer.exact or 0) > LIMITED * found.limit


def layer_rows(survey: Degeneracy) -> Iterator[Row]:
    """One row a layer: the spectra of its activations and gradients."""
    if survey.counts is None:
        yield {"skipped": survey.missing["counts"]}
        return
    for layer in survey.counts.layers:
        row: Row = {"layer": layer.layer, "parameters": layer.parameters, "skipped": layer.skipped}
        for side, spectrum in (("activation", layer.activation_spectrum), ("gradient", layer.gradient_spectrum)):
            if spectrum is not None:
                row |= _spectrum_fields(side, spectrum, survey.tolerance)
        if layer.skipped is None:
            row |= {"free": layer.union, "share": _share(layer.union, layer.parameters)}
        yield row


def _spectrum_fields(side: str, spectrum: Spectrum, tolerance: float) -> Row:
    return {
        f"{side}_width": int(np.size(spectrum.singular_values)),
        f"{side}_rank": int(spectrum.rank(tolerance)),
        f"{side}_effective_rank": plain(spectrum.effective_rank),
        f"{side}_participation_ratio": plain(spectrum.participation_ratio),
    }


def curve_rows(survey: Degeneracy) -> Iterator[Row]:
    """One row a number of examples: the rank of the stacked Jacobian."""
    found = survey.counts
    curve = None if found is None else found.curve
    if found is None or curve is None:
        yield {"skipped": survey.missing["counts"] if found is None else "the rank over examples was not measured"}
        return
    for examples, rank, nullity, limit in zip(curve.examples, curve.ranks, curve.nullities, curve.limits, strict=True):
        yield {
            "examples": plain(examples),
            "rank": plain(rank),
            "nullity": plain(nullity),
            "limit": plain(limit),
            "parameters": found.parameters,
            "data_limited": bool(nullity > 0 and rank > LIMITED * limit),
        }


def edge_rows(survey: Degeneracy) -> Iterator[Row]:
    """One row an edge: how strongly a direction of one point acts on a direction of the next."""
    found = survey.structure
    if found is None:
        yield {"skipped": survey.missing["structure"]}
        return
    masks = {(one.source, one.target): one.mask for one in found.edges}
    for layer in found.interactions.edges:
        strengths = np.asarray(layer.strengths)
        total = float(strengths[1:, 1:].sum())
        mask = masks.get((layer.source, layer.target))
        for ours in range(1, strengths.shape[1]):
            for theirs in range(1, strengths.shape[0]):
                strength = float(strengths[theirs, ours])
                yield {
                    "layer": layer.source,
                    "target": layer.target,
                    "direction": ours,
                    "target_direction": theirs,
                    "strength": plain(strength),
                    "share": plain(strength / total) if total > 0 else None,
                    "kept": None if mask is None else bool(mask[theirs, ours]),
                }


def module_rows(survey: Degeneracy) -> Iterator[Row]:
    """One row a basis direction of every point."""
    found = survey.structure
    if found is None:
        yield {"skipped": survey.missing["structure"]}
        return
    labels = dict(zip(found.modules.nodes, found.modules.labels, strict=True))
    interaction = _interaction(found)
    for point in found.basis.points:
        for direction in range(1, len(point.importances)):
            label = labels.get((point.point, direction))
            yield {
                "layer": point.point,
                "direction": direction,
                "module": None if label is None else int(label),
                "importance": plain(float(point.importances[direction])),
                "interaction": plain(interaction.get((point.point, direction))),
            }


def _interaction(found: Structure) -> dict[tuple[str, int], float]:
    """The strengths of all edges that a direction has, constants left out."""
    sums: dict[tuple[str, int], float] = {}
    for layer in found.interactions.edges:
        strengths = np.asarray(layer.strengths)[1:, 1:]
        for point, axis in ((layer.source, 0), (layer.target, 1)):
            for place, value in enumerate(strengths.sum(axis), start=1):
                sums[point, place] = sums.get((point, place), 0.0) + float(value)
    return sums


def ablation_rows(survey: Degeneracy) -> Iterator[Row]:
    """One row a pair of points, kind of ablation and basis: how much may be left out."""
    found = survey.structure
    if found is None or found.unablated is not None:
        yield {"skipped": survey.missing["structure"] if found is None else found.unablated}
        return
    for basis, edges, nodes in (
        ("interaction", found.edges, found.nodes),
        ("pca", found.baseline_edges, found.baseline_nodes),
    ):
        for edge in edges:
            yield {"layer": edge.source, "target": edge.target, **_ablation_fields("edges", basis, edge, survey.drop)}
        for node in nodes:
            yield {"layer": node.point, "target": None, **_ablation_fields("nodes", basis, node, survey.drop)}


def _ablation_fields(removed: str, basis: str, found: EdgeAblation | NodeAblation, drop: float) -> Row:
    reached = {int(kept): float(value) for kept, value in found.curve.tolist()}
    return {
        "removed": removed,
        "basis": basis,
        "needed": found.needed,
        "total": found.total,
        "base": plain(found.base),
        "reached": plain(reached.get(found.needed)) if found.needed is not None else None,
        "drop": drop,
    }


def chain_rows(survey: Degeneracy) -> Iterator[Row]:
    """One row a chain of the sampler, after one (chain null) for all of them."""
    found = survey.coefficient
    if found is None:
        yield {"skipped": survey.missing["coefficient"]}
        return
    base: Row = {
        "nbeta": plain(found.nbeta),
        "localization": plain(found.localization),
        "initial_loss": plain(found.initial_loss),
        "draws": int(np.shape(found.traces)[1]),
        "burn_in": found.burn_in,
    }
    yield base | {
        "chain": None,
        "estimate": plain(found.estimate),
        "prior_sensitivity": plain(found.prior_sensitivity),
        "prior_sensitivity_error": plain(found.prior_sensitivity_error),
        "effective_draws": plain(found.effective_draws),
        "flags": list(found.flags),
    }
    for number, estimate in enumerate(found.chains, start=1):
        yield base | {"chain": number, "estimate": plain(float(estimate))}


def _share(directions: int | None, parameters: int) -> float | None:
    return None if directions is None or not parameters else directions / parameters


ROWS: Final[Mapping[str, Callable[[Degeneracy], Iterator[Row]]]] = {
    "counts": count_rows,
    "layers": layer_rows,
    "curve": curve_rows,
    "edges": edge_rows,
    "modules": module_rows,
    "ablations": ablation_rows,
    "chains": chain_rows,
}
