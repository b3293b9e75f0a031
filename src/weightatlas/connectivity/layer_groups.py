"""The layers of a network as groups of tensors that are moved from one network's to another's."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from weightatlas.evaluation.recalibration import batch_norms
from weightatlas.evaluation.states import first_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import nn

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.states import State, StateOutputs


def layer_groups(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The names of each module's own parameters and floating-point buffers, by its path.

    Modules with neither parameters nor batch-norm statistics are left out. A tensor that is tied is in the group of the
    first module that has it, under that name. Whether a parameter requires a gradient does not count: what two networks
    share differs in nothing.

    Args:
        model: the network.

    Returns:
        In the order in which modules are registered.

    Example:
        >>> from torch import nn
        >>> layer_groups(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.BatchNorm1d(3)))
        {'0': ('0.weight', '0.bias'), '2': ('2.weight', '2.bias', '2.running_mean', '2.running_var')}
    """
    first, norms = first_names(model), batch_norms(model)
    groups: dict[str, tuple[str, ...]] = {}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        parameters = [prefix + name for name, _ in module.named_parameters(recurse=False)]
        if not parameters and path not in norms:
            continue
        buffers = [prefix + name for name, buffer in module.named_buffers(recurse=False) if buffer.is_floating_point()]
        names = tuple(name for name in (*parameters, *buffers) if first.get(name) == name)
        if names:
            groups[path] = names
    return groups


def in_order_of_calls(
    outputs: StateOutputs, state: State, batches: Iterable[Batch], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """The paths of modules in the order in which a pass through the network first calls them.

    A module that is never called as such (attention's projections) follows the one registered before it.

    Args:
        outputs: of the network.
        state: to run it with.
        batches: of which the first is run.
        groups: by path, in the order of registration.
    """
    calls: dict[str, int] = {}
    modules = dict(outputs.model.named_modules())
    with ExitStack() as hooks:
        for path in groups:

            def seen(_module: Any, _given: Any, *, path: str = path) -> None:  # noqa: ANN401 - a hook
                calls.setdefault(path, len(calls))

            hooks.callback(modules[path].register_forward_pre_hook(seen).remove)
        outputs.run_through(state, [next(iter(batches))])
    places: dict[str, int] = {}
    last = -1
    for path in groups:
        last = calls.get(path, last)
        places[path] = last
    return sorted(groups, key=places.__getitem__)
