"""REPAIR: the mean and deviation of every channel set right again, for weights between those of two networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.pooled_moments import ChannelMoments, PooledMoments, channel_moments
from weightatlas.evaluation.states import StateOutputs, first_names, fit_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.states import State

_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS: Final = frozenset({nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED})
"""Classes whose weights are what they compute with; what extends them may standardise or split them."""

CONSTANT: Final = 1e-6
"""A channel whose deviation is below that share of its layer's largest gives a constant: nothing is to be scaled."""


@dataclass(frozen=True, slots=True, eq=False)
class ChannelStatistics:
    """What a layer gives, channel by channel.

    Attributes:
        mean: (channels,).
        deviation: (channels,), the population's.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def blended(self, other: ChannelStatistics, share: float) -> ChannelStatistics:
        """These and, with a share of 0 to 1, those of another network: what REPAIR aims at between the two."""
        return ChannelStatistics(
            torch.lerp(self.mean, other.mean, share), torch.lerp(self.deviation, other.deviation, share)
        )


def repairable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers with plain weights that no other module shares, by path.

    Example:
        >>> list(repairable_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))))
        ['0', '2']
    """
    owners = Counter(id(own) for module in model.modules() for own in module.parameters(recurse=False))
    return {
        name: module
        for name, module in model.named_modules()
        if type(module) in _KINDS
        and dict(module.named_parameters(recurse=False)).get("weight") is not None
        and all(owners[id(own)] == 1 for own in module.parameters(recurse=False))
    }


def channel_statistics(
    model: nn.Module, state: State, batches: Iterable[Batch], *, seed: int = 0
) -> dict[str, ChannelStatistics]:
    """Mean and deviation of every channel of every convolution and linear layer, in the order in which they run.

    Args:
        model: the network.
        state: the weights to run it with.
        batches: pairs of inputs and targets; targets are not looked at.
        seed: of random layers.

    Returns:
        By module path, of the layers of `repairable_layers` that are called, without the last one: that gives the
        answers, which are no activations to be rescaled.

    Raises:
        ValueError: there is no batch.
        SourceError: the state or the data do not fit the model.

    Example:
        >>> layers = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        >>> state = {name: torch.ones_like(tensor) for name, tensor in layers.state_dict().items()}
        >>> found = channel_statistics(layers, state, [(torch.tensor([[1.0], [3.0]]), torch.zeros(2))])
        >>> list(found), found["0"].mean.tolist(), found["0"].deviation.tolist()
        (['0'], [3.0], [1.0])
    """
    outputs = StateOutputs(model, seed=seed)
    return statistics_of(outputs, fit_state(model, state), HeldBatches(batches, device=outputs.device))


def statistics_of(outputs: StateOutputs, state: State, batches: Iterable[Batch]) -> dict[str, ChannelStatistics]:
    """The same of a state that fits already."""
    found = _measured(outputs, state, batches, goals=None)
    return {path: ChannelStatistics(moments.mean, moments.deviation) for path, moments in list(found.items())[:-1]}


def repair(
    model: nn.Module,
    state: State,
    goals: Mapping[str, ChannelStatistics],
    batches: Iterable[Batch],
    *,
    passes: int = 1,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    r"""Give every channel of a network's layers the mean and deviation that it should have.

    For a channel of mean \(\mu\) and deviation \(\sigma\) that should be \(\mu^*\) and \(\sigma^*\), weights and bias
    become \(w' = w \sigma^* / \sigma\) and \(b' = (b - \mu) \sigma^* / \sigma + \mu^*\). In the first pass every
    channel of every batch is set right by the batch's own moments before the next layer sees it, so one pass serves all
    layers; what is folded into the weights are the moments of all batches together. Further passes measure the folded
    network and fold once more.

    A layer without a bias keeps its weights' form: its deviation is set right, its mean is scaled along with it.
    Channels that hardly vary (deviation below 1e-6 of the layer's largest) are shifted and not scaled. Layers that
    normalise or share their weights, and attention's fused projections, are left as they are, as is the last layer.

    Args:
        model: the network.
        state: the weights to run it with.
        goals: what each layer should have: `ChannelStatistics.blended` of both end networks' `channel_statistics`.
        batches: pairs of inputs and targets, of training data best; targets are not looked at.
        passes: over the batches.
        seed: of random layers.

    Returns:
        The state under its own names, on the model's device, weights and biases of the layers in `goals` changed.

    Raises:
        ValueError: there is no batch, or `passes` is below 1.
        SourceError: the state or the data do not fit the model.

    **Source:** Jordan and others, *REPAIR: REnormalizing Permuted Activations for Interpolation Repair* (2023). Theirs
    wraps convolutions in batch norms and fuses these back; hooks do the same here, for linear layers too, and the
    moments are pooled over batches as in `recalibrate`.

    Example:
        >>> layers = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        >>> batches = [(torch.tensor([[1.0], [3.0]]), torch.zeros(2))]
        >>> goals = {"0": ChannelStatistics(torch.tensor([5.0]), torch.tensor([2.0]))}
        >>> mended = repair(layers, layers.state_dict(), goals, batches)
        >>> after = channel_statistics(layers, mended, batches)["0"]
        >>> [round(value, 4) for value in (after.mean.item(), after.deviation.item())]
        [5.0, 2.0]
    """
    outputs = StateOutputs(model, seed=seed)
    fitted = fit_state(model, state)
    changed = {name: fitted[name].clone() for path in goals for name in _own_names(path, fitted)}
    set_right(outputs, fitted | changed, goals, HeldBatches(batches, device=outputs.device), passes=passes)
    mended, first = fitted | changed, first_names(model)
    return {name: mended[first[name]] for name in state if name in first}


def set_right(
    outputs: StateOutputs,
    state: State,
    goals: Mapping[str, ChannelStatistics],
    batches: Iterable[Batch],
    *,
    passes: int = 1,
) -> None:
    """Write repaired weights into a state's own tensors: see `repair`."""
    if passes < 1:
        message = f"passes must be 1 or more, not {passes}"
        raise ValueError(message)
    layers = repairable_layers(outputs.model)
    for number in range(passes):
        found = _measured(outputs, state, batches, goals=goals if number == 0 else None)
        for path, moments in found.items():
            if path in goals:
                _fold(layers[path], {name: state[name] for name in _own_names(path, state)}, moments, goals[path])


def _own_names(path: str, state: State) -> list[str]:
    prefix = f"{path}." if path else ""
    return [name for name in (f"{prefix}weight", f"{prefix}bias") if name in state]


def _measured(
    outputs: StateOutputs, state: State, batches: Iterable[Batch], *, goals: Mapping[str, ChannelStatistics] | None
) -> dict[str, ChannelMoments]:
    """Moments of what each layer gives, in the order of the first calls; with goals, of what it gives behind them."""
    sums: dict[str, PooledMoments] = {}
    with ExitStack() as hooks:
        for path, layer in repairable_layers(outputs.model).items():
            hook = _Measuring(sums, path, None if goals is None else goals.get(path))
            hooks.callback(layer.register_forward_hook(hook).remove)
        outputs.run_through(state, batches)
    return {path: found.moments() for path, found in sums.items()}


class _Measuring:
    """A hook that sees what a layer gives, and sets it right by the batch's own moments where there is a goal."""

    def __init__(self, sums: dict[str, PooledMoments], path: str, goal: ChannelStatistics | None) -> None:
        self._sums, self._path, self._goal = sums, path, goal

    def __call__(self, layer: Any, _given: tuple[Any, ...], values: torch.Tensor) -> torch.Tensor | None:  # noqa: ANN401
        """Measure; give what goes on, or None for the values as they are."""
        axis = values.ndim - 1 if isinstance(layer, nn.Linear) else values.ndim - len(layer.kernel_size) - 1
        moments = channel_moments(values, axis)
        self._sums.setdefault(self._path, PooledMoments()).add(moments)
        if self._goal is None:
            return None
        factor, shift = _correction(moments, self._goal, has_bias=layer.bias is not None)
        shape = [-1 if place == axis else 1 for place in range(values.ndim)]
        return values * factor.to(values.dtype).reshape(shape) + shift.to(values.dtype).reshape(shape)


def _correction(
    moments: ChannelMoments, goal: ChannelStatistics, *, has_bias: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and shift of each channel that bring its moments to the goal."""
    deviation = moments.deviation
    wanted = goal.deviation.to(deviation)
    varies = deviation > CONSTANT * deviation.max()
    factor = torch.where(varies, wanted / torch.where(varies, deviation, 1.0), 1.0)
    shift = goal.mean.to(deviation) - moments.mean * factor
    return factor, shift if has_bias else torch.zeros_like(shift)


def _fold(layer: nn.Module, tensors: State, moments: ChannelMoments, goal: ChannelStatistics) -> None:
    """Scale the weights of each channel and move its bias, in place."""
    weight, bias = (
        next((tensors[name] for name in tensors if name.endswith(part)), None) for part in ("weight", "bias")
    )
    factor, shift = _correction(moments, goal, has_bias=bias is not None)
    if weight is None:
        return
    if isinstance(layer, _ConvTransposeNd):  # (in, out / groups, ...): the groups lie along the inputs
        apart = weight.view(layer.groups, -1, *weight.shape[1:])
        apart.mul_(factor.to(weight.dtype).reshape(layer.groups, 1, -1, *[1] * (weight.ndim - 2)))
    else:
        weight.mul_(factor.to(weight.dtype).reshape(-1, *[1] * (weight.ndim - 1)))
    if bias is not None:
        bias.copy_(bias * factor.to(bias.dtype) + shift.to(bias.dtype))
