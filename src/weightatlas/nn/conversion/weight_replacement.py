"""A convolution of standardised weights in the place of a plain one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from weightatlas.nn.conversion.convolution_kinds import CONVOLUTIONS, is_depthwise, never_standardised, parametrizations
from weightatlas.nn.conversion.norm_kinds import WORDS, read_norm
from weightatlas.nn.ws_conv import WS_CONVOLUTIONS
from weightatlas.nn.ws_parametrization import Standardized, standardized_parametrization

if TYPE_CHECKING:
    from torch.nn.modules.conv import _ConvNd

    from weightatlas.nn.conversion.pairs import Wiring
    from weightatlas.nn.standardization import Standardization

OURS: Final = tuple(WS_CONVOLUTIONS.values())


def why_not(
    module: _ConvNd, name: str, wiring: Wiring, model: nn.Module, *, depthwise: bool, every: bool, frozen_stay: bool
) -> str:
    """Say why the weights of a convolution are not standardised, or give an empty text.

    Args:
        module: the convolution.
        name: its path.
        wiring: which norms are behind which convolutions.
        model: where they stand.
        depthwise: whether depthwise convolutions are standardised.
        every: whether convolutions are that no norm is right behind.
        frozen_stay: whether frozen batch norms stay as they are: they undo no scale.
    """
    reason = never_standardised(module)
    if reason:
        return reason
    if is_depthwise(module) and not depthwise:
        return "depthwise: its weights are standardised with depthwise=True only"
    if every:
        return ""
    norms = wiring.behind[name]
    if not norms:
        return wiring.why[name]
    if frozen_stay:
        known = [read_norm(model.get_submodule(norm)) for norm in norms]
        if any(one is not None and one.kind == "frozen-batch" for one in known):
            return f"the norm behind it is a {WORDS['frozen-batch']}, which stays: it would not undo the new scale"
    return ""


def standardized_convolution(module: nn.Module, how: Standardization) -> tuple[nn.Module, str] | str:
    """Give the convolution of standardised weights that takes a convolution's place, and its class in words.

    One of torch's own classes becomes its counterpart in `WS_CONVOLUTIONS`, with the same parameters; one with a
    forward pass of its own keeps it, and its weights are standardised by a parametrisation.

    Args:
        module: a convolution.
        how: the standardisation.

    Returns:
        The module and the name of what it is, or the reason why it stays.
    """
    if isinstance(module, OURS):
        if module.how == how or module.gain is not None:
            return "its weights are standardised already"
        module.how = how
        return module, type(module).__name__
    if type(module) in CONVOLUTIONS:
        made = WS_CONVOLUTIONS[type(module)].of(module, how=how)
        return made, type(made).__name__
    name = type(module).__name__
    standardized_parametrization(module, how=how)
    return module, f"{name}, weights standardised by a parametrisation"


def without_parametrization(module: nn.Module) -> bool:
    """Give a module the weight that its parametrisations compute, as a parameter; whether that can be done.

    torch's `remove_parametrizations` deletes the property from the module's class, which a copy of the module shares.
    A module with a second parametrised tensor stays as it is.
    """
    held = module.parametrizations
    if not isinstance(held, nn.ModuleDict) or list(held) != ["weight"]:
        return False
    weight, trained = module.weight, any(one.requires_grad for one in held.parameters())
    values = weight.detach().clone() if isinstance(weight, torch.Tensor) else torch.empty(0)
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    module.register_parameter("weight", nn.Parameter(values, requires_grad=trained))
    return True


def is_standardized(module: nn.Module) -> bool:
    """Whether a module's weights are standardised, by its class or by the parametrisation."""
    return isinstance(module, OURS) or any(isinstance(one, Standardized) for one in parametrizations(module))
