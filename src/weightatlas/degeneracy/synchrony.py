"""Units that fire on exactly the same data: a block of them acts as one linear map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.degeneracy.block_directions import movable_pairs
from weightatlas.degeneracy.rectified import RectifiedLayer, rectified_layers
from weightatlas.degeneracy.wiring.patterns import Patterns, grouped
from weightatlas.degeneracy.wiring.rectifiers import watching
from weightatlas.errors import SourceError
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.modes import in_mode
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from torch import nn

    from weightatlas.evaluation.batches import Batch

    Integers = npt.NDArray[np.int64]

SAMPLE: Final = 16_384
"""Points on which units are compared within a tolerance: a share of them is known to .004."""


@dataclass(frozen=True, slots=True, eq=False)
class Synchrony:
    """When the units of one layer fire.

    A point is an (example, position) pair; a unit fires on it where its input is above 0.

    Attributes:
        layer: the module.
        rectified: what is known of it.
        blocks: int64 arrays of units, each unit in one, whose inputs are above 0 on exactly the same points, and
            exactly 0 on the same.
        near_blocks: the same for units of which any two differ on at most `tolerance` of the sampled points; empty
            where that is 0. Their directions are not free.
        tolerance: that share, 0 to 1.
        sampled: on how many points.
        firing: float64 (units,), share of the points, 0 to 1.
        dead: int64, units that never fire; behind a leaky ReLU none is dead.
        always_on: int64, units that fire on every point.
        directions: how many directions the blocks free: the sum of their squares, but for pairs that cannot be mixed.
        rescalings: how many of these are scalings of one unit, which are free whatever the data.
        positions: how many points.
        undecided: how many inputs are exactly 0, where the function has no derivative.
        at_zero: int64, the units that have such inputs.
        skipped: why nothing was measured, or None.
    """

    layer: str
    rectified: RectifiedLayer
    blocks: tuple[Integers, ...]
    near_blocks: tuple[Integers, ...]
    tolerance: float
    sampled: int
    firing: npt.NDArray[np.float64]
    dead: Integers
    always_on: Integers
    directions: int
    rescalings: int
    positions: int
    undecided: int
    at_zero: Integers
    skipped: str | None = None

    @property
    def excess(self) -> int:
        """Directions beyond the scalings that every rectifier network has."""
        return self.directions - self.rescalings


def synchrony(
    model: nn.Module,
    data: Iterable[Batch],
    *,
    tolerance: float = 0.0,
    examples: int | None = None,
    rectified: Sequence[RectifiedLayer] | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Synchrony, ...]:
    r"""Find the units of each rectified layer that fire on exactly the same data.

    A block S of such units acts linearly on the data, so that \(W_S \to R W_S\), \(W'_{:,S} \to W'_{:,S} R^{-1}\)
    changes nothing for any R near the identity: \(|S|^2\) directions, of which \(|S|\) are the scalings that every
    network of rectifiers has; `excess` is the rest. `block_directions` gives them one by one.

    Patterns are hashed as the data stream by (`wiring.patterns`), so that any amount of data takes the same memory;
    two units of given different patterns are held for equal with a probability of 2^-128. Within a tolerance units
    are compared on a sample of points, whose share is known to \(\sqrt{p (1 - p) / \text{sampled}}\).

    Where an input is exactly 0 the function has two slopes, and a change of it is let through one way only: units of a
    block are 0 on the same points, where any mixture of them is 0 too. Of other kinds of directions no more is known
    than autograd's derivative there, which is that of a unit that is off (`undecided_notes`).

    Blocks say what is the case on these data: on one example there are at most two, the units that fire and those that
    do not. Units that never fire are a block too, whose directions dependent activations and gradients free as well.

    Args:
        model: any module; measured in evaluation mode and left as it was.
        data: pairs of inputs and targets, of which the inputs count.
        tolerance: share of points, 0 to 1, on which units of a near block may differ.
        examples: how many at most, the first ones; None is all.
        rectified: the layers, as `rectified_layers` gives them; None is found by the first two examples.
        sample: how many points are kept to compare units on, where there is a tolerance.
        seed: of hashes and sample.
        progress: called as batches are done.

    Returns:
        One for each layer, in order; empty where nothing in the network is a nonlinearity behind a layer.

    Raises:
        ValueError: there are no examples, or an option is out of range.
        SourceError: the model does not run on the data, or does not do the same in each run.

    **Source:** Bushnaq and others, *Using Degeneracy in the Loss Landscape for Mechanistic Interpretability* (2024).

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(1, 3, bias=False), nn.ReLU(), nn.Linear(3, 1))
        >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0], [-1.0], [2.0]]))
        >>> found, = synchrony(model, [(torch.randn(20, 1), torch.zeros(20))])
        >>> [block.tolist() for block in found.blocks], found.directions, found.excess
        ([[0, 2], [1]], 5, 2)
    """
    if not 0 <= tolerance <= 1 or sample < 1:
        message = f"the tolerance must be 0 to 1 and the sample 1 or more, not {tolerance} and {sample}"
        raise ValueError(message)
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    held = HeldBatches(data, examples=examples, device=device)
    layers = rectified_layers(model, _first(held)) if rectified is None else tuple(rectified)
    kept = {
        place: Patterns(layer.units, sample if tolerance else 0, np.random.default_rng([seed, place]))
        for place, layer in enumerate(layers)
        if layer.skipped is None
    }
    zeros = {place: Patterns(one.units, 0, np.random.default_rng([seed, place, 1])) for place, one in kept.items()}
    _measure(model, held, _Listener(layers, kept, zeros), progress)
    return tuple(
        _result(model, layer, kept.get(place), zeros.get(place), tolerance) for place, layer in enumerate(layers)
    )


def undecided_notes(found: Iterable[Synchrony]) -> tuple[str, ...]:
    """One sentence for each layer whose rectifier is given numbers that are exactly 0."""
    return tuple(
        f"{one.layer}: {one.undecided:,} of the numbers that its {one.rectified.function} is given are exactly 0, where"
        " it has no derivative (a unit that is off is assumed): free directions of this layer, and of those before it,"
        " may change the outputs one way"
        for one in found
        if one.undecided
    )


def _first(held: HeldBatches) -> torch.Tensor:
    """Two examples of the data, or one twice: of a single one an axis of examples cannot be told from one of units."""
    inputs, _ = next(iter(held))
    return inputs[:2] if len(inputs) > 1 else torch.cat([inputs, inputs])


def _measure(model: nn.Module, held: HeldBatches, listener: _Listener, progress: Progress) -> None:
    with in_mode(model, training=False), torch.no_grad():
        for done, (inputs, _) in enumerate(held, start=1):
            listener.told.clear()
            with watching(listener, frozenset(listener.owners)):
                model(inputs)
            if listener.told != set(listener.owners):
                problem = "what it does differs from one batch to the next"
                raise SourceError(type(model).__name__, problem, "give a network without branches that depend on data")
            progress(done, held.count, "firing patterns")


class _Listener:
    """Hands the inputs of each nonlinearity to the patterns of its layer: where they are above 0, where exactly 0."""

    def __init__(
        self, layers: Sequence[RectifiedLayer], kept: Mapping[int, Patterns], zeros: Mapping[int, Patterns]
    ) -> None:
        self._layers, self._kept, self._zeros = layers, kept, zeros
        self.owners = {number: place for place in kept for number in layers[place].numbers}
        self.told: set[int] = set()

    def __call__(self, number: int, inputs: torch.Tensor) -> None:
        place = self.owners[number]
        layer, patterns = self._layers[place], self._kept[place]
        if inputs.ndim <= layer.unit_axis or inputs.shape[layer.unit_axis] != layer.units:
            return
        self.told.add(number)
        own = inputs.movedim(layer.unit_axis, 0).reshape(layer.units, -1)
        is_zero = own == 0
        count = int(is_zero.sum())
        patterns.zeros += count
        if count:  # else there is nothing to add to the hashes
            self._zeros[place].add(is_zero.cpu().numpy())
        patterns.is_finite &= bool(own.isfinite().all())
        patterns.add((own > 0).cpu().numpy())


def _result(
    model: nn.Module, layer: RectifiedLayer, patterns: Patterns | None, zeros: Patterns | None, tolerance: float
) -> Synchrony:
    none = np.zeros(0, dtype=np.int64)
    skipped = layer.skipped
    if patterns is not None and not patterns.is_finite:
        skipped = "what goes into its nonlinearity is not finite on these data"
    if patterns is None or zeros is None or skipped is not None:
        return Synchrony(layer.layer, layer, (), (), tolerance, 0, np.zeros(0), none, none, 0, 0, 0, 0, none, skipped)
    blocks = _common(patterns.blocks(), zeros.blocks())
    parameters = dict(model.named_parameters())
    pairs = [pair for block in blocks for pair in movable_pairs(parameters, layer, block, model)]
    return Synchrony(
        layer=layer.layer,
        rectified=layer,
        blocks=blocks,
        near_blocks=patterns.near_blocks(tolerance) if tolerance else (),
        tolerance=tolerance,
        sampled=patterns.sampled,
        firing=patterns.fired / patterns.points,
        dead=np.flatnonzero(patterns.fired == 0) if layer.function == "relu" else none,
        always_on=np.flatnonzero(patterns.fired == patterns.points),
        directions=len(pairs),
        rescalings=sum(one == other for one, other in pairs),
        positions=patterns.points,
        undecided=patterns.zeros,
        at_zero=np.flatnonzero(zeros.fired),
    )


def _common(blocks: Sequence[Integers], others: Sequence[Integers]) -> tuple[Integers, ...]:
    """The units that are together in both of two partitions."""
    labels = np.zeros((2, sum(map(len, blocks))), dtype=np.int64)
    for row, partition in zip(labels, (blocks, others), strict=True):
        for number, units in enumerate(partition):
            row[units] = number
    return grouped(labels[0] * len(others) + labels[1])
