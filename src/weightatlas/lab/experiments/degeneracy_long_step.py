"""One step as long as the weights along directions that are called free: do the outputs stay as they are?"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from weightatlas.data.seeds import derived_seed
from weightatlas.degeneracy.grams import layer_grams
from weightatlas.evaluation.mean_loss import first_examples
from weightatlas.evaluation.modes import in_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from weightatlas.degeneracy.layer_gram import LayerGram
    from weightatlas.evaluation.batches import Batch


@dataclass(frozen=True, slots=True)
class LongStep:
    """How far the outputs go when the weights do.

    Attributes:
        along_free: relative change of the outputs after a step along directions freed by activations; NaN where no
            layer has any.
        along_random: after a step of the same lengths in any directions of the same layers.
        layers: in how many layers the step was taken.
    """

    along_free: float
    along_random: float
    layers: int


def long_step(model: nn.Module, data: Iterable[Batch], *, examples: int | None = None, seed: int = 0) -> LongStep:
    r"""Take one long step along directions that are called free, and one as long along any others.

    In every layer whose weights are parameters as they stand and whose activations depend linearly on each other,
    \(\Delta W = U V^\top\) with V an orthonormal basis of the null space of the activations (a bias is the weight of a
    constant 1) and U drawn from a normal distribution, scaled to \(\|\Delta W\| = \|W\|\): a step as long as the
    weights, in all such layers at once.
    These directions are free to all orders, so the outputs on the same data must be what they were. What comes back is
    \(\|f(\theta + \Delta) - f(\theta)\| / \|f(\theta)\|\) over all outputs on these data, in float64. Beside it the
    same for a step of the same lengths drawn from all of each layer's weights.

    Args:
        model: measured in evaluation mode, in a copy.
        data: pairs of inputs and targets, of which the inputs count.
        examples: how many at most, the first ones.
        seed: of both steps.

    Raises:
        SourceError: the network cannot be followed.

    **Source:** ours: Bushnaq and others (2405.10927) call a parameter degenerate if the network's behaviour does not
    depend on it; this looks.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> inputs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        >>> inputs[:, 2] = inputs[:, 0]  # two inputs are the same
        >>> step = long_step(network, [(inputs, inputs)])
        >>> step.layers, step.along_free < 1e-9, step.along_random > 0.1
        (1, True, True)
    """
    double = copy.deepcopy(model).double()
    device = next((parameter.device for parameter in double.parameters()), torch.device("cpu"))
    batches = [(_double(inputs), targets) for inputs, targets in first_examples(data, examples, device)]
    grams = layer_grams(double, batches, gradients=False)
    generator = torch.Generator().manual_seed(derived_seed(seed, 1))
    free: dict[str, torch.Tensor] = {}
    random: dict[str, torch.Tensor] = {}
    layers = 0
    parameters = dict(double.named_parameters())
    for layer in grams.layers:
        if layer.is_derived or not any(null.shape[1] for null in layer.free_inputs()):
            continue
        layers += 1
        own = torch.cat([parameters[layer.weight].detach().flatten(), *_bias(layer, parameters)])
        for steps, step in ((free, _null_step(layer, generator)), (random, _any_step(layer, generator))):
            _put(steps, layer, step * (own.norm() / step.norm()).cpu())
    if not layers:
        return LongStep(math.nan, math.nan, 0)
    with in_mode(double, training=False), torch.no_grad():
        before = _outputs(double, batches)
        after = [_moved(double, steps, batches) for steps in (free, random)]
    along = [float((outputs - before).norm() / before.norm()) for outputs in after]
    return LongStep(along[0], along[1], layers)


def _null_step(layer: LayerGram, generator: torch.Generator) -> torch.Tensor:
    """A random step along null directions of the activations, (groups, units, width)."""
    steps = []
    for vectors in layer.free_inputs():
        null = torch.from_numpy(vectors)
        steps.append(torch.randn(layer.units, null.shape[1], generator=generator, dtype=torch.float64) @ null.mT)
    return torch.stack(steps)


def _any_step(layer: LayerGram, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(layer.groups, layer.units, layer.width, generator=generator, dtype=torch.float64)


def _put(steps: dict[str, torch.Tensor], layer: LayerGram, step: torch.Tensor) -> None:
    """Write a step (groups, units, width) as changes of the parameters."""
    for group, matrix in enumerate(step.numpy()):
        for name, change in layer.placed(matrix, group).items():
            steps[name] = steps[name] + change if name in steps else change


def _bias(layer: LayerGram, parameters: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    return [] if layer.bias is None else [parameters[layer.bias].detach()]


def _moved(model: nn.Module, steps: dict[str, torch.Tensor], batches: list[Batch]) -> torch.Tensor:
    """The outputs after a step, which is taken back."""
    parameters = dict(model.named_parameters())
    kept = {name: parameters[name].clone() for name in steps}
    for name, step in steps.items():
        parameters[name].add_(step.to(parameters[name]))
    outputs = _outputs(model, batches)
    for name, before in kept.items():
        parameters[name].copy_(before)
    return outputs


def _outputs(model: nn.Module, batches: list[Batch]) -> torch.Tensor:
    return torch.cat([model(inputs).flatten(1) for inputs, _ in batches])


def _double(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.double() if inputs.is_floating_point() else inputs
