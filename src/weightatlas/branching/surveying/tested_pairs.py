"""The branches that every two successive layers hide, tested together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from weightatlas.branching.implicit import HiddenBranches, Method, implicit
from weightatlas.branching.surveying.pairs import Pair, pairs_of_flow, pairs_of_shapes
from weightatlas.errors import WeightatlasError
from weightatlas.parallel import Backend, parallel_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from weightatlas.branching.surveying.network import Network
    from weightatlas.checkpoints import Checkpoint
    from weightatlas.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class HiddenPair:
    """Two successive layers and the branches their weights hide.

    Attributes:
        layer: the first; empty where there is none.
        next_layer: the one that reads it.
        hidden: what was found, or None.
        q_values: of the first axis that is tested, over all pairs of the source; of one after it, its p where that is
            larger: axes of a pair are tested in order, each only where those before it stand. NaN of an axis that is
            not tested.
        skipped: why nothing was looked for, or None.
    """

    layer: str
    next_layer: str
    hidden: HiddenBranches | None = None
    q_values: tuple[float, ...] = ()
    skipped: str | None = None


Weights = tuple["npt.NDArray[np.float32]", "npt.NDArray[np.float32]"]


def hidden_pairs(
    network: Network,
    *,
    method: Method,
    shuffles: int,
    seed: int,
    jobs: int | None,
    backend: Backend,
    progress: Progress,
) -> tuple[HiddenPair, ...]:
    """Look for hidden branches between every two layers of which the second reads the first alone.

    Args:
        network: the weights, and how they are joined.
        method: of `implicit`.
        shuffles: of `implicit`.
        seed: of the shuffles.
        jobs: pairs worked on at once.
        backend: what runs them.
        progress: called once for each pair.

    Raises:
        ValueError: `method` or `backend` is none of those there are, or `shuffles` is below 1.
    """
    flow, checkpoint = network.flow, network.checkpoint
    pairs = pairs_of_shapes(checkpoint.layers) if flow is None else pairs_of_flow(flow)
    pairs = [pair if pair.skipped else replace(pair, skipped=_unreadable(pair, checkpoint)) for pair in pairs]
    work = [pair for pair in pairs if pair.skipped is None]
    held: list[tuple[Pair, Callable[[], Weights]]] = [(pair, partial(_read, checkpoint, pair)) for pair in work]
    if backend != "threading":  # another process cannot share what is mapped here: hand it its own weights
        held = [(pair, partial(_held, read())) for pair, read in held]
    look = partial(_look, method=method, shuffles=shuffles, seed=seed)
    found = parallel_map(look, held, jobs=jobs, backend=backend, progress=progress, label=lambda one: one[0].second)
    tested = iter(_together(found))
    return tuple(
        next(tested) if pair.skipped is None else HiddenPair(pair.first, pair.second, skipped=pair.skipped)
        for pair in pairs
    )


def _unreadable(pair: Pair, checkpoint: Checkpoint) -> str | None:
    if not all(name in checkpoint for name in pair.tensors):
        return "a weight of the two is not in the source"
    if any(checkpoint.info[name].dtype.startswith("complex") for name in pair.tensors):
        return "a weight of the two holds complex numbers"
    return None


def _read(checkpoint: Checkpoint, pair: Pair) -> Weights:
    first, second = (
        np.moveaxis(checkpoint[name].float().numpy(), axis, 0)
        for name, axis in zip(pair.tensors, pair.axes, strict=True)
    )
    if pair.order is not None and second.shape[1] == len(pair.order):
        second = _by_unit(second, pair.order, len(first))
    return first, second


def _held(weights: Weights) -> Weights:
    return weights


def _by_unit(second: npt.NDArray[np.float32], order: npt.NDArray[np.int64], units: int) -> npt.NDArray[np.float32]:
    """Put channels in the order of the units that they are; places of one unit on a flattened map side by side."""
    counts = np.bincount(order, minlength=units)
    if len(order) == units and (counts == 1).all():
        ordered: npt.NDArray[np.float32] = second[:, np.argsort(order)]
        return ordered
    places = np.zeros((len(second), units, counts.max(), *second.shape[2:]), dtype=second.dtype)
    sorting = np.argsort(order, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    position = np.arange(len(order)) - starts[order[sorting]]
    places[:, order[sorting], position] = second[:, sorting]
    return places.reshape(len(second), units, -1, 1)


def _look(held: tuple[Pair, Callable[[], Weights]], *, method: Method, shuffles: int, seed: int) -> HiddenPair:
    pair, read = held
    first, second = read()
    try:
        hidden = implicit(first, second, method=method, shuffles=shuffles, seed=seed)
    except (ValueError, WeightatlasError) as error:
        return HiddenPair(pair.first, pair.second, skipped=str(error))
    return HiddenPair(pair.first, pair.second, hidden)


def _together(found: Sequence[HiddenPair]) -> list[HiddenPair]:
    """Correct the first axes that are tested over the pairs of a source; a later one is never surer than the first."""
    axes = [np.array([]) if pair.hidden is None else np.asarray(pair.hidden.p_values) for pair in found]
    first = [p_values[np.isfinite(p_values)][:1] for p_values in axes]
    known = np.concatenate([*first, np.array([])])
    corrected = iter(false_discovery_control(known).tolist() if len(known) else [])
    # An axis that is not tested has neither p nor q.
    least = [next(corrected) if len(one) else float("nan") for one in first]
    return [
        replace(pair, q_values=tuple(np.maximum(p_values, q).tolist()))
        for pair, p_values, q in zip(found, axes, least, strict=True)
    ]
