"""What units prefer: each family of stimuli against its controls, beside units whose weights are shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from jaxtyping import Float64

Array = np.ndarray
Label = Literal["colour", "black-and-white", "curve", "high-low frequency", "other"]
LABELS: Final[tuple[Label, ...]] = get_args(Label)

CHANCE: Final = 0.05
"""A unit gets a label by chance, any of the four, with no more than this probability."""

_SHAPES: Final = 2  # from this label on they name a shape


@dataclass(frozen=True, slots=True, eq=False)
class Preferences:
    """The label of each unit, and what it rests on.

    Attributes:
        labels: of each unit.
        scores: of the label: how many standard deviations of shuffled units it lies above their mean; NaN for "other".
        margins: the score less the highest of the other three; negative where a shape is named before a stronger
            preference for grey or for colour; NaN for "other".
        family_scores: of all four labels, in the order of `LABELS`.
        leads: the preferences themselves, in the same order, as `leads` gives them.
        p_values: chance that a unit with shuffled weights has as large a lead.
    """

    labels: tuple[Label, ...]
    scores: Float64[Array, " units"]
    margins: Float64[Array, " units"]
    family_scores: Float64[Array, "units 4"]
    leads: Float64[Array, "units 4"]
    p_values: Float64[Array, "units 4"]


def energy_lead(
    family: Float64[Array, "units stimuli"], controls: Float64[Array, "units others"]
) -> Float64[Array, " units"]:
    r"""Which of two families a unit answers with more energy: \((E_f - E_c) / (E_f + E_c)\), -1 to 1.

    E is the mean of squared answers above zero. NaN where a unit answers neither.
    """
    first, second = ((np.maximum(answers, 0.0) ** 2).mean(axis=1) for answers in (family, controls))
    both = first + second
    lead: Array = (first - second) / np.where(both > 0.0, both, np.nan)
    return lead


def peak_lead(
    family: Float64[Array, "units stimuli"],
    controls: Float64[Array, "units others"],
    spreads: Float64[Array, " units"],
) -> Float64[Array, " units"]:
    r"""How much better the best of a family is than that of its controls, \((\max r_f - \max r_c) / \text{sd}\, r\).

    `spreads` are the standard deviations of the units' answers to everything shown. NaN where one is 0.
    """
    lead: Array = (family.max(axis=1) - controls.max(axis=1)) / np.where(spreads > 0.0, spreads, np.nan)
    return lead


def leads(answers: dict[str, Float64[Array, "units _"]], *, colour: bool) -> Float64[Array, "units 4"]:
    """The four preferences of each unit, in the order of `LABELS`.

    Colour against grey is asked of the energy of all answers: a unit that sees no colour answers no colour. Curves and
    boundaries are asked of the best answer: a curve detector answers corners and lines too, only less.

    Args:
        answers: "gratings", "coloured", "grey", "arcs", "corners", "boundaries" and "textures".
        colour: whether the network sees colour; else the first two are NaN.
    """
    every = np.concatenate(list(answers.values()), axis=1)
    spreads = every.std(axis=1)
    spreads[spreads <= 1e-6 * np.abs(every).max(axis=1)] = 0.0  # rounding is no answer
    to_colour = energy_lead(answers["coloured"], answers["grey"]) if colour else np.full(len(every), np.nan)
    found = np.stack(
        [
            to_colour,
            -to_colour,
            peak_lead(answers["arcs"], answers["corners"], spreads),
            peak_lead(answers["boundaries"], answers["textures"], spreads),
        ],
        axis=1,
    )
    found[spreads == 0.0] = np.nan
    return found


def preferences(own: Float64[Array, "units 4"], shuffled: Float64[Array, "shuffled 4"]) -> Preferences:
    """Label each unit, given its leads and those of units with shuffled weights.

    A lead is admitted if it is positive and its p-value, (1 + hits) / (1 + shuffled), is a quarter of `CHANCE` at most:
    Bonferroni over the four. A unit is labelled with the admitted shape (curve, high-low frequency) of the higher
    score, else with colour or black-and-white, else "other": a curve detector is black-and-white besides, and the more
    specific name says more.
    """
    p_values = np.full(own.shape, np.nan)
    scores = np.full(own.shape, np.nan)
    for family in range(own.shape[1]):
        known = np.sort(shuffled[~np.isnan(shuffled[:, family]), family])
        asked = ~np.isnan(own[:, family])
        hits = len(known) - np.searchsorted(known, own[asked, family], side="left")
        p_values[asked, family] = (1 + hits) / (1 + len(known))
        if len(known) > 1 and known.std() > 0.0:
            scores[asked, family] = (own[asked, family] - known.mean()) / known.std()
    admitted = (own > 0.0) & (p_values <= CHANCE / own.shape[1])
    shape = np.arange(own.shape[1]) >= _SHAPES
    # Scores are compared within what is admitted; a shape stands before all else.
    ranks = np.where(admitted, np.arctan(np.nan_to_num(scores)) + np.where(shape, 10.0, 0.0), -np.inf)
    best, named = ranks.argmax(axis=1), admitted.any(axis=1)
    rest = np.where(np.isnan(scores), -np.inf, scores)
    rest[np.arange(len(rest)), best] = -np.inf
    top = np.where(named, scores[np.arange(len(scores)), best], np.nan)
    return Preferences(
        labels=tuple(LABELS[place] if known else "other" for place, known in zip(best.tolist(), named, strict=True)),
        scores=top,
        margins=np.where(named, top - rest.max(axis=1), np.nan),
        family_scores=scores,
        leads=own,
        p_values=p_values,
    )
