"""Another normalisation for a network that exists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.modules.conv import _ConvNd

from weightatlas.errors import SourceError
from weightatlas.nn.conversion.convolution_kinds import is_convolution, standardises_already
from weightatlas.nn.conversion.modules import copied, described, model_name, refuse_what_cannot_change, replaced
from weightatlas.nn.conversion.norm_kinds import WORDS, read_norm
from weightatlas.nn.conversion.norm_replacement import Place, forget_estimates, is_already, new_norm
from weightatlas.nn.conversion.options import ConversionOptions
from weightatlas.nn.conversion.pairs import read_wiring
from weightatlas.nn.conversion.report import Conversion, ConvertedLayer
from weightatlas.nn.conversion.weight_replacement import is_standardized, standardized_convolution, why_not
from weightatlas.wording import counted

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.nn.conversion.norm_kinds import Norm
    from weightatlas.nn.conversion.pairs import Wiring
    from weightatlas.nn.conversion.recipes import Recipe
    from weightatlas.nn.standardization import Standardization


def convert(
    model: nn.Module,
    recipe: str,
    *,
    groups: int = 32,
    depthwise: bool = False,
    standardized: Literal["followed", "all"] = "followed",
    how: Standardization | str = "timm",
    rate: float = 0.1,
    warmup: int = 0,
    example_inputs: object = None,
    in_place: bool = False,
) -> Conversion:
    """Standardise the weights of a network's convolutions, and put another norm in the place of each.

    A recipe is `[WEIGHTS+]NORM`, or WEIGHTS alone, which leaves the norms. WEIGHTS: "ws" standardises the weights of
    every convolution that a norm stands right behind, "centred" only takes their mean away, "scaled" only divides them
    by their deviation. NORM: "bn" batch norm; "syncbn" batch norm over all processes (`synchronised`); "gn" group norm;
    "bcn" batch-channel norm of large batches; "micro-bcn" that of micro-batches, by running estimates; "in" instance
    norm.

    - A norm stands right behind a convolution if its input is the tensor that the convolution gave, perhaps through
      identities and dropout: not a sum, a concatenation or an activation of it. One pass without values shows that.
      What it cannot reach (a detector's heads, behind its non-maximum suppression) is told from the order of the
      modules; the report says "order" there, and "seen" elsewhere.
    - Batch norms (synchronised and frozen ones too), group, instance and batch-channel norms are replaced, wherever
      they stand; activations that belong to them (timm's `BatchNormAct2d`) stay with the new ones. Layer norms stay:
      they normalise the channels of a position and know no batch.
    - Convolutions keep their parameters, biases too. What a norm holds is carried over where it means the same: see
      the `carried` of the report. Running estimates are not, where the weights before them are standardised now: those
      begin anew. A residual branch that begins at zero still does: in batch-channel norm the weight of the channel
      part becomes zero then. Whatever is carried, a network that computes something else needs training.
    - Device, dtype, training mode, epsilon, momentum and what is trained stay as they were.

    Args:
        model: any network of torch: torchvision's, timm's and transformers' detectors, segmenters and networks of video
            included.
        recipe: as above.
        groups: at most so many groups of channels in group norm and batch-channel norm: the largest divisor of the
            channels that leaves two or more in a group (`group_count`).
        depthwise: standardise depthwise convolutions as well: of 9 weights for one of 3 x 3.
        standardized: "all" standardises the convolutions that no norm is right behind, too, classifiers and the heads
            of detectors among them: what networks with their norms in front of the convolutions (pre-activation) need.
        how: the standardisation of "ws", one of `STANDARDIZATIONS`.
        rate: of the estimates of "micro-bcn".
        warmup: of "micro-bcn": the estimates begin as the average of so many batches. They are not carried over then.
        example_inputs: what the model takes: a tensor, a tuple of arguments or a mapping of them. Otherwise they are
            guessed from the model.
        in_place: change the model given, not a copy.

    Returns:
        The converted model and the report. The model given, its modes and torch's generators are left as they were.

    Raises:
        ValueError: the recipe, or an option, is none.
        SourceError: nothing in the model can be converted; it is scripted, compiled, wrapped or not built yet.

    **Source:** Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization (2019):
    the layers, and the rule that only convolutions followed by a norm are standardised. What is carried is ours.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        >>> conversion = convert(model, "ws+gn")
        >>> [type(layer).__name__ for layer in conversion.model]
        ['WSConv2d', 'GroupNorm', 'ReLU', 'Conv2d']
        >>> conversion.summary
        'Sequential to ws+gn: one of two convolutions and one of one norm converted'
        >>> conversion.rows()[2]["skipped"]
        'no norm is right behind it: the answer takes its output'
    """
    options = ConversionOptions.of(
        recipe, groups=groups, depthwise=depthwise, standardized=standardized, how=how, rate=rate, warmup=warmup
    )
    refuse_what_cannot_change(model)
    changed = model if in_place else copied(model)
    work = _Work(changed, read_wiring(changed, example_inputs=example_inputs), options)
    layers = work.layers()
    if all(layer.after is None for layer in layers):
        raise _nothing(model, options.recipe, layers)
    asked = str(options.recipe)
    return Conversion(model_name(model), replaced(changed, work.substitutes), asked, layers, work.wiring.stopped)


@dataclass(slots=True)
class _Work:
    """A conversion under way: the model, what is known of it, and what takes whose place."""

    model: nn.Module
    wiring: Wiring
    options: ConversionOptions
    substitutes: dict[nn.Module, nn.Module] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)

    def layers(self) -> tuple[ConvertedLayer, ...]:
        """Convert the convolutions, then the norms; give an entry for each, in the order of the modules."""
        modules = dict(self.model.named_modules())
        done = {name: self._convolution(name, one) for name, one in modules.items() if is_convolution(one)}
        known = {name: norm for name, module in modules.items() if (norm := read_norm(module)) is not None}
        done |= {name: self._norm(name, modules[name], norm) for name, norm in known.items()}
        return tuple(done[name] for name in modules if name in done)

    def _convolution(self, name: str, module: _ConvNd) -> ConvertedLayer:
        recipe, behind = self.options.recipe, self.wiring.behind[name]
        before, pair = type(module).__name__, ", ".join(behind) or None
        entry = ConvertedLayer(name, "convolution", before, pair=pair, evidence=self.wiring.evidence[name])
        if recipe.weights is None:
            return entry.left(f"{recipe} leaves convolutions as they are", standardized=is_standardized(module))
        reason = why_not(
            module,
            name,
            self.wiring,
            self.model,
            depthwise=self.options.depthwise,
            every=self.options.every,
            frozen_stay=recipe.norm is None,
        )
        made = reason or standardized_convolution(module, self.options.how)
        if isinstance(made, str):
            return entry.left(made, standardized=is_standardized(module) or standardises_already(module))
        new, after = made
        if new is not module:
            self.substitutes[module] = new
        self.fresh.add(name)
        return entry.done(after, standardized=True, carried="weights")

    def _norm(self, name: str, module: nn.Module, known: Norm) -> ConvertedLayer:
        before = self.wiring.sources(name)
        evidence = self.wiring.evidence[before[0]] if before else ""
        entry = ConvertedLayer(name, "norm", type(module).__name__, pair=", ".join(before) or None, evidence=evidence)
        target = self.options.recipe.norm
        fresh = any(one in self.fresh for one in before)
        if target is None or is_already(module, known, target):
            if fresh and forget_estimates(module):
                return entry.done(type(module).__name__, carried="all but the running estimates, which begin anew")
            reason = (
                f"{self.options.recipe} leaves norms as they are" if target is None else f"{WORDS[known.kind]} already"
            )
            return entry.left(reason)
        made = known.left or new_norm(module, known, target, self._place(name, module, before), self.options.norms)
        if isinstance(made, str):
            return entry.left(made)
        self.substitutes[module] = made.module
        return entry.done(type(made.module).__name__, groups=made.groups, carried=made.carried)

    def _place(self, name: str, module: nn.Module, before: tuple[str, ...]) -> Place:
        convolutions = [self.model.get_submodule(one) for one in before]
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        tensors += [one for convolution in convolutions for one in convolution.parameters()]
        likely = next((one for one in (*tensors, *self.model.parameters()) if one.is_floating_point()), torch.empty(0))
        return Place(
            axes=self.wiring.axes.get(name),
            dimensions=next((len(one.kernel_size) for one in convolutions if isinstance(one, _ConvNd)), None),
            fresh=any(one in self.fresh for one in before),
            trainable=all(one.requires_grad for convolution in convolutions for one in convolution.parameters()),
            device=likely.device,
            dtype=likely.dtype,
        )


def _nothing(model: nn.Module, recipe: Recipe, layers: tuple[ConvertedLayer, ...]) -> SourceError:
    """Say what there was, and the commonest reasons why it stays."""
    reasons = Counter(layer.skipped for layer in layers)
    why = "".join(f"; {counted(count, 'time')}: {reason}" for reason, count in reasons.most_common(2))
    problem = f"nothing in it becomes {recipe}: it has {described(model)}{why}"
    return SourceError(model_name(model), problem, "take a network of convolutions and batch norms, or another recipe")
