"""Gram matrices of what every layer of a network is given and of what its outputs are worth, streamed over data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from weightatlas.degeneracy.accumulating.layer_sums import CountSum, LayerSums, SecondLook
from weightatlas.degeneracy.accumulating.passes import BATCH, Passes
from weightatlas.degeneracy.accumulating.rounding import rounding
from weightatlas.degeneracy.layer_gram import LayerGram
from weightatlas.degeneracy.spectra import Factor, gram_noise, settled
from weightatlas.errors import SourceError
from weightatlas.progress import Progress, silent
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torch import nn

    from weightatlas.degeneracy.accumulating.sums import Precision
    from weightatlas.evaluation.batches import Batch

WIDEST = 16_384
"""The widest Gram matrix that is kept without being asked for: 2 GiB."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerGrams:
    """The Gram matrices of a network's layers on some data.

    Attributes:
        layers: in the order of their first use.
        examples: n.
        outputs: numbers that the network gives of an example.
        probes: random combinations of outputs that the gradients are of; None: of every output.
        skipped: why the weights of other modules are in none, by the module's path; and why a bias is in none though
            its weights are, by its name.
    """

    layers: tuple[LayerGram, ...]
    examples: int
    outputs: int
    probes: int | None
    skipped: Mapping[str, str]

    def __getitem__(self, layer: str) -> LayerGram:
        """The layer of this name.

        Raises:
            KeyError: there is none.
        """
        for one in self.layers:
            if one.layer == layer:
                return one
        raise KeyError(layer)


def layer_grams(
    model: nn.Module,
    data: Iterable[Batch],
    *,
    layers: Collection[str] | None = None,
    examples: int | None = None,
    precision: Precision = "float64",
    gradients: bool = True,
    probes: int | None = None,
    dtype: torch.dtype | None = None,
    widest: int = WIDEST,
    batch_size: int = BATCH,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> LayerGrams:
    r"""Sum the Gram matrices of activations and of gradients at every matrix of weights of a network.

    `LayerGram` has the definition. Any amount of data is gone through in the memory of the sums and of the graph of
    `batch_size` examples. Where a matrix has eigenvalues that it cannot tell from 0, the data are gone through once
    more, along these directions only and without squaring: so null vectors are right to 7e-11 of the largest singular
    value, where those of a Gram matrix alone are to 1e-8.

    Followed is what the network multiplies by, whichever module does it: linear layers, convolutions and transposed
    convolutions of 1 to 3 axes with groups, strides, dilation and any padding, transformers' `Conv1D`, the projections
    of `nn.MultiheadAttention` (each as a layer of its own), matrices that are multiplied from the right, embeddings;
    subclasses, parametrised ones, and several calls of one module, which add up. A norm's scale is no such matrix. A
    bias that is used elsewhere too (subtracted from the inputs of an autoencoder, or added in two layers) is left out
    of its layers: what is free of their weights alone is free.

    The network runs in evaluation mode, is put back into its own, and is not changed.

    Args:
        model: inputs to a tensor, or to an object or mapping with logits.
        data: pairs of inputs and targets, the same in every pass; targets are not looked at.
        layers: names of these, or of modules that contain them; None is all.
        examples: of the data, the first ones; None is all.
        precision: of the sums, as `GramSum` says: "compensated" takes half the time of a product in float64, and tells
            singular values from 0 only above 2e-3 of the largest.
        gradients: whether K is wanted; it takes one pass back for each output.
        probes: so many combinations of outputs with random weights, drawn for every example, in place of each output. K
            is then right in the mean. Null vectors stay so for others as many, and more are drawn until none is lost:
            then they are, with probability 1, those of every output. Compensated sums are of the first ones alone.
        dtype: the network is run in this type, as a copy of its own; None is its own. In float32 what layers are given
            carries rounding, and singular values below that are noise: it is measured on the first examples against a
            copy in float64, and no rank counts what is below.
        widest: layers of more activations or outputs than this are skipped.
        batch_size: examples at a time.
        seed: of probes, and of layers that draw.
        device: where it runs; None is where the network is.
        progress: told of examples.

    Raises:
        SourceError: a layer is not there; the network cannot be followed, takes no such inputs or gives no tensor; a
            second pass gives other data.
        NotFiniteError: what goes into a layer, or a gradient, is NaN or infinite.
        ValueError: there are no examples, or a number is below 1.

    **Source:** Bushnaq et al., "Using Degeneracy in the Loss Landscape for Mechanistic Interpretability"
    (arXiv 2405.10927), which defines the degeneracies and names no algorithm; the second pass is ours.

    Example:
        >>> model = torch.nn.Linear(3, 2, bias=False)
        >>> inputs = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
        >>> found = layer_grams(model, [(inputs, torch.zeros(2))]).layers[0]
        >>> found.activation_ranks(), found.gradient_ranks(), found.rank()
        ((2,), (2,), 4)
        >>> bool(abs(inputs.double().numpy() @ found.free_inputs()[0]).max() < 1e-12)
        True
    """
    passes = Passes(
        model,
        data,
        examples=examples,
        probes=probes,
        dtype=dtype,
        seed=seed,
        batch_size=batch_size,
        device=device,
    )
    asked = None if layers is None else tuple(layers)
    sums = LayerSums(precision=precision, widest=widest, is_asked=lambda layer: _is_asked(layer, asked))
    back = sums.add_gradients if gradients else None
    passes.run(sums.add_activations, back, progress=progress, label="Gram matrices", wants=sums.wants)
    skipped = {**passes.skipped, **sums.too_wide}
    names = [layer for layer in sums.sites if layer not in skipped]
    sums.leave_out(passes.loose)
    _check_asked(model, asked, (*passes.layers, *skipped))
    sums.check(names)
    for layer in names:
        if gradients and layer not in sums.gradients and layer not in passes.blind:
            sums.add_nothing(layer, passes.device)
    look = SecondLook(sums, names)
    if precision == "float64" and look.is_needed:
        back = look.add_gradients if look.needs_gradients else None
        passes.run(look.add_activations, back, progress=progress, label="null vectors", wants=look.wants, draw=1)
        if probes is not None and look.needs_gradients:
            _look_on(look, passes, progress)
    shares: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {})
    if passes.dtype != torch.float64:
        shares = rounding(passes, wants=sums.wants, gradients=gradients)
    floor = gram_noise(torch.float64 if precision == "float64" else torch.float32)
    return LayerGrams(
        tuple(_finished(layer, sums, look, passes, floor=floor, shares=shares) for layer in names),
        passes.examples,
        passes.outputs,
        probes,
        {layer: reason for layer, reason in skipped.items() if _is_asked(layer, asked)},
    )


def _look_on(look: SecondLook, passes: Passes, progress: Progress) -> None:
    """Draw other combinations of outputs until these leave every null vector what it is.

    If there were an output that one of them is no null vector of, the next combination would not be either, with
    probability 1.
    """
    before: tuple[int, ...] = ()
    draw = 1
    while (ranks := look.gradient_ranks()) != before:
        before, draw = ranks, draw + 1
        look.look_again()
        passes.run(
            lambda *_: None,
            look.add_gradients,
            progress=progress,
            label="null vectors of other outputs",
            wants=look.wants_gradients,
            draw=draw,
        )


def _finished(
    layer: str,
    sums: LayerSums,
    look: SecondLook,
    passes: Passes,
    *,
    floor: float,
    shares: tuple[Mapping[str, float], Mapping[str, float]],
) -> LayerGram:
    """Divide one layer's sums, and join its spectra."""
    total = sums.activations[layer]
    positions = total.positions
    activations = (total.matrix() / positions).cpu().numpy()
    if isinstance(total, CountSum):
        values = np.sort(np.sqrt(activations[0]))[::-1]
        inputs: tuple[Factor, ...] = (Factor(values, np.zeros((len(values), 0)), 0.0),)
    else:
        inputs = settled(
            look.inputs[layer], look.input_triangles(layer), positions, floor=floor, share=shares[0].get(layer, 0.0)
        )
    gradients, outputs = None, None
    if layer in look.outputs:
        count = passes.examples * (passes.probes or 1)
        gradients = (sums.gradients[layer].matrix() / count).cpu().numpy()
        outputs = settled(
            look.outputs[layer], look.output_triangles(layer), count, floor=floor, share=shares[1].get(layer, 0.0)
        )
    return LayerGram(sums.sites[layer], positions, passes.examples, activations, gradients, inputs, outputs)


def _is_asked(layer: str, asked: Collection[str] | None) -> bool:
    return asked is None or any(layer == name or layer.startswith(f"{name}.") for name in asked)


def _check_asked(model: nn.Module, asked: Collection[str] | None, known: Collection[str]) -> None:
    """Refuse names that neither a layer nor a module with layers inside has."""
    for name in asked or ():
        if not any(_is_asked(layer, (name,)) for layer in known):
            listed = ", ".join(known) or "none"
            problem = f"it has no weights under {printable(name, limit=80)}"
            raise SourceError(type(model).__name__, problem, f"it has {printable(listed, limit=300)}")
