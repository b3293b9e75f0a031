"""The network that a source's weights make, and what the source is called."""

from __future__ import annotations

import copy
import os

from torch import nn

from weightatlas.checkpoints import Checkpoint, Trajectory
from weightatlas.evaluation.models import open_model

Network = Checkpoint | nn.Module | str | os.PathLike[str]
"""An open checkpoint, a live model, or anything `open_checkpoint` takes."""


def network_of(source: Network, model: nn.Module | str | None) -> nn.Module:
    """The network with its weights: a live one as it is, weights in a copy of the model that they belong to.

    Args:
        source: the weights, or the network itself.
        model: what `open_model` takes, or a live network, which is copied and stays as it was.

    Raises:
        SourceError: the source cannot be opened, or is not of this model.

    Example:
        >>> network = nn.Linear(2, 3)
        >>> network_of(network, None) is network
        True
    """
    if isinstance(source, nn.Module):
        return source
    weights = source if isinstance(source, Checkpoint) else os.fspath(source)
    return open_model(copy.deepcopy(model) if isinstance(model, nn.Module) else model, checkpoint=weights)


def source_name(source: Network | Trajectory) -> str:
    """What the user called it; the class of a live model.

    Example:
        >>> source_name(nn.Linear(2, 3)), source_name("model.safetensors")
        ('Linear', 'model.safetensors')
    """
    if isinstance(source, Checkpoint | Trajectory):
        return source.source
    return type(source).__name__ if isinstance(source, nn.Module) else os.fspath(source)
