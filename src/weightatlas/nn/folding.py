"""What training needed and use does not, taken out: standardised weights and batch norms become plain weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from torch import nn
from torch.nn.modules.conv import _ConvNd

from weightatlas.nn.conversion.absorption import absorb, cannot_absorb, never_absorbed
from weightatlas.nn.conversion.convolution_kinds import is_convolution, never_standardised
from weightatlas.nn.conversion.modules import copied, model_name, refuse_what_cannot_change, replaced
from weightatlas.nn.conversion.norm_kinds import read_norm
from weightatlas.nn.conversion.pairs import read_wiring
from weightatlas.nn.conversion.report import ConvertedLayer, Folding
from weightatlas.nn.conversion.weight_replacement import OURS, is_standardized, without_parametrization

if TYPE_CHECKING:
    from weightatlas.nn.conversion.norm_kinds import Norm
    from weightatlas.nn.conversion.pairs import Wiring

_WEIGHTS: Final = "standardised weights"


def fold(model: nn.Module, *, example_inputs: object = None) -> Folding:
    r"""Give the network that computes the same in evaluation, with plain weights in place of what made them.

    - Convolutions of standardised weights (`WSConv2d` and its kin) become plain ones, as does any module whose weights
      `standardized_parametrization` standardises: their weights are those that they convolved with.
    - A batch norm in evaluation (synchronised and frozen ones too) right behind a convolution becomes part of its
      weights and bias, if nothing else takes what that convolution gives; of batch-channel norm the batch part does,
      and the channel part stays as group norm. With the estimates $\mu$, $\sigma^2$ and the affine part $\gamma$,
      $\beta$ of a unit, $W' = \gamma W / \sqrt{\sigma^2 + \varepsilon}$ and
      $b' = \gamma (b - \mu) / \sqrt{\sigma^2 + \varepsilon} + \beta$.
    - All else stays: a norm in training mode, on a sum or a concatenation, or of another kind is a row with its reason.

    The answers are those of the model up to rounding; weights are computed in double precision and then rounded.

    Args:
        model: in evaluation mode, else its batch norms stay.
        example_inputs: what the model takes: a tensor, a tuple of arguments or a mapping of them. Otherwise they are
            guessed. Norms are folded only where a pass through the network was seen to its end.

    Returns:
        The new model and the report. The model given is left as it was.

    Raises:
        SourceError: the model is scripted, compiled, wrapped, or cannot be copied.

    **Source:** the fold of a batch norm is common practice, e.g. Jacob et al., Quantization and Training of Neural
    Networks (CVPR 2018), section 3.2; torch's `fuse_conv_bn_eval` does the same for one pair.

    Example:
        >>> from weightatlas.nn.convert import convert
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> fold(convert(model, "ws+bn").model.eval()).model
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
        )
    """
    refuse_what_cannot_change(model)
    changed = copied(model)
    work = _Work(changed, read_wiring(changed, example_inputs=example_inputs))
    layers = work.layers()
    return Folding(model_name(model), replaced(changed, work.substitutes), layers, work.wiring.stopped)


@dataclass(slots=True)
class _Work:
    """A folding under way: the model, what is known of it, what takes whose place, and the report."""

    model: nn.Module
    wiring: Wiring
    substitutes: dict[nn.Module, nn.Module] = field(default_factory=dict)
    done: dict[str, ConvertedLayer] = field(default_factory=dict)

    def layers(self) -> tuple[ConvertedLayer, ...]:
        """Make weights plain, then fold the norms; give an entry for each, in the order of the modules."""
        modules = dict(self.model.named_modules())
        norms = {name: norm for name, module in modules.items() if (norm := read_norm(module)) is not None}
        for name, module in modules.items():
            if is_convolution(module) or is_standardized(module):
                self.done[name] = self._plain(name, module)
        for name, known in norms.items():
            self.done[name] = self._absorbed(name, modules[name], known)
        return tuple(self.done[name] for name in modules if name in self.done)

    def _plain(self, name: str, module: nn.Module) -> ConvertedLayer:
        """Give a module the weights that it computed."""
        kind: Literal["convolution", "other"] = "convolution" if is_convolution(module) else "other"
        pair = ", ".join(self.wiring.behind.get(name, ())) or None
        evidence = self.wiring.evidence.get(name, "")
        entry = ConvertedLayer(name, kind, type(module).__name__, pair=pair, evidence=evidence)
        if isinstance(module, OURS):
            self.substitutes[module] = module.plain()
            return entry.done(type(self.substitutes[module]).__name__, carried=_WEIGHTS, standardized=False)
        reason = never_standardised(module) if isinstance(module, _ConvNd) else ""
        if is_standardized(module):
            if without_parametrization(module):
                return entry.done(type(module).__name__, carried=_WEIGHTS, standardized=False)
            return entry.left("a second tensor of it is parametrised too", standardized=True)
        return entry.left(reason or "its weights are plain, and nothing is folded into them", standardized=False)

    def _absorbed(self, name: str, norm: nn.Module, known: Norm) -> ConvertedLayer:
        """Make a norm a part of the convolution before it, if that is the same."""
        before = self.wiring.sources(name)
        evidence = self.wiring.evidence[before[0]] if before else ""
        entry = ConvertedLayer(name, "norm", type(norm).__name__, pair=", ".join(before) or None, evidence=evidence)
        reason = never_absorbed(norm, known)
        if not reason and len(before) != 1:
            reason = f"{'several convolutions are' if before else 'no convolution is'} right before it"
        if reason:
            return entry.left(reason)
        found = self.model.get_submodule(before[0])
        convolution = self.substitutes.get(found, found)
        reason = cannot_absorb(convolution, before[0], name, self.wiring)
        if reason or not isinstance(convolution, _ConvNd):
            return entry.left(reason)
        rest = self.substitutes[norm] = absorb(convolution, norm, known)
        weights = self.done[before[0]]
        carried = f"{weights.carried or 'weights'}, scaled by {name}"
        changed = weights.done(type(convolution).__name__, carried=carried, standardized=False)
        self.done[before[0]] = replace(changed, skipped=None)
        return entry.done(type(rest).__name__, carried="", groups=getattr(rest, "num_groups", None))
