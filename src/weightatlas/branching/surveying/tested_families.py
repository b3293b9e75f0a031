"""Families of units in the branches of every layer that has both, tested together."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from weightatlas.branching.families import colour_families, families_from_tuning, frequency_families
from weightatlas.branching.gathering.family_features import common_kernels
from weightatlas.branching.specialization import Specialization, specialization
from weightatlas.branching.tuning import tuning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from weightatlas.anatomy.branches import Branch, Branching
    from weightatlas.branching.surveying.units import LayerUnits


@dataclass(frozen=True, slots=True, eq=False)
class Families:
    """Where the families of one layer gather.

    Attributes:
        layer: the layer whose units were sorted into families.
        by: where the families come from: "colour", "frequency", "class", or the name of what was given.
        specialization: what was found, or None.
        q_value: of the information, over the layers tested in this source.
        skipped: why nothing was tested, or None.
    """

    layer: str
    by: str
    specialization: Specialization | None = None
    q_value: float = float("nan")
    skipped: str | None = None


def given_families(
    families: Mapping[str, Mapping[str, Iterable[int]]],
    branchings: Sequence[Branching],
    *,
    by: str,
    chosen_after_looking: bool,
    seed: int,
) -> tuple[Families, ...]:
    """Test families that are given by layer; a layer without branches, or with units it does not have, says so."""
    by_name = {branching.layer: branching for branching in reversed(branchings)}
    found = []
    for layer, members in families.items():
        branching = by_name.get(layer)
        if branching is None:
            near = difflib.get_close_matches(layer, by_name, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.append(Families(layer, by, skipped=f"no branches of a layer of this name are known{hint}"))
            continue
        try:
            result = specialization(
                members, branching, layer=layer, chosen_after_looking=chosen_after_looking, seed=seed
            )
        except ValueError as error:
            found.append(Families(layer, by, skipped=str(error)))
        else:
            found.append(Families(layer, by, result))
    return _together(found)


def tuned_families(layers: Sequence[LayerUnits], branchings: Sequence[Branching], *, seed: int) -> tuple[Families, ...]:
    """Test colour, frequency and class in every branched layer whose units are tuned.

    Frequency and class are measured at one resolution: kernels of different sizes are cut to the smallest first, since
    a larger kernel would tell its branch by itself. The median that parts high from low frequency is that of the layer.
    """
    by_layer = {layer.layer: layer for layer in layers if layer.weights is not None and layer.tuning is not None}
    found = []
    for branching in branchings:
        parts = [(branch, by_layer[branch.layer]) for branch in branching.branches if branch.layer in by_layer]
        if not parts:
            continue
        for by, members in _families(parts).items():
            try:
                result = specialization(members, branching, layer=branching.layer, seed=seed)
            except ValueError as error:
                found.append(Families(branching.layer, by, skipped=str(error)))
            else:
                found.append(Families(branching.layer, by, result))
    return _together(found)


def _families(parts: Sequence[tuple[Branch, LayerUnits]]) -> dict[str, dict[str, npt.NDArray[np.int64]]]:
    """Families of the units of all branches, in the index of the joined layer."""
    places = np.concatenate([branch.units for branch, _ in parts])
    weights = [layer.weights[branch.rows] for branch, layer in parts if layer.weights is not None]
    chroma = np.concatenate([layer.tuning.chroma[branch.rows] for branch, layer in parts if layer.tuning is not None])
    at_one_size = tuning(common_kernels(weights))
    found = {
        "colour": colour_families(chroma),
        "frequency": frequency_families(at_one_size.frequency),
        "class": families_from_tuning(at_one_size, by="class"),
    }
    return {
        by: {name: places[units] for name, units in members.items() if len(units)}
        for by, members in found.items()
        if any(len(units) for units in members.values())
    }


def _together(found: Sequence[Families]) -> tuple[Families, ...]:
    """Correct the informations of a source over all that were tested."""
    p_values = [one.specialization.p_value for one in found if one.specialization is not None]
    known = [p for p in p_values if np.isfinite(p)]
    corrected = iter(false_discovery_control(known).tolist() if known else [])
    return tuple(
        replace(one, q_value=next(corrected))
        if one.specialization is not None and np.isfinite(one.specialization.p_value)
        else one
        for one in found
    )
