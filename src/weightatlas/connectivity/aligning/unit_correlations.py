"""How the activations of one network's units go with those of another's, on the same inputs: correlations, streamed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.connectivity.aligning.states import FIRST, SECOND
from weightatlas.evaluation.states import StateOutputs, fit_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.anatomy.symmetries.layout import Layout
    from weightatlas.anatomy.symmetry import Symmetries
    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.states import State

SMALL: Final = 1e-4
"""Added to the product of deviations, so that units that hardly vary go with none."""

SAMPLES: Final = 2**15
"""Most places (examples × positions) of a batch at which the units of a layer are looked at, evenly spaced."""


@dataclass(frozen=True, slots=True, eq=False)
class Carrier:
    """A layer whose units are the entries of groups.

    Attributes:
        path: of the module.
        module: the layer.
        layout: of its units.
        channels: which axis of its output they are.
    """

    path: str
    module: nn.Module
    layout: Layout
    channels: int

    def rows(self, output: torch.Tensor) -> torch.Tensor:
        """Its output as a matrix (places, units), at most `SAMPLES` of the places."""
        flat = output.detach().movedim(self.channels, -1).flatten(0, -2)
        step = -(-len(flat) // SAMPLES)
        return flat[::step].float()


def carriers_of(model: nn.Module, symmetries: Symmetries) -> list[Carrier]:
    """The layers (linear, convolution, embedding) whose units some group moves."""
    found = []
    for path, module in model.named_modules():
        place = _units(module)
        if place is None:
            continue
        parameter, axis, channels = place
        layouts = symmetries.layouts.get(f"{path}.{parameter}" if path else parameter)
        if layouts is not None and "[" in str(layouts[axis]):
            found.append(Carrier(path, module, layouts[axis], channels))
    return found


def _units(module: nn.Module) -> tuple[str, int, int] | None:
    """A parameter, which of its axes is that of the layer's units, and which axis of the output."""
    if isinstance(module, nn.Linear):
        return "weight", 0, -1
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return "weight", 0, 1
    if isinstance(module, nn.Embedding):
        return "weight", 1, -1
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)) and module.groups == 1:
        return "weight", 1, 1
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # GPT-2's linear layer, (inputs, units)
        return "weight", 1, -1
    return None


class Correlation:
    """Sums over places from which the correlations of two networks' units come, in float64 about a first mean."""

    def __init__(self) -> None:
        """Nothing has been seen."""
        self.count = 0
        self._shift: tuple[torch.Tensor, torch.Tensor] | None = None
        self._sums: list[torch.Tensor] = []

    def add(self, ours: torch.Tensor, theirs: torch.Tensor) -> None:
        """Look at more places.

        Args:
            ours: (places, units) of the first network.
            theirs: the same of the second.
        """
        if self._shift is None:
            self._shift = ours.mean(0), theirs.mean(0)
        x, y = ours - self._shift[0], theirs - self._shift[1]
        sums = [x.sum(0), y.sum(0), x.square().sum(0), y.square().sum(0), x.T @ y]
        wide = torch.float32 if x.device.type == "mps" else torch.float64
        more = [one.to(wide) for one in sums]
        self._sums = [old + new for old, new in zip(self._sums, more, strict=True)] if self._sums else more
        self.count += len(x)

    def matrix(self) -> torch.Tensor:
        """Correlations (units of the first, units of the second); float64."""
        x, y, xx, yy, xy = (one / self.count for one in self._sums)
        deviations = torch.outer((xx - x.square()).clamp_min(0).sqrt(), (yy - y.square()).clamp_min(0).sqrt())
        return (xy - torch.outer(x, y)) / (deviations + SMALL)


def unit_correlations(
    model: nn.Module, a: State, b: State, carriers: Iterable[Carrier], data: Iterable[Batch], *, seed: int
) -> dict[str, torch.Tensor]:
    """Run two networks on the same inputs, in evaluation mode, and correlate the units of layers.

    Args:
        model: the network; neither its weights nor its mode are changed.
        a: state of the first.
        b: state of the second.
        carriers: the layers.
        data: batches of inputs and targets.
        seed: of what random layers draw, the same in both.

    Returns:
        By path of the layer (units of the first, units of the second), float64 on the CPU; layers that did not run are
        left out.

    Raises:
        SourceError: the states or the data do not fit the network.
    """
    carriers = list(carriers)
    sums = {carrier.path: Correlation() for carrier in carriers}
    run = StateOutputs(model, seed=seed)
    states = [fit_state(model, state, name=name) for state, name in ((a, FIRST), (b, SECOND))]
    for inputs, _ in data:
        seen = []
        for state in states:
            with run.ready(), _outputs(carriers) as outputs:
                run(state, inputs.to(run.device))
            seen.append(outputs)
        for carrier in carriers:
            for ours, theirs in zip(*(one[carrier.path] for one in seen), strict=True):
                sums[carrier.path].add(ours, theirs)
    return {path: one.matrix().cpu() for path, one in sums.items() if one.count}


@contextmanager
def _outputs(carriers: Iterable[Carrier]) -> Iterator[dict[str, list[torch.Tensor]]]:
    """What the layers give, in the order of their calls, while this is open."""
    found: dict[str, list[torch.Tensor]] = {}
    with ExitStack() as stack:
        for carrier in carriers:
            kept = found.setdefault(carrier.path, [])

            def keep(_: nn.Module, __: Any, output: Any, carrier: Carrier = carrier, kept: Any = kept) -> None:  # noqa: ANN401
                kept.append(carrier.rows(output))

            stack.callback(carrier.module.register_forward_hook(keep).remove)
        yield found
