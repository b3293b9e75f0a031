"""Running a network in a chosen mode and leaving no trace: modes, buffers and random generators are put back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.seeding import seed_generators

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
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()] if training else []
    devices = {parameter.device for parameter in model.parameters()}
    gpus = [device for device in devices if device.type == "cuda"]
    with in_mode(model, training=training), torch.random.fork_rng(devices=gpus):
        seed_generators(seed, devices)
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)
