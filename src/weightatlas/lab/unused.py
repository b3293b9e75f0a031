"""Parameters that a network has and its logits do not depend on, such as auxiliary classifiers."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from weightatlas.evaluation.scoring import logits_of

if TYPE_CHECKING:
    from weightatlas.evaluation.batches import Batch


def freeze_unused(model: torch.nn.Module, batch: Batch) -> list[str]:
    """Freeze what gets no gradient from the logits in training; gives the names.

    A process alone leaves such parameters as they are, weight decay included; several would wait for their gradients.
    The network runs as a copy, and torch's generator is left as it was.

    Args:
        model: inputs to logits, or to an object with `logits`.
        batch: two examples or more, for batch norms.

    Example:
        >>> model = torch.nn.Linear(2, 3)
        >>> model.aside = torch.nn.Linear(2, 2)
        >>> freeze_unused(model, (torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64)))
        ['aside.weight', 'aside.bias']
    """
    inputs, targets = batch
    twin = copy.deepcopy(model).cpu().train()
    with torch.random.fork_rng(devices=()):
        dtype = next(twin.parameters()).dtype
        logits_of(twin(inputs.cpu().to(dtype)), targets).sum().backward()  # type: ignore[no-untyped-call]
    names = [name for name, parameter in twin.named_parameters() if parameter.requires_grad and parameter.grad is None]
    for name in names:
        model.get_parameter(name).requires_grad = False
    return names
