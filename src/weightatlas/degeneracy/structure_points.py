"""Points at which a network's structure is measured where nobody names them: what goes into its linear layers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.mean_loss import first_examples
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.point_hooks import OUTPUT
from weightatlas.evaluation.points import NamedPoints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weightatlas.evaluation.batches import Batch

TRIED: Final = 8
"""Examples that points are tried on."""
WIDEST: Final = 4096
"""Features of the widest point that is taken unasked: its Gram matrix is 134 MB in float64."""
MOST: Final = 12
"""Points that are taken unasked, counted from the output."""


def structure_points(model: nn.Module, data: Iterable[Batch]) -> tuple[str, ...]:
    """Choose points: what goes into each linear layer that is called once and is a cut, then the output.

    A point is a cut where all that the next one knows of the inputs it knows through it. From the output backwards
    each is taken that is a cut before those taken already; inside a residual block there is none.

    Args:
        model: any network.
        data: pairs of inputs and targets.

    Returns:
        Names as `NamedPoints` takes them, in the order of the network; "output" is the last.

    Raises:
        SourceError: there is no such point.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> structure_points(network, [(torch.randn(4, 2), torch.zeros(4))])
        ('0', '2', 'output')
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    inputs = first_examples(data, TRIED, device)[0][0]
    taken = [OUTPUT]
    for name in reversed(_reached_once(model, inputs)):
        if len(taken) > MOST:
            break
        try:
            points = NamedPoints(model, [name, taken[0]])
            points.check(inputs)
        except SourceError:
            continue
        taken.insert(0, name)
    if len(taken) == 1:
        raise SourceError(
            type(model).__name__,
            f"no linear layer of {WIDEST:,} inputs or fewer has all that the output knows of the data",
            "name the points with --at (at= in Python), such as the inputs of its blocks",
        )
    return tuple(taken)


def _reached_once(model: nn.Module, inputs: torch.Tensor) -> list[str]:
    """Linear layers that are called once in a pass, in order, where they are not too wide."""
    calls: dict[str, int] = {}
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and module.in_features <= WIDEST:
                stack.callback(module.register_forward_pre_hook(_counter(calls, name)).remove)
        with in_mode(model, training=False), torch.no_grad():
            model(inputs)
    return [name for name, count in calls.items() if count == 1]


def _counter(calls: dict[str, int], name: str) -> Any:  # noqa: ANN401 - a hook as torch takes it
    def count(*_: object) -> None:
        calls[name] = calls.get(name, 0) + 1

    return count
