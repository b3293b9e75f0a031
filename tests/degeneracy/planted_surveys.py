"""Surveys of degeneracy put together by hand, whose figures are known."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.degeneracy.planted_graphs import interactions_of, planted_blocks
from tests.degeneracy.sampling.potentials import NOTHING, Potential, itself
from weightatlas import palette
from weightatlas.atlas.colours import DARK
from weightatlas.degeneracy import Degeneracy
from weightatlas.degeneracy.ablation import EdgeAblation, NodeAblation
from weightatlas.degeneracy.counts import EVERY, Counts, LayerCounts
from weightatlas.degeneracy.jacobian import RankCurve
from weightatlas.degeneracy.learning_coefficient import LearningCoefficient, learning_coefficient
from weightatlas.degeneracy.modules import modules
from weightatlas.degeneracy.spectra import Spectrum
from weightatlas.degeneracy.structure import Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

FIRST = LayerCounts(
    "net.first",
    60,
    activations=12,
    gradients=6,
    synchronised=9,
    rescalings=4,
    conditional=18,
    union=24,
    exact=30,
    activation_spectrum=Spectrum.of([4.0, 2.0, 1e-12, 0.0]),
    gradient_spectrum=Spectrum.of([1.0, 0.5]),
)
SECOND = LayerCounts(
    "net.second",
    40,
    activations=0,
    gradients=0,
    conditional=4,
    union=4,
    exact=4,
    activation_spectrum=Spectrum.of([1.0, 0.25]),
)
LOST = LayerCounts("net.lost", 7, skipped="it is used twice")


def curve_of(ranks: Sequence[int], examples: Sequence[int], *, parameters: int, outputs: int) -> RankCurve:
    known = np.array(ranks, dtype=np.int64)
    many = np.array(examples, dtype=np.int64)
    return RankCurve(many, known, parameters - known, many * outputs)


def planted_counts(*layers: LayerCounts, **changes: Any) -> Counts:  # noqa: ANN401 - of any figure
    """100 weights, 50 of which are free, 40 of them explained; 40 examples of 3 outputs."""
    figures: dict[str, Any] = {
        "parameters": 100,
        "examples": 40,
        "outputs": 3,
        "activations": 12,
        "gradients": 6,
        "synchronised": 9,
        "rescalings": 4,
        "conditional": 22,
        "heads": None,
        "linear": None,
        "norms": None,
        "union": 40,
        "union_kind": EVERY,
        "exact": 50,
        "exact_kind": "exact",
        "exact_low": 50,
        "exact_high": 50,
        "rank": 50,
        "data_limited": False,
        "curve": curve_of([3, 6, 12, 24, 44, 50], [1, 2, 4, 8, 16, 40], parameters=100, outputs=3),
        "checked": 61,
        "largest_change": 3e-16,
        "tolerance": 1e-9,
        "synchrony": (),
        "notes": (),
    }
    return Counts(layers=layers or (FIRST, SECOND, LOST), **figures | changes)


def unknown(why: str = "it was not asked for", **changes: Any) -> Counts:  # noqa: ANN401 - of any figure
    """The same without the exact number."""
    figures: dict[str, Any] = {"exact": None, "exact_kind": why, "exact_low": 40, "exact_high": 100, "rank": None}
    return planted_counts(**figures | {"curve": None} | changes)


def edge_ablation_of(source: str, target: str, curve: Sequence[tuple[int, float]], needed: int | None) -> EdgeAblation:
    return EdgeAblation(
        source=source,
        target=target,
        needed=needed,
        total=curve[-1][0],
        curve=np.array(curve, dtype=np.float64),
        mask=np.ones((2, 2), dtype=np.bool_),
        floor=1.0,
        base=curve[-1][1],
        metric="accuracy",
        drop=0.001,
    )


def _strongest(strengths: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.bool_]:
    """So many of the strongest edges, and those from the constant."""
    mask = np.zeros(strengths.shape, dtype=np.bool_)
    inner = np.zeros(strengths[1:, 1:].size, dtype=np.bool_)
    inner[np.argsort(-strengths[1:, 1:], axis=None)[:count]] = True
    mask[1:, 1:] = inner.reshape(strengths[1:, 1:].shape)
    mask[1:, 0] = True
    return mask


@cache
def planted_structure() -> Structure:
    """Three points with two modules; what is left out of each pair, and of the first point."""
    graph = interactions_of(planted_blocks(0, (8, 9, 7), 2, 0.9, 0.03))
    found = modules(graph, floors=[0.9, 0.9], nulls=19, seeds=2, resolutions=())
    assert found.count == 2
    tried = (
        edge_ablation_of("p0", "p1", [(0, 0.1), (8, 0.7), (20, 0.95), (72, 0.95)], 20),
        edge_ablation_of("p1", "p2", [(0, 0.1), (63, 0.95)], 63),
    )
    edges = tuple(
        replace(one, mask=_strongest(each.strengths, one.needed or 0))
        for one, each in zip(tried, graph.edges, strict=True)
    )
    baseline = (
        edge_ablation_of("p0", "p1", [(0, 0.1), (8, 0.4), (60, 0.95), (72, 0.95)], 60),
        edge_ablation_of("p1", "p2", [(0, 0.1), (63, 0.9)], None),
    )
    node = NodeAblation("p0", 5, 8, np.array([[0.0, 0.1], [5.0, 0.95], [8.0, 0.95]]), 0.95, "accuracy", 0.001)
    return Structure(
        basis=graph.basis,
        interactions=graph,
        edges=edges,
        nodes=(node,),
        baseline=graph.basis,
        baseline_interactions=graph,
        baseline_edges=baseline,
        baseline_nodes=(replace(node, needed=7),),
        modules=found,
        unablated=None,
    )


def unablated(structure: Structure) -> Structure:
    """The same where nothing was left out."""
    none: dict[str, Any] = dict.fromkeys(("edges", "nodes", "baseline_edges", "baseline_nodes"), ())
    return replace(structure, unablated="edges were not left out: it was not asked for", **none)


@cache
def planted_coefficient() -> LearningCoefficient:
    bowl = Potential(lambda w: w.square().sum() / 2, (5,))
    return learning_coefficient(
        bowl, NOTHING, loss=itself, chains=2, draws=20, burn_in=10, thinning=1, step_size=1e-3, nbeta=50.0
    )


def planted_survey(
    counts: Counts | None = None,
    structure: Structure | None = None,
    coefficient: LearningCoefficient | None = None,
    *,
    tolerance: float = 1e-9,
) -> Degeneracy:
    return Degeneracy(
        source="planted",
        counts=counts,
        structure=structure,
        coefficient=coefficient,
        missing=dict.fromkeys(("counts", "structure", "coefficient"), "it was not asked for"),
        data="examples",
        tolerance=tolerance,
        drop=0.001,
        notes=(),
        seed=0,
    )


def deep(layers: int) -> Counts:
    """A network of so many layers, each with spectra of 200 values."""
    spectrum = Spectrum.of(np.geomspace(1, 1e-14, 200))
    several = tuple(
        replace(FIRST, layer=f"blocks.{number}.linear", activation_spectrum=spectrum, gradient_spectrum=spectrum)
        for number in range(layers)
    )
    return planted_counts(*several, parameters=60 * layers, exact=30 * layers, rank=30 * layers)


def colours_in(part: Any) -> set[str]:  # noqa: ANN401 - of any specification
    """Every colour of a specification, its data too."""
    if isinstance(part, str):
        return set(re.findall(r"#[0-9a-fA-F]{6}\b", part))
    items = part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple) else ()
    return set().union(*(colours_in(item) for item in items))


def data_of(part: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - of any specification
    """All rows of data of a specification."""
    if isinstance(part, dict):
        own = part.get("data", {}).get("values", []) if isinstance(part.get("data"), dict) else []
        own = own + [row for rows in part.get("datasets", {}).values() for row in rows]
        return own + [row for key, item in part.items() if key not in {"data", "datasets"} for row in data_of(item)]
    return [row for item in part for row in data_of(item)] if isinstance(part, list) else []


CHANGED_AT_NIGHT = set(DARK) | set(palette.SEQUENTIAL)
"""Colours that a page at night exchanges, or means to leave alone."""
