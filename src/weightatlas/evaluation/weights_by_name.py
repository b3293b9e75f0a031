"""A checkpoint's tensors by a model's names, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.loading import finite, matching_names
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from weightatlas.checkpoints.checkpoint import Checkpoint


class WeightsByName(Mapping[str, torch.Tensor]):
    """A state dict of a model whose values are those of a checkpoint.

    Tensors are matched as `load_checkpoint` does it in its strict mode, and read on access: of the checkpoint's type,
    of the model's shape. What the checkpoint may lack, a count of batches, is the model's own.

    Attributes:
        checkpoint: where the values are.
        names: from the model's names to those in the checkpoint.
        extra: what the checkpoint has and the model has not.
        notes: what was undone or assumed, one sentence each.

    Example:
        >>> from torch import nn
        >>> from weightatlas.checkpoints import open_checkpoint
        >>> saved = open_checkpoint({"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)})
        >>> weights = WeightsByName(nn.Linear(2, 1), saved)
        >>> weights["weight"], weights.names["weight"]
        (tensor([[1., 1.]]), 'module.weight')
    """

    def __init__(self, model: nn.Module, checkpoint: Checkpoint) -> None:
        """Match names and shapes; nothing is read, but where a type might not hold what a file has.

        Raises:
            SourceError: as `load_checkpoint`.
        """
        self.checkpoint = checkpoint
        self.names, report = matching_names(model, checkpoint)
        self.extra = report.extra
        self.notes = report.notes
        self._own = {
            name: tensor.detach()
            for name, tensor in model.state_dict(keep_vars=True).items()
            if isinstance(tensor, torch.Tensor)
        }

    def __getitem__(self, name: str) -> torch.Tensor:
        """Read one tensor.

        Raises:
            SourceError: it cannot be read, or holds NaN or infinite values.
        """
        own = self._own[name]
        if name not in self.names:
            return own
        tensor = self.checkpoint[self.names[name]]
        if not finite(tensor):
            raise not_finite(self.checkpoint, self.names[name])
        return tensor.reshape(own.shape)

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the model's state dict, in its order."""
        return iter(self._own)

    def __len__(self) -> int:
        """Count them."""
        return len(self._own)

    def __contains__(self, name: object) -> bool:
        """Say whether there is one of that name, without reading it."""
        return name in self._own


def not_finite(checkpoint: Checkpoint, name: str) -> SourceError:
    """The error of a tensor that holds such values."""
    problem = f"{printable(name, limit=80)} holds NaN or infinite values"
    return SourceError(checkpoint.source, problem, "give a checkpoint of before its training diverged")
