"""Data as every measurement takes them: batches of inputs and targets that can be gone through again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from weightatlas.data.examples import in_order
from weightatlas.data.normalisation import normalised
from weightatlas.data.seeds import derived_seed
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.data.examples import Examples
    from weightatlas.data.normalisation import Normalization
    from weightatlas.data.scenes import Scenes

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Batching:
    """How examples become batches.

    Attributes:
        size: examples in a batch; the last may have fewer.
        limit: how many examples at most, the first ones; None is all.
        shuffle: whether each pass has an order of its own.
        seed: fixes these orders.
        normalization: what is done to bytes; see `weightatlas.data.normalised`.
    """

    size: int = 64
    limit: int | None = None
    shuffle: bool = False
    seed: int = 0
    normalization: Normalization = "none"


class Data:
    """Batches (inputs, targets) of torch tensors, which can be gone through as often as one likes.

    Without shuffling every pass gives the same batches. With it the order of a pass is that of (seed, epoch): `epoch`
    counts the passes begun, and setting it repeats or skips to one.

    Attributes:
        name: what the user named.
        classes: names of the classes, or None where there are none.
        shape: of one input: (channels, height, width) for images.
        examples: how many there are in a pass, unreadable ones included; None where only going through tells.
        notes: what was assumed, one sentence each.
        epoch: the number of the next pass.
        material: what the batches are made from: examples, scenes, or None for the user's own batches.
        limit: how many examples of the material make a pass, the first ones; None is all.
        normalization: what is done to the material's bytes.

    Yields:
        Pairs: float32 inputs (batch, ...) and targets (batch,), int64 for classes; from the user's own batches, what is
        in them.
    """

    __slots__ = (
        "_batches",
        "_count",
        "_skipped",
        "classes",
        "epoch",
        "examples",
        "limit",
        "material",
        "name",
        "normalization",
        "notes",
        "shape",
    )

    def __init__(
        self,
        name: str,
        batches: Callable[[int], Iterator[Batch]],
        *,
        shape: tuple[int, ...],
        count: int | None = None,
        examples: int | None = None,
        classes: tuple[str, ...] | None = None,
        notes: tuple[str, ...] = (),
        skipped: list[Skipped] | None = None,
        material: Examples | Scenes | None = None,
        limit: int | None = None,
        normalization: Normalization = "none",
    ) -> None:
        """Hold what starts a pass of an epoch, and what is known of it."""
        self.name = name
        self.classes = classes
        self.shape = shape
        self.examples = examples
        self.notes = notes
        self.epoch = 0
        self.material = material
        self.limit = limit
        self.normalization: Normalization = normalization
        self._batches = batches
        self._count = count
        self._skipped = [] if skipped is None else skipped

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The examples that could not be read so far, each with its reason; complete after a pass."""
        return tuple(self._skipped)

    def __len__(self) -> int:
        """Count the batches of a pass.

        Raises:
            TypeError: only going through tells.
        """
        if self._count is None:
            message = f"{self.name} has no length: its batches come one by one"
            raise TypeError(message)
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        """Start a pass."""
        epoch = self.epoch
        self.epoch += 1
        return self._batches(epoch)

    def __repr__(self) -> str:
        """Say what is open."""
        return f"Data({self.name!r}, {self.examples} examples of {self.shape})"


def batched(examples: Examples, batching: Batching) -> Data:
    """Batches of examples that are fetched as they are asked for.

    Raises:
        SourceError: while going through: none of the examples can be read.
    """
    numbers = in_order(examples, limit=batching.limit, seed=None)

    def batches(epoch: int) -> Iterator[Batch]:
        order = numbers
        if batching.shuffle:
            order = in_order(examples, limit=batching.limit, seed=derived_seed(batching.seed, epoch))
        seen = 0
        for part in torch.split(order, batching.size):
            inputs, read = examples.fetch(part)
            if len(read):
                seen += len(read)
                yield normalised(inputs, batching.normalization), examples.targets[read]
        if not seen:
            raise SourceError(examples.name, "none of its examples can be read", "check that they are images")

    return Data(
        examples.name,
        batches,
        shape=examples.shape,
        count=-(-len(numbers) // batching.size),
        examples=len(numbers),
        classes=examples.classes,
        notes=examples.notes,
        skipped=examples.skipped,
        material=examples,
        limit=batching.limit,
        normalization=batching.normalization,
    )


def passed_through(name: str, batches: Iterable[Any], *, again: Callable[[], Iterable[Any]] | None = None) -> Data:
    """The user's own batches.

    Args:
        name: what they are called.
        batches: pairs of tensors; a list, a `DataLoader`, anything that can be gone through again.
        again: what makes new ones for every further pass, where `batches` can be gone through once.

    Raises:
        SourceError: they can be gone through once only, are empty, or are no pairs of tensors.
    """
    if iter(batches) is batches and again is None:
        problem = "it can be gone through once only"
        raise SourceError(name, problem, "give a list, a DataLoader, or a function that gives the batches anew")
    source: Callable[[], Iterable[Any]] = (lambda: batches) if again is None else again
    count = len(cast("Any", batches)) if hasattr(batches, "__len__") else None
    first = next(iter(source()), None)
    if first is None:
        raise SourceError(name, "it has no batch", "give one or more")
    inputs, _ = _pair(name, first)

    def each(_epoch: int) -> Iterator[Batch]:
        return (_pair(name, batch) for batch in source())

    return Data(name, each, shape=tuple(inputs.shape[1:]), count=count)


def _pair(name: str, batch: object) -> Batch:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        what = f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list | dict) else "")
        raise SourceError(name, f"a batch is {what}, no pair of inputs and targets", "give pairs (inputs, targets)")
    inputs, targets = (torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in batch)
    tensors = isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor)
    if not tensors or not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        problem = "a batch has not as many inputs as targets, as two tensors"
        raise SourceError(name, problem, "give float inputs (batch, ...) and targets (batch,)")
    return inputs, targets
