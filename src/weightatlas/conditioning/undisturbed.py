"""Running a network in a chosen mode and leaving no trace: modes, buffers and random generators are put back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def undisturbed(model: nn.Module, *, training: bool, seed: int) -> Iterator[None]:
    """Run a network in training or evaluation mode; afterwards it is what it was, also after an error.

    Buffers are put back as they were, so that batches in training mode move no running estimate. Random numbers that
    are drawn inside follow from the seed, and torch's generators go on afterwards where they stood.

    Args:
        model: whose modules are set, each of which gets its own mode back.
        training: the mode.
        seed: of dropout and the like.

    Example:
        >>> norm = torch.nn.BatchNorm1d(1)
        >>> with undisturbed(norm, training=True, seed=0):
        ...     outputs = norm(torch.tensor([[1.0], [3.0]]))
        >>> float(norm.running_mean), int(norm.num_batches_tracked)
        (0.0, 0)
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()] if training else []
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            for module, _ in modes:
                module.training = training
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
