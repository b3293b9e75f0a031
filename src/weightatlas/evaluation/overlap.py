"""How well a network finds which pixels belong to what: intersection over union of each class, and their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.scoring import logits_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from weightatlas.evaluation.batches import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    r"""What a network answers at each position beside what is true there, over all examples.

    With n_ij the positions of class i that are answered with class j,

    $$\mathrm{IoU}_c = \frac{n_{cc}}{\sum_j n_{cj} + \sum_i n_{ic} - n_{cc}}, \qquad
      \mathrm{mIoU} = \frac{1}{|C|} \sum_{c \in C} \mathrm{IoU}_c$$

    where C are the classes that stand anywhere in the targets. A class that is answered and never true is wrong at the
    positions of the others; it has no overlap of its own.

    Attributes:
        confusion: int64 (classes, classes): n_ij, the true class first.

    **Source:** Everingham and others, The Pascal Visual Object Classes Challenge (IJCV 2015), section 3.3: of all
    pixels of the test set together, not image by image. There every class is in the test set; ours leaves out those
    that are not, and says which.

    Example:
        >>> found = Overlap(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))
        >>> found.per_class.round(2).tolist(), round(found.mean, 3), found.absent
        ([0.75, 0.67, nan], 0.708, (2,))
    """

    confusion: npt.NDArray[np.int64]

    @property
    def positions(self) -> int:
        """How many targets there are."""
        return int(self.confusion.sum())

    @property
    def per_class(self) -> npt.NDArray[np.float64]:
        """Intersection over union of each class, float64 (classes,), 0 to 1; NaN where no target has it."""
        true, answered = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        right = np.diag(self.confusion)
        return np.where(true > 0, right / np.maximum(true + answered - right, 1), np.nan)

    @property
    def absent(self) -> tuple[int, ...]:
        """The classes that no target has: the mean leaves them out."""
        return tuple(np.flatnonzero(self.confusion.sum(axis=1) == 0).tolist())

    @property
    def mean(self) -> float:
        """The mean over the classes that are there, 0 to 1; NaN where there is no target."""
        return float(np.nanmean(self.per_class)) if self.positions else float("nan")

    @property
    def accuracy(self) -> float:
        """The share of positions that are answered right; NaN where there is no target."""
        return float(np.trace(self.confusion) / self.positions) if self.positions else float("nan")


def mean_overlap(model: torch.nn.Module, batches: Iterable[Batch]) -> Overlap:
    """Count what a network answers at every position, in evaluation mode; each module's mode is put back.

    Args:
        model: inputs to logits (batch, classes, ...), or to what `logits_of` takes.
        batches: pairs of inputs and int64 targets (batch, ...), one for each position.

    Raises:
        ValueError: there is no batch.
        ClassesError: the logits do not fit the targets.

    Example:
        >>> from weightatlas.evaluation import open_data
        >>> masks = [(torch.nn.functional.one_hot(mask).movedim(3, 1).float(), mask)
        ...          for _, mask in open_data("scenes?label=mask&limit=4")]
        >>> mean_overlap(torch.nn.Identity(), masks).mean
        1.0
    """
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    counts: torch.Tensor | None = None
    with in_mode(model, training=False), torch.no_grad():
        for inputs, targets in batches:
            logits = logits_of(model(inputs.to(where)), targets)
            classes = logits.shape[1]
            pairs = targets.to(where).flatten() * classes + logits.argmax(dim=1).flatten()
            found = torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
            counts = found if counts is None else counts + found
    if counts is None:
        message = "there is no batch to evaluate on; give one or more"
        raise ValueError(message)
    return Overlap(counts.cpu().numpy())
