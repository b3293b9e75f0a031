"""Surveys to draw: one of a small planted network, and the same made deep, empty, or into a run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from tests.branching.planted_networks import Branched, Inception
from weightatlas.branching import survey
from weightatlas.branching.onset import Onset, OnsetStep
from weightatlas.branching.specialization import specialization
from weightatlas.branching.surveying.tested_families import Families

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.branching.survey import BranchingSurvey


@cache
def planted() -> BranchingSurvey:
    """Colour in one of two groups; everything was asked for."""
    return survey(Branched(), shuffles=19, with_clusterability=True, clusterability_shuffles=9)


@cache
def joined() -> BranchingSurvey:
    """Two paths of two kernel sizes that are joined; random weights."""
    return survey(Inception(), shuffles=9)


@cache
def unbranched(units: int = 6, side: int = 5) -> BranchingSurvey:
    """Layers that follow each other, their weights random."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(1)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, units, side), torch.nn.ReLU(), torch.nn.Conv2d(units, max(2, units), 3)
        )
    return survey(model, shuffles=19)


@cache
def grey() -> BranchingSurvey:
    """No layer reads an image."""
    return survey(torch.nn.Sequential(torch.nn.Linear(4, 3)), shuffles=9)


def wide(branches: int) -> BranchingSurvey:
    """One layer in many branches, with families of which one gathers."""
    units = 8 * branches
    found = specialization(
        {"curve": range(8), "line": range(8, units, 3)},
        {f"branch {place}": range(8 * place, 8 * place + 8) for place in range(branches)},
        layer="mixed",
    )
    return replace(grey(), families=(Families("mixed", "given", found, q_value=found.p_value),))


def deep(layers: int) -> BranchingSurvey:
    """As many pairs of layers, clusters in each, and branches."""
    whole = planted()
    pair = next(pair for pair in whole.pairs if pair.hidden is not None)
    clusters = whole.clusterability
    assert clusters is not None
    sizes = next(iter(clusters.sizes.values()))
    return replace(
        whole,
        pairs=tuple(replace(pair, layer=f"stage.{place}", next_layer=f"stage.{place + 1}") for place in range(layers)),
        clusterability=replace(clusters, sizes={f"stage.{place}": sizes for place in range(layers)}),
        branchings=tuple(replace(whole.branchings[0], layer=f"stage.{place}") for place in range(layers)),
    )


def run(steps: int = 12, *, begins: int | None = 5) -> BranchingSurvey:
    """A run whose branches specialise from one of its steps on; None is never."""
    course = tuple(
        OnsetStep(
            100 * step,
            information=0.05 + (0.6 if begins is not None and step >= begins else 0.0),
            null_mean=0.05,
            null_std=0.02,
            p_value=0.001 if begins is not None and step >= begins else 0.5,
            q_value=0.002 if begins is not None and step >= begins else 0.6,
        )
        for step in range(1, steps)
    )
    skipped = OnsetStep(0, skipped="the layer has no weight that is not zero")
    onset = Onset("conv1", "colour", (skipped, *course), "step", ("group 1", "group 2"), ("a note",), "run")
    return replace(planted(), onsets=(onset,))


def degenerate() -> BranchingSurvey:
    """A network whose graph falls into pieces by itself."""
    whole = planted()
    assert whole.clusterability is not None
    pieces = replace(whole.clusterability, ncut=0.0, null=whole.clusterability.null * 0)
    return replace(whole, clusterability=pieces)


def values_of(spec: Mapping[str, Any], part: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The data of a part of a specification, or of the whole, wherever Altair has put them."""
    data = (part or {}).get("data") or spec["data"]
    found: list[dict[str, Any]] = data["values"] if "values" in data else spec["datasets"][data["name"]]
    return found
