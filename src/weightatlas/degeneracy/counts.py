"""How many directions of a network's parameters change nothing on some data, by kind, together, and exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from weightatlas.degeneracy.jacobian import (
    DIRECT,
    LIMIT,
    TOLERANCE,
    JacobianRank,
    RankCurve,
    Ruler,
    outputs_of,
    rank_of,
)
from weightatlas.degeneracy.ranking.following import follow_all
from weightatlas.degeneracy.ranking.free_directions import FreeDirections, free_directions
from weightatlas.degeneracy.ranking.own_ranks import own_ranks
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.degeneracy.ranking.proving import proved_rank
from weightatlas.degeneracy.ranking.withdrawing import Withdrawn, withdrawn
from weightatlas.degeneracy.union import union_rank
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import nn

    from weightatlas.degeneracy.directions import LayerFreedom
    from weightatlas.degeneracy.spectra import Spectrum
    from weightatlas.degeneracy.synchrony import Synchrony
    from weightatlas.evaluation.batches import Batch

LIMITED: Final = 0.98
"""Share of the most that the examples allow above which a rank says more of the data than of the network."""

POSITIONS: Final = 4096
"""Half of the positions of each layer that are sampled for the conditional kind, where there are more."""

CHECKS: Final = 1
"""Random combinations of all directions that are claimed, of which those along which outputs change are withdrawn."""

CURVE_ROWS: Final = 1024
"""Of the Jacobian that the curve is taken from where the rank itself is from combinations of rows."""

EVERY: Final = "every vector followed, those of all kinds together"

ENTRIES: Final = 2**31
"""Of the Jacobian's rows that "auto" computes: a few minutes of two cores."""

Exact = Literal["auto"] | bool


@dataclass(frozen=True, slots=True, eq=False)
class LayerCounts:
    """The free directions of one layer.

    Attributes:
        layer: module path; of attention's packed projections with `.query`, `.key` or `.value`.
        parameters: its trained numbers, biases among them.
        activations: freed by linearly dependent activations.
        gradients: by linearly dependent gradients.
        synchronised: by units that fire together, if its units are rectified; they move the next layers' weights too.
        rescalings: those of `synchronised` that scale one unit; free on any data.
        conditional: by activations that are dependent where the unit they go to has a gradient.
        conditional_half: as many as that by half of the sampled positions: the same, if more would not change it.
        positions: how many were sampled for it, all units together; all there are where there are no more.
        heads: by changes of basis within its heads, if it makes values or queries.
        linear: by changes of basis that linear maps alone share, if it is the first to write them.
        norms: by scales and shifts of norms, if it is the first to write or read what they scale.
        union: the rank of activations, gradients and conditional together: those that move this layer alone.
        exact: directions of this layer's weights alone that change nothing to first order.
        activation_spectrum: singular values of what the layer is given.
        gradient_spectrum: singular values of the gradients at its outputs.
        skipped: why nothing was counted, or None. Any figure that was not had is None, or is of a kind that turned out
            not to be free in this layer (`Counts.notes`).
    """

    layer: str
    parameters: int
    activations: int | None = None
    gradients: int | None = None
    synchronised: int | None = None
    rescalings: int | None = None
    conditional: int | None = None
    conditional_half: int | None = None
    positions: int | None = None
    heads: int | None = None
    linear: int | None = None
    norms: int | None = None
    union: int | None = None
    exact: int | None = None
    activation_spectrum: Spectrum | None = None
    gradient_spectrum: Spectrum | None = None
    skipped: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """The free directions of a network on some data.

    Attributes:
        layers: in the order of their first use; then those that could not be followed.
        parameters: N, trained numbers.
        examples: n.
        outputs: d_out, numbers that the network gives for one example.
        activations, gradients, synchronised, rescalings, conditional, heads, linear, norms: the rank of each kind in
            the whole network, without what is not free in some layer (`notes`); None where it was not measured, or
            nothing of it is left. They overlap.
        union: the rank of all of them together; never more than it is.
        union_kind: how it was found.
        exact: N - rank J, the directions that change no output to first order; None where it is not known.
        exact_kind: "exact", "estimate" (by random combinations of the Jacobian's rows), or why it is not known.
        exact_low, exact_high: it is no smaller, and no larger.
        rank: of the Jacobian J; None as `exact`.
        data_limited: whether J may have rank above .98 n d_out, or of the sum of the ranks that single examples'
            Jacobians have: then the counts are of these data, and of no more. Not where nothing is free.
        curve: the rank over the first examples; None where it was not asked for.
        checked: how many directions, or random combinations of all of them, were followed.
        largest_change: the largest |J v| / |v| of these, in units of the largest singular value of J.
        tolerance: singular values up to that share of the largest counted as 0 (of J: or up to its rounding).
        synchrony: which units fire together, exactly and within the tolerance asked for, of each rectified layer.
        notes: what was assumed, left out, or claimed and not counted because it is not free, a sentence each.
    """

    layers: tuple[LayerCounts, ...]
    parameters: int
    examples: int
    outputs: int
    activations: int | None
    gradients: int | None
    synchronised: int | None
    rescalings: int | None
    conditional: int | None
    heads: int | None
    linear: int | None
    norms: int | None
    union: int
    union_kind: str
    exact: int | None
    exact_kind: str
    exact_low: int
    exact_high: int
    rank: int | None
    data_limited: bool
    curve: RankCurve | None
    checked: int
    largest_change: float
    tolerance: float
    synchrony: tuple[Synchrony, ...]
    notes: tuple[str, ...]

    @property
    def limit(self) -> int:
        """The largest rank that the data allow, n d_out, whatever the network."""
        return self.examples * self.outputs

    @property
    def gap(self) -> int | None:
        """Free directions that no kind explains."""
        return None if self.exact is None else self.exact - self.union


def counts(
    model: nn.Module,
    data: Iterable[Batch],
    *,
    examples: int | None = None,
    tolerance: float = TOLERANCE,
    synchrony: float = 0.0,
    positions: int = POSITIONS,
    conditional: bool = True,
    exact: Exact = "auto",
    exact_limit: int = LIMIT,
    curve: bool = True,
    checks: int = CHECKS,
    probes: int | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Counts:
    r"""Count the directions of a network's parameters along which its outputs on some data stay as they are.

    A direction v is free to first order where \(J v = 0\), \(J_{(x,k),p} = \partial f_k(x) / \partial \theta_p\). For a
    matrix of weights with activations \(\phi\) and gradients b, \(\partial f_k / \partial W = \sum_t b_{k,t} \phi_t^T\)
    over positions t, and there are these kinds:

    - **activations**: \(u w^T\) with w in the null space of \(G = E[\phi \phi^T]\), any u; free however far one goes.
      units x (width - rank G) of them.
    - **gradients**: \(u w^T\) with u in the null space of \(K = E[\sum_k b_k b_k^T]\). width x (units - rank K).
    - **synchronised**: changes of basis \(W_S \to R W_S\), \(W'_{:,S} \to W'_{:,S} R^{-1}\) among rectified units S
      that fire on the same data; |S|² for each block, the scalings of single units (**rescalings**) among them.
    - **conditional**: \(e_i w^T\) with w in the null space of the activations at the positions where unit i has a
      gradient at all. Contains activations.
    - **heads**: changes of basis between queries and keys, values and output, within attention heads.
    - **linear**: changes of basis of channels that linear maps alone write and read, \(W \to R W\) and
      \(W' \to W' R^{-1}\), residual streams without norms among them, and constants that one takes from another.
    - **norms**: scales and shifts of a norm that the layer before it, or the layers behind it, have once more.

    Each kind is given by explicit vectors. Their ranks do not add up: **union** is the rank of all together, **exact**
    the nullity of J, and **gap** what no kind explains.

    **Followed.** A random combination of all that is claimed is followed on all data: were one vector not free, it
    would not be, with probability 1. Where the outputs change along it by more than the tolerance, by which singular
    values of J count as 0, it is taken apart, and every kind of every layer that is not free by itself is withdrawn,
    with a note, before anything is counted. Where J's triangular factor is had (N <= `exact_limit`), every vector that
    is left is followed besides, and `union` is the dimension of the part of their span on which |J v| <= tolerance |v|
    times J's largest singular value: so it is never above `exact`.

    **n d_out.** The rank of J is at most n d_out, so that N - n d_out directions are free whatever the network; and at
    most the sum of the ranks of single examples' Jacobians, which is less where the outputs of one example are bound
    to each other (log-softmax). `data_limited` says where that is what was counted. Data that hold each possible input
    once look the same.

    Args:
        model: any module with trained parameters that gives a tensor or logits; a copy of it is measured, in evaluation
            mode.
        data: pairs of inputs and targets, of which the inputs count; the same in every pass.
        examples: how many at most, the first ones; None is all.
        tolerance: singular values up to that share of the largest count as 0.
        synchrony: share of points on which units of a near block may differ; these are found, and free nothing exactly.
        positions: twice so many are sampled in each layer for the conditional kind.
        conditional: whether it is measured.
        exact: whether the rank of J is computed; "auto" where it takes minutes at most.
        exact_limit: rows or columns of J to which its rank is computed from all of it; beyond, from combinations.
        curve: whether the rank over the first 1, 2, 4, ... examples is given.
        checks: how many random combinations of all that is claimed are followed.
        probes: random combinations of outputs in place of each for the gradients; None is each.
        dtype: of all computation; None is float64, whatever the model's: ranks at 1e-9 need it.
        seed: of every random choice.
        device: where; None is the model's.
        progress: called as work is done.

    Returns:
        Counts by kind and layer, their union, the exact number or its bounds.

    Raises:
        ValueError: no parameter is trained, there are no examples, or an option is out of range.
        SourceError: the network cannot take the inputs or cannot be followed.
        NotFiniteError: activations or derivatives are not finite.

    **Source:** Bushnaq and others, *Using Degeneracy in the Loss Landscape for Mechanistic Interpretability* (2024),
    for the first three kinds. They count each alone; the conditional kind, the union, the exact number and the gap are
    ours, because the counts of single kinds overlap and leave some out.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> inputs = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> inputs[:, 2] = inputs[:, 0]  # two inputs are the same
        >>> found = counts(network, [(inputs, inputs)])
        >>> found.activations, found.rescalings, found.union, found.exact, found.gap, found.data_limited
        (4, 4, 8, 8, 0, False)
    """
    _check(tolerance, positions, exact_limit, checks)
    network = ParameterMap(model, dtype=dtype, device=device, seed=seed)
    held = HeldBatches(data, examples=examples, device=network.device)
    found = free_directions(
        network,
        held,
        tolerance=tolerance,
        near=synchrony,
        positions=positions if conditional else None,
        probes=probes,
        seed=seed,
        progress=progress,
    )
    options: dict[str, Any] = {"tolerance": tolerance, "limit": exact_limit, "seed": seed, "progress": progress}
    rank, why = _rank(network, held, exact, curve=curve, **options)
    if curve and rank is not None and rank.curve is None:
        first = HeldBatches(held, examples=max(1, CURVE_ROWS // found.grams.outputs), device=network.device)
        grown = rank_of(network, first, curve=True, **options | {"limit": max(exact_limit, found.grams.outputs)}).curve
    else:
        grown = None if rank is None else rank.curve
    least = Ruler(tolerance, network, held.examples * found.grams.outputs).tolerance
    factor = None if rank is None or rank.factor is None else (rank.factor, rank.largest)
    followed = withdrawn(network, held, found, tolerance=least, steepest=factor, checks=checks, seed=seed)
    return _together(network, held, followed, rank=rank, why=why, curve=grown, tolerance=tolerance)


def _check(tolerance: float, positions: int, limit: int, checks: int) -> None:
    if not 0 < tolerance < 1 or positions < 1 or limit < 1 or checks < 1:
        message = (
            "tolerance must lie between 0 and 1, positions, exact_limit and checks be 1 or more, "
            f"not {tolerance}, {positions}, {limit} and {checks}"
        )
        raise ValueError(message)


def _rank(
    network: ParameterMap,
    held: HeldBatches,
    exact: Exact,
    *,
    limit: int,
    **options: Any,  # noqa: ANN401 - of rank_of
) -> tuple[JacobianRank | None, str]:
    """The rank of the Jacobian and how it was had, or why it was not."""
    if exact is False:
        return None, "it was not asked for"
    entries = min(held.examples * outputs_of(network, held), limit) * network.size
    if exact == "auto" and network.size > limit and entries > ENTRIES:
        return None, f"{entries:,} numbers of the Jacobian would have to be computed: ask for it with exact=True"
    rank = rank_of(network, held, limit=limit, **options)
    if rank.rank is None:
        return rank, f"combinations of the Jacobian's rows up to {limit} do not span it: it has rank {rank.low} or more"
    return rank, rank.kind


def _together(
    network: ParameterMap,
    held: HeldBatches,
    followed: Withdrawn,
    *,
    rank: JacobianRank | None,
    why: str,
    curve: RankCurve | None,
    tolerance: float,
) -> Counts:
    """Put the result together."""
    found, checked, largest_change = followed.free, followed.count, followed.largest
    union = union_rank(tuple(found.freedoms.values()), found.others)
    total, kind = union.total, union.kind
    if rank is not None and rank.factor is not None:
        each = follow_all(network, found, rank.factor, largest=rank.largest, tolerance=rank.tolerance)
        total, kind, checked, largest_change = each.union, EVERY, each.count, each.largest
    alone = dict(zip(found.freedoms, union.layers, strict=True))
    limit = held.examples * found.grams.outputs
    low, high = (
        (0, min(network.size - total, limit)) if rank is None else (rank.low, min(rank.high, network.size - total))
    )
    exact = None if rank is None else rank.nullity
    return Counts(
        layers=tuple(_layers(network, found, alone, rank, tolerance)),
        parameters=network.size,
        examples=held.examples,
        outputs=found.grams.outputs,
        activations=found.total("activations"),
        gradients=found.total("gradients"),
        synchronised=found.synchronised(),
        rescalings=found.rescalings(),
        conditional=found.total("conditional"),
        heads=found.wired_rank("heads"),
        linear=found.wired_rank("linear"),
        norms=found.wired_rank("norms"),
        union=total,
        union_kind=kind,
        exact=exact,
        exact_kind=why,
        exact_low=network.size - high if exact is None else exact,
        exact_high=network.size - low,
        rank=None if rank is None else rank.rank,
        data_limited=high > LIMITED * limit if rank is None or exact is None else _is_limited(network, held, rank),
        curve=curve,
        checked=checked,
        largest_change=largest_change,
        tolerance=tolerance,
        synchrony=tuple(found.rectified.values()),
        notes=found.notes,
    )


def _is_limited(network: ParameterMap, held: HeldBatches, found: JacobianRank) -> bool:
    """Whether a rank that is known is the most that the examples allow, or nearly, and not all there is."""
    rank = found.rank or 0
    if rank in {0, network.size} or rank > LIMITED * found.limit:
        return 0 < rank < network.size
    most = own_ranks(network, held, found.outputs, enough=rank / LIMITED, tolerance=found.tolerance)
    return most is not None and rank > LIMITED * most


def _layers(
    network: ParameterMap,
    found: FreeDirections,
    alone: Mapping[str, int],
    rank: JacobianRank | None,
    tolerance: float,
) -> Iterator[LayerCounts]:
    """A row a layer that was followed, then those that were not."""
    for gram in found.grams.layers:
        layer = gram.layer
        freedom = found.freedoms.get(layer)
        spectra: dict[str, Any] = {
            "activation_spectrum": gram.activation_spectrum,
            "gradient_spectrum": gram.gradient_spectrum,
        }
        if freedom is None:
            yield LayerCounts(layer, gram.parameters, **spectra, skipped=found.reasons[layer])
            continue
        live = found.live.get(layer)
        yield LayerCounts(
            layer,
            freedom.size,
            conditional_half=None if live is None else live.half,
            positions=None if live is None else live.positions,
            activations=freedom.count("activations"),
            gradients=freedom.count("gradients"),
            synchronised=found.synchronised(layer),
            rescalings=found.rescalings(layer),
            conditional=freedom.count("conditional"),
            heads=found.wired_rank("heads", layer),
            linear=found.wired_rank("linear", layer),
            norms=found.wired_rank("norms", layer),
            union=alone[layer],
            exact=_own_nullity(freedom, rank, tolerance),
            **spectra,
        )
    for layer, reason in found.reasons.items():
        if layer not in {gram.layer for gram in found.grams.layers}:
            named = [tensor for name, tensor in network.parameters.items() if layer in (name, name.rpartition(".")[0])]
            own = sum(tensor.numel() for tensor in named)
            yield LayerCounts(layer, own, skipped=reason)


def _own_nullity(freedom: LayerFreedom, rank: JacobianRank | None, tolerance: float) -> int | None:
    """The nullity of the Jacobian's columns of one layer, where its factor is there."""
    if rank is None or rank.factor is None:
        return None
    columns = rank.factor[:, freedom.index.flatten()]
    least = max(tolerance, rank.tolerance)
    proved = proved_rank(columns, least) if min(columns.shape) > DIRECT else None
    if proved is not None:
        return freedom.size - proved[0]
    values = torch.linalg.svdvals(columns)
    return freedom.size - int((values > least * values.max()).sum())
