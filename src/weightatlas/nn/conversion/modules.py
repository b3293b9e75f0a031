"""Modules of a network taken out and put in, and networks whose modules cannot be."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Final

from torch import jit, nn

from weightatlas.errors import SourceError
from weightatlas.nn.conversion.convolution_kinds import is_convolution
from weightatlas.nn.conversion.norm_kinds import WORDS, read_norm
from weightatlas.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRAPPERS: Final = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")


def model_name(model: nn.Module) -> str:
    """What a model is called in reports and errors: its class, and what timm or transformers calls it."""
    kind = type(model).__name__
    settings = getattr(model, "pretrained_cfg", None)
    said = settings.get("architecture") if isinstance(settings, dict) else None
    return f"{kind} ({said})" if said else kind


def refuse_what_cannot_change(model: nn.Module) -> None:
    """Refuse a model whose modules cannot be replaced, or would be missed.

    Raises:
        SourceError: it is scripted, compiled or wrapped, or has layers that are not built yet.
    """
    name = model_name(model)
    if any(isinstance(module, jit.ScriptModule) for module in model.modules()):
        raise SourceError(name, "it is scripted, and its code is fixed", "convert the model before torch.jit sees it")
    if hasattr(model, "_orig_mod"):
        raise SourceError(name, "it is compiled", "convert the model before torch.compile, then compile that")
    if type(model).__name__ in _WRAPPERS:
        raise SourceError(name, "it is a wrapper that knows the parameters as they are", "convert its `module` first")
    lazy = [path for path, module in model.named_modules() if _is_lazy(module)]
    if lazy:
        problem = f"{counted(len(lazy), 'layer')} of it are not built yet ({lazy[0]})"
        raise SourceError(name, problem.replace("layer of it are", "layer of it is"), "run it once on an input")


def copied(model: nn.Module) -> nn.Module:
    """Copy a model with its values.

    Raises:
        SourceError: something in it cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise SourceError(model_name(model), f"it cannot be copied ({reason})", "pass in_place=True") from error


def replaced(model: nn.Module, substitutes: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Put modules in the place of others, wherever they stand, and give the model, or what takes its own place."""
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if path and module in substitutes:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, substitutes[module])
    return substitutes.get(model, model)


def described(model: nn.Module) -> str:
    """The convolutions, norms and linear layers of a model, counted.

    Example:
        >>> described(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)))
        'two linear layers and one layer norm'
    """
    counts: Counter[str] = Counter()
    for module in model.modules():
        norm = read_norm(module)
        if norm is not None:
            counts[WORDS[norm.kind]] += 1
        elif is_convolution(module):
            counts["convolution"] += 1
        elif type(module).__module__.startswith("torch.ao.nn"):
            counts["quantised layer"] += 1
        elif isinstance(module, nn.Linear):
            counts["linear layer"] += 1
    return listed([counted(count, noun) for noun, count in counts.items()]) if counts else "no layer that is known"


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()
