"""Batches that are fetched and decoded once, for measurements that go through them many times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.batches import Data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.evaluation.batches import Batch

HELD_BYTES: Final = 2 * 2**30
"""The most that is held: 16 times the test images of CIFAR-10 in single precision."""

_DATA: Final = "the data"
_SAME: Final = "give data without shuffling that can be gone through again, or fewer examples"


class HeldBatches:
    """The first examples of some data in batches as they came, on a device, as often as one likes.

    Up to `limit` bytes they are held there. More than that is fetched again in every pass, which must give the same
    targets as the first one did. Data that count their passes do not count these. Inputs are copies in every pass: a
    network that writes into them changes neither the data nor what the next pass gives.

    Attributes:
        examples: how many there are.
        count: how many batches they are in.
        is_held: whether they are held.

    Example:
        >>> held = HeldBatches([(torch.zeros(3, 2), torch.zeros(3)), (torch.zeros(3, 2), torch.zeros(3))], examples=4)
        >>> [len(inputs) for inputs, _ in held], held.examples, held.is_held
        ([3, 1], 4, True)
    """

    def __init__(
        self,
        data: Iterable[Batch],
        *,
        examples: int | None = None,
        batches: int | None = None,
        device: torch.device | str = "cpu",
        limit: int = HELD_BYTES,
    ) -> None:
        """Go through the data once.

        Args:
            data: pairs of inputs and targets, to be gone through again where they exceed `limit`.
            examples: how many at most; None is all.
            batches: how many of these at most; None is all.
            device: where they are taken to.
            limit: bytes of inputs and targets that are held.

        Raises:
            ValueError: there are no examples, or a limit is below 1.
        """
        if any(count is not None and count < 1 for count in (examples, batches)):
            message = f"examples and batches must be 1 or more, not {examples} and {batches}"
            raise ValueError(message)
        self._data, self._most, self._batches, self._device = data, examples, batches, torch.device(device)
        held: list[Batch] | None = []
        targets: list[torch.Tensor] = []
        size = 0
        for batch in self._pass():
            targets.append(batch[1].cpu())
            size += sum(part.numel() * part.element_size() for part in batch)
            if size > limit:
                held = None
            if held is not None:
                held.append(batch)
        if not targets:
            message = "there is no example to run the network on; give one or more"
            raise ValueError(message)
        self._held, self._targets = held, targets
        self.examples = sum(len(part) for part in targets)
        self.count = len(targets)
        self.is_held = held is not None

    def __iter__(self) -> Iterator[Batch]:
        """Start a pass.

        Raises:
            SourceError: the targets of one that is fetched again are others than before.
        """
        if self._held is not None:
            yield from ((inputs.clone(), targets) for inputs, targets in self._held)
            return
        seen = 0
        for inputs, targets in self._pass():
            if seen >= len(self._targets) or not torch.equal(targets.cpu(), self._targets[seen]):
                raise SourceError(_DATA, "a second pass gives other examples than the first", _SAME)
            seen += 1
            yield inputs.clone(), targets
        if seen < len(self._targets):
            raise SourceError(_DATA, "a second pass gives fewer examples than the first", _SAME)

    def _pass(self) -> Iterator[Batch]:
        epoch = self._data.epoch if isinstance(self._data, Data) else 0
        left = self._most
        try:
            for number, (inputs, targets) in enumerate(self._data, start=1):
                count = len(inputs) if left is None else min(left, len(inputs))
                if count:
                    yield inputs[:count].to(self._device), targets[:count].to(self._device)
                left = None if left is None else left - count
                if left == 0 or number == self._batches:
                    break
        finally:
            if isinstance(self._data, Data):
                self._data.epoch = epoch
