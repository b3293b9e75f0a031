"""Batch-norm statistics estimated anew, for weights that no network was trained with."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.pooled_moments import PooledMoments, channel_moments
from weightatlas.evaluation.states import COUNTER, StateOutputs, first_names, fit_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.states import State


def batch_norms(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that normalise by running estimates in evaluation mode, by path.

    That is every module with a buffer `running_var` of its own (and mostly `running_mean`): torch's batch norms and all
    that extend them, timm's norms with activations, batch-channel norm, whose batch part it is. Not among them: frozen
    batch norms, whose figures are constants of the network, instance norms, whose estimates are of single examples, and
    what is left of norms in an exported graph.

    Example:
        >>> list(batch_norms(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))))
        ['1']
    """
    return {
        name: module
        for name, module in model.named_modules()
        if dict(module.named_buffers(recurse=False)).get("running_var") is not None
        and type(module) is not nn.Module
        and not isinstance(module, _InstanceNorm)
        and "Frozen" not in type(module).__name__
        and hasattr(type(module), "forward")
    }


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether a network has statistics that `recalibrate` estimates."""
    return bool(batch_norms(model))


def has_fixed_statistics(model: nn.Module) -> bool:
    """Whether a network is an exported graph with batch norms: their buffers are there, the modules are not.

    Example:
        >>> has_fixed_statistics(nn.BatchNorm2d(4))
        False
    """
    return any(
        type(module) is nn.Module and "running_var" in dict(module.named_buffers(recurse=False))
        for module in model.modules()
    )


def recalibrate(
    model: nn.Module, state: State, batches: Iterable[Batch], *, passes: int = 1, seed: int = 0
) -> dict[str, torch.Tensor]:
    r"""Estimate the batch-norm statistics of a network with other weights anew.

    Averaged weights give activations whose variance has collapsed; the averaged running estimates do not know. In the
    first pass every norm normalises each batch by the batch's own moments, as in training; its new estimates are those
    of all batches together: with \(n_b\) values of mean \(m_b\) and (biased) variance \(v_b\) in a channel,
    \(\mu = \sum n_b m_b / n\) and \(\sigma^2 = \sum n_b (v_b + (m_b - \mu)^2) / (n - 1)\).

    Torch's way (`update_bn`, momentum None) is the plain mean of \(m_b\) and of unbiased \(v_b\). It leaves out how the
    batches' means differ and counts a short last batch like a full one; where batches are sorted by class, or small,
    its variance is too low. The pooled variance is exact for the first norm however the data are dealt; and the same
    passes give it. Norms further in still see what each batch's own moments made of the layers before. `passes` above
    one go through the batches again in evaluation mode, by the estimates of the pass before: after as many passes as
    there are norms in a row all of them are exactly the statistics of these examples.

    Dropout is off and all else is in evaluation mode; the network itself stays as it is.

    Args:
        model: the network.
        state: the weights to run it with.
        batches: pairs of inputs and targets, of training data best; targets are not looked at.
        passes: over the batches.
        seed: of random layers.

    Returns:
        The state under its own names, on the model's device: new `running_mean`, `running_var` and, of the batches,
        `num_batches_tracked`; all else as it was.

    Raises:
        ValueError: there is no batch, or `passes` is below 1.
        SourceError: the state or the data do not fit the model.

    **Source:** Izmailov and others, *Averaging Weights Leads to Wider Optima* (2018), for a pass that estimates anew;
    Jordan and others, *REPAIR* (2023), for its part in joining networks. Pooling and further passes are ours.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(1)
        >>> found = recalibrate(norm, norm.state_dict(), [(torch.tensor([[1.0], [3.0]]), torch.zeros(2))])
        >>> found["running_mean"].item(), found["running_var"].item(), norm.running_mean.item()
        (2.0, 2.0, 0.0)
    """
    outputs = StateOutputs(model, seed=seed)
    fitted = fit_state(model, state)
    fresh = {name: fitted[name].clone() for name in statistics_names(model)}
    estimate_statistics(outputs, fitted | fresh, HeldBatches(batches, device=outputs.device), passes=passes)
    first = first_names(model)
    given = fitted | fresh
    return {name: given[first[name]] for name in state if name in first}


def statistics_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the buffers that `recalibrate` writes."""
    first = first_names(model)
    return tuple(
        dict.fromkeys(
            first[f"{path}.{name}" if path else name]
            for path, module in batch_norms(model).items()
            for name, buffer in module.named_buffers(recurse=False)
            if buffer is not None and name in ("running_mean", "running_var", COUNTER)
        )
    )


def estimate_statistics(outputs: StateOutputs, state: State, batches: Iterable[Batch], *, passes: int = 1) -> None:
    """Write new statistics into a state's own tensors: see `recalibrate`.

    Args:
        outputs: of the network.
        state: as `fit_state` gives it, the tensors of `statistics_names` to be written into.
        batches: at least one; gone through once a pass.
        passes: over the batches.

    Raises:
        ValueError: `passes` is below 1.
        SourceError: the network cannot take the inputs.
    """
    if passes < 1:
        message = f"passes must be 1 or more, not {passes}"
        raise ValueError(message)
    norms = batch_norms(outputs.model)
    for number in range(passes):
        sums: dict[str, PooledMoments] = {}
        with ExitStack() as hooks:
            for path, norm in norms.items():
                hook = _Measuring(sums, path, replacing=number == 0)
                hooks.callback(norm.register_forward_pre_hook(hook, with_kwargs=True).remove)
            seen = outputs.run_through(state, batches)
        for path, found in sums.items():
            moments, prefix = found.moments(), f"{path}." if path else ""
            for name, values in (("running_mean", moments.mean), ("running_var", moments.unbiased)):
                if prefix + name in state:
                    state[prefix + name].copy_(values)
            if prefix + COUNTER in state:
                state[prefix + COUNTER].fill_(seen)


class _Measuring:
    """A hook that sees what reaches a norm; in the first pass the norm then goes by that batch's own moments."""

    def __init__(self, sums: dict[str, PooledMoments], path: str, *, replacing: bool) -> None:
        self._sums, self._path, self._replacing = sums, path, replacing

    def __call__(self, norm: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Measure the first argument; channels are its axis 1, or its last one where only that fits."""
        values: torch.Tensor = arguments[0] if arguments else next(iter(named.values()))
        buffers = dict(norm.named_buffers(recurse=False))
        channels = buffers["running_var"].numel()
        moments = channel_moments(values, axis=1 if values.shape[1] == channels else -1)
        self._sums.setdefault(self._path, PooledMoments()).add(moments)
        if self._replacing:
            buffers["running_var"].copy_(moments.variance)
            if "running_mean" in buffers:
                buffers["running_mean"].copy_(moments.mean)
