"""What units prefer: each family of stimuli against its controls, beside units whose weights are shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

Array = np.ndarray
Label = Literal["colour", "black-and-white", "curve", "high-low frequency", "other"]
LABELS: Final[tuple[Label, ...]] = get_args(Label)

CHANCE: Final = 0.05
"""A unit gets a label by chance, any of the four, with no more than this probability."""


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """The label of each unit, and what it rests on.

    Attributes:
        labels: of each unit.
        scores: of the label; NaN for "other".
        margins: by how much it beats the next best label's score; NaN for "other".
        family_scores: of all four labels, in the order of `LABELS`.
        p_values: chance that a unit with shuffled weights scores as high.
    """

    labels: tuple[Label, ...]
    scores: Float64[Array, " units"]
    margins: Float64[Array, " units"]
    family_scores: Float64[Array, "units 4"]
    p_values: Float64[Array, "units 4"]


def family_scores(
    responses: Float64[Array, "units stimuli"], families: tuple[tuple[Int64[Array, " a"], Int64[Array, " b"]], ...]
) -> Float64[Array, "units families"]:
    r"""How much better the best of a family is than the best of its controls, in the unit's own spread.

    \(s_f = (\max_{i \in f} r_i - \max_{i \in c(f)} r_i) / \text{sd}_i\, r_i\), the standard deviation over all
    stimuli. NaN where a unit answers all alike, or where a family is empty.
    """
    spreads = responses.std(axis=1)
    still = spreads <= 1e-6 * np.abs(responses).max(axis=1, initial=0.0)
    columns = [
        responses[:, family].max(axis=1) - responses[:, controls].max(axis=1)
        if len(family) and len(controls)
        else np.full(len(responses), np.nan)
        for family, controls in families
    ]
    scores: Array = np.stack(columns, axis=1) / np.where(still, np.nan, spreads)[:, None]
    return scores


def preferences(scores: Float64[Array, "units 4"], null: Float64[Array, "shuffled 4"]) -> Preferences:
    """Label each unit with what it scores highest in, among what shuffled units score less in.

    A label needs a positive score and, in that family, a p-value (1 + hits) / (1 + shuffled) of a quarter of `CHANCE`
    at most: Bonferroni over the four. Shuffled units are those of the whole layer.
    """
    p_values = np.full(scores.shape, np.nan)
    for family in range(scores.shape[1]):
        known = np.sort(null[~np.isnan(null[:, family]), family])
        hits = len(known) - np.searchsorted(known, scores[:, family], side="left")
        p_values[:, family] = np.where(np.isnan(scores[:, family]), np.nan, (1 + hits) / (1 + len(known)))
    admitted = (scores > 0.0) & (p_values <= CHANCE / scores.shape[1])
    ranked = np.where(admitted, scores, -np.inf)
    best = ranked.argmax(axis=1)
    named = admitted.any(axis=1)
    rest = np.where(np.isnan(scores), -np.inf, scores)
    rest[np.arange(len(rest)), best] = -np.inf
    top = np.where(named, scores[np.arange(len(scores)), best], np.nan)
    return Preferences(
        labels=tuple(LABELS[place] if known else "other" for place, known in zip(best.tolist(), named, strict=True)),
        scores=top,
        margins=np.where(named, top - rest.max(axis=1), np.nan),
        family_scores=scores,
        p_values=p_values,
    )
