"""A network in training or evaluation mode for a while, and each of its modules in its own again afterwards."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Have every module of a network in one mode while this is open, also where it ends in an error.

    Flags are set one by one: `train(True)` afterwards would also wake the norms that a user has frozen by their
    `eval()`, and exported graphs refuse `train` and `eval`.

    Example:
        >>> from torch import nn
        >>> network = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.ReLU())
        >>> with in_mode(network, training=False):
        ...     network[1].training
        False
        >>> [module.training for module in network]
        [False, True]
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = training
        yield
    finally:
        for module, mode in modes:
            module.training = mode
