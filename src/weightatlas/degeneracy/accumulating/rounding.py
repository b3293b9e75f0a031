"""How much of what a layer is given, and of its gradients, is rounding: a network against itself in float64."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.degeneracy.accumulating.passes import Passes
from weightatlas.errors import SourceError
from weightatlas.progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.sites import Part, Site
    from weightatlas.degeneracy.accumulating.unfolding import Form

EXAMPLES: Final = 32
"""Examples that both are run on."""

PROBES: Final = 4
"""Combinations of outputs whose gradients are compared."""

GUESSED_UNITS: Final = 64
"""The share of rounding in eps, where it cannot be measured: ten layers of square roots of a hundred summands."""

Sides = dict[str, torch.Tensor]


def rounding(
    passes: Passes, *, wants: Callable[[Site], bool], gradients: bool
) -> tuple[dict[str, float], dict[str, float]]:
    r"""Measure the share of activations and of gradients that is rounding, layer by layer.

    \(\|F - F_{64}\| / \|F_{64}\|\) over the first examples, F as the network gives it and \(F_{64}\) as its copy in
    float64 does. By Weyl's inequality no singular value of F is further from one of \(F_{64}\) than
    \(\|F - F_{64}\|\), so that those below this cannot be told from 0.

    Args:
        passes: of the network in its own type.
        wants: whether a layer counts.
        gradients: whether theirs are measured too.

    Returns:
        Shares of activations and of gradients, by layer: 0 where inputs are the data themselves, and `GUESSED_UNITS`
        eps everywhere if the network cannot run in float64.
    """
    try:
        (inputs, outputs), (wide_inputs, wide_outputs) = (
            _kept(passes, dtype, wants=wants, gradients=gradients) for dtype in (None, torch.float64)
        )
    except (SourceError, TypeError, RuntimeError):
        guess = GUESSED_UNITS * torch.finfo(passes.dtype).eps
        return defaultdict(lambda: guess), defaultdict(lambda: guess)
    return _shares(inputs, wide_inputs), _shares(outputs, wide_outputs)


def _kept(
    passes: Passes, dtype: torch.dtype | None, *, wants: Callable[[Site], bool], gradients: bool
) -> tuple[Sides, Sides]:
    """What every layer is given, and its gradients, on the first examples."""
    few = Passes(
        passes.model,
        passes.batches,
        examples=EXAMPLES,
        probes=PROBES,
        dtype=dtype,
        seed=passes.seed,
        batch_size=EXAMPLES,
    )
    inputs: dict[str, list[torch.Tensor]] = {}
    outputs: dict[str, list[torch.Tensor]] = {}

    def keep(part: Part, found: Multiplied) -> None:
        if found.form.kind != "embedding":
            inputs.setdefault(part.site.layer, []).append(found.inputs.detach().double().flatten())

    def back(part: Part, form: Form, gradient: torch.Tensor) -> None:
        del form
        outputs.setdefault(part.site.layer, []).append(gradient.double().flatten())

    few.run(keep, back if gradients else None, progress=silent, label="rounding", wants=wants)
    return (
        {layer: torch.cat(each) for layer, each in inputs.items()},
        {layer: torch.cat(each) for layer, each in outputs.items()},
    )


def _shares(own: Sides, wide: Sides) -> dict[str, float]:
    shares: dict[str, float] = {}
    for layer, values in own.items():
        length = float(wide[layer].norm())
        shares[layer] = float((values - wide[layer]).norm()) / length if length else 0.0
    return shares
