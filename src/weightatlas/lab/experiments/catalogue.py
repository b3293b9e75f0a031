"""All experiments by name and preset, whole or in part."""

from __future__ import annotations

import difflib
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from weightatlas.errors import SourceError
from weightatlas.lab.experiments import (
    branch_specialization,
    degeneracy,
    micro_batch,
    mode_connectivity,
    weight_banding,
    weight_change,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from weightatlas.lab.experiments.experiment import Experiment, Variant

EXPERIMENTS: Final[Mapping[str, Mapping[str, Callable[..., Experiment]]]] = MappingProxyType(
    {
        weight_banding.NAME: weight_banding.PRESETS,
        weight_change.NAME: weight_change.PRESETS,
        branch_specialization.NAME: branch_specialization.PRESETS,
        micro_batch.NAME: micro_batch.PRESETS,
        mode_connectivity.NAME: mode_connectivity.PRESETS,
        degeneracy.NAME: degeneracy.PRESETS,
    }
)
"""Presets by experiment; the first preset is the default."""


def open_experiment(
    name: str,
    *,
    preset: str | None = None,
    data: str | None = None,
    seeds: Sequence[int] | None = None,
    variants: Sequence[str] | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
) -> Experiment:
    """Open an experiment by name.

    Args:
        name: "weight-banding", "weight-change", "branch-specialization", "micro-batch", "mode-connectivity" or
            "degeneracy".
        preset: its scale; None is the first it has.
        data: what it trains on, where the preset does not bring its own.
        seeds: instead of the preset's.
        variants: names of those to run; what they are compared with is run too. None is all.
        steps: updates of every run instead of the preset's length: a dry run.
        batch_size: examples an update sees instead of the preset's number, from the first epoch to the last.
        limit: train and score on the first so many examples of each split.

    Raises:
        SourceError: there is no such experiment, preset or variant, or the preset needs data.
        ValueError: `steps` or `batch_size` is below 1.

    Example:
        >>> experiment = open_experiment("weight-banding", variants=["no-pooling"], steps=2)
        >>> [variant.name for variant in experiment.variants], experiment.seeds
        (['baseline', 'no-pooling'], (1, 2, 3))
    """
    presets = EXPERIMENTS[_known(name, EXPERIMENTS, "experiment", name)]
    chosen = next(iter(presets)) if preset is None else _known(preset, presets, "preset", name)
    more = {} if seeds is None else {"seeds": tuple(seeds)}
    try:
        experiment = presets[chosen](data, **more)
    except ValueError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(name, str(error), "give seeds that differ") from error
    if variants is not None:
        experiment = replace(experiment, variants=_chosen(experiment, variants))
    changes: dict[str, Any] = {} if steps is None else {"steps": steps, "epochs": None, "batch_schedule": ()}
    if batch_size is not None:
        changes |= {"batch_size": batch_size, "batch_schedule": ()}
    return replace(experiment, variants=tuple(_changed(one, changes, limit) for one in experiment.variants))


def _chosen(experiment: Experiment, names: Sequence[str]) -> tuple[Variant, ...]:
    """The variants named, their partners, those that they are compared with, and so on, in the experiment's order."""
    by_name = {variant.name: variant for variant in experiment.variants}
    wanted: set[str] = set()
    for name in names:
        left = [_known(name, by_name, "variant", experiment.source)]
        while left:
            variant = by_name[left.pop()]
            if variant.name not in wanted:
                wanted.add(variant.name)
                of_claims = (one for claim in variant.claims for one in (claim.against, claim.gain_of))
                others = (variant.against, variant.partner, *of_claims)
                left += [one for one in others if one is not None]
    return tuple(variant for variant in experiment.variants if variant.name in wanted)


def _changed(variant: Variant, changes: Mapping[str, Any], limit: int | None) -> Variant:
    """A variant with parts of its recipe replaced, on the first examples of its data.

    A fork stays at its share of the run.
    """
    configuration = variant.configuration
    data, held_out = configuration.data, configuration.held_out
    if limit is not None:
        data = _limited(data, limit)
        held_out = None if held_out is None else _limited(held_out, limit)
    recipe = replace(configuration.recipe, **changes)
    fork, length = configuration.fork, configuration.recipe.steps
    if fork is not None and fork.step is not None and length is not None and recipe.steps is not None:
        fork = replace(fork, step=fork.step * recipe.steps // length)
    changed = replace(configuration, data=data, held_out=held_out, recipe=recipe, fork=fork)
    return replace(variant, configuration=changed)


def _limited(data: str, limit: int) -> str:
    """The name of data, of which the first so many examples of each split are taken, or fewer if it says so."""
    name, _, query = data.partition("?")
    options = [option for option in query.split("&") if option]
    own = [option.removeprefix("limit=") for option in options if option.startswith("limit=")]
    fewest = min([limit, *(int(text) for text in own if text.isdigit())])
    kept = [option for option in options if not option.startswith("limit=")]
    return f"{name}?{'&'.join([*kept, f'limit={fewest}'])}"


def _known(name: str, among: Mapping[str, object], what: str, source: str) -> str:
    if name in among:
        return name
    near = difflib.get_close_matches(name, among, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"there is {', '.join(among)}"
    raise SourceError(source, f"there is no {what} {name[:80]!r}", remedy)
