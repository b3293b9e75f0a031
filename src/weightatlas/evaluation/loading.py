"""A checkpoint into a model: matched by layer and parameter, whatever either is wrapped in, with a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.checkpoints.checkpoint import Checkpoint, TensorInfo
from weightatlas.checkpoints.dtypes import name_of, torch_dtype
from weightatlas.checkpoints.opening import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation.key_prefixes import aligned
from weightatlas.evaluation.load_report import Cast, LoadReport, Reshaped
from weightatlas.evaluation.narrowing import beyond
from weightatlas.evaluation.renamed_layer import one_renamed
from weightatlas.wording import counted, printable

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

NAMED: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A tensor of the model, and the one of the checkpoint that belongs in it."""

    key: str
    target: torch.Tensor
    found: TensorInfo

    @property
    def reshaped(self) -> Reshaped | None:
        """How the shapes differ, if they do."""
        shape, model = self.found.shape, tuple(self.target.shape)
        if model == shape:
            return None
        fits = [size for size in model if size != 1] == [size for size in shape if size != 1]
        return Reshaped(self.key, shape, model, fits)

    def cast(self, weights: Checkpoint) -> Cast | None:
        """How the types differ, if they do; reads the values where the model's type might not hold them."""
        model = self.target.dtype
        if name_of(model) == self.found.dtype:
            return None
        possible = torch.can_cast(torch_dtype(self.found.dtype), model)
        fits = self.reshaped is None or self.reshaped.loaded
        reason = beyond(weights, self.found.name, model) if possible and fits else None
        return Cast(self.key, self.found.dtype, name_of(model), possible and reason is None, reason or "")


def load_checkpoint(
    model: nn.Module,
    checkpoint: str | os.PathLike[str] | Mapping[str, Any] | nn.Module | Checkpoint,
    *,
    strict: bool = True,
) -> LoadReport:
    """Load weights into a model in place, and say what was loaded, what is missing and what is left over.

    Tensors are matched by layer and parameter, with wrappers undone on both sides: a checkpoint of a compiled, data
    parallel or Lightning module fits the plain one and the other way round. Where the names of one side lie one
    module deeper (`transformer.h.0` and `h.0`), that is undone too and noted; so is one layer of two names
    (`linear` and `fc`). Values are copied into the model's tensors one at a time and cast to their types; no second
    model is made. A tensor with a finite value that the model's type cannot hold (1e6 for float16, 300 for uint8)
    does not fit; where the type is narrower, the tensor is read once more for this, before anything is changed.
    Shapes that differ only in axes of size 1, such as (out, in) and (out, in, 1, 1), are loaded. A tied parameter
    needs one of its names.

    The model's own hooks for loading are not called; extra state that is no tensor is not touched.

    Args:
        model: where the weights go; its mode and devices stay.
        checkpoint: anything that `open_checkpoint` opens, or what it gave.
        strict: raise where a weight is missing, does not fit or is not finite. A buffer of integers or truth values
            (a count of batches, positions) may be missing: it is no weight.

    Returns:
        The report.

    Raises:
        SourceError: the checkpoint cannot be used; two of its tensors or prefixes claim the same place in the model;
            nothing of it belongs to the model; in strict mode, something is missing, of another shape, of a type that
            cannot be cast or beyond the model's: all told before anything is copied, and the model is unchanged. A
            tensor that cannot be read, or in strict mode is not finite, comes up while values are copied: the error
            says that the model is partly loaded.

    **Source:** ours; `torch.nn.Module.load_state_dict` matches full names and copies what fits even where it raises.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> report = load_checkpoint(model, {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)})
        >>> report.loaded, report.summary
        (('weight', 'bias'), 'two tensors of state dict loaded')
    """
    weights = checkpoint if isinstance(checkpoint, Checkpoint) else open_checkpoint(checkpoint)
    pairs, report = _matched(model, weights)
    _check(report, model, strict=strict)
    refused = set(report.refused)
    broken = _copy(weights, [pair for pair in pairs if pair.key not in refused], strict=strict)
    return replace(report, not_finite=broken) if broken else report


def matching_names(
    model: nn.Module, checkpoint: Checkpoint, *, strict: bool = True
) -> tuple[dict[str, str], LoadReport]:
    """Say which tensor of a checkpoint belongs in which of a model, as `load_checkpoint` does, and change nothing.

    Args:
        model: by whose names.
        checkpoint: an open checkpoint.
        strict: as `load_checkpoint` takes it; values are not looked at.

    Returns:
        From names in the model's state dict to names in the checkpoint, in the model's order, tied parameters under
        each of their names; and the report, in which nothing is loaded yet.

    Raises:
        SourceError: as `load_checkpoint`.

    Example:
        >>> weights = open_checkpoint({"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)})
        >>> matching_names(nn.Linear(2, 1), weights)[0]
        {'weight': 'module.weight', 'bias': 'module.bias'}
    """
    pairs, report = _matched(model, checkpoint)
    _check(report, model, strict=strict)
    refused = set(report.refused)
    taken = [pair for pair in pairs if pair.key not in refused]
    own = {pair.key: pair.found.name for pair in taken}
    tied = {id(pair.target): pair.found.name for pair in reversed(taken)}
    names: dict[str, str] = {}
    for key, (name, target) in _tensors_by_key(model).items():
        found = own.get(key) or tied.get(id(target))
        if found is not None:
            names[name] = found
    return names, report


def _matched(model: nn.Module, weights: Checkpoint) -> tuple[list[_Pair], LoadReport]:
    """What belongs where, and what does not."""
    inside = {key: target for key, (_, target) in _tensors_by_key(model).items()}
    listed = _by_key(weights, remedy="pass a state dict with one of them")
    outside, notes = aligned(listed, inside, source=weights.source)
    wanted = {key: target for key, target in inside.items() if target.is_floating_point() or key in outside}
    outside, renamed = one_renamed(outside, wanted)  # counts of batches are missing in old files, and are no weights
    pairs = [_Pair(key, target, outside[key]) for key, target in inside.items() if key in outside]
    report = _compare(weights, model, inside, pairs)
    extra = tuple(key for key in outside if key not in inside)
    return pairs, replace(report, extra=extra, notes=(*weights.notes, *notes, *renamed))


def _key(tensor: TensorInfo) -> str:
    """Layer and parameter as one name; a parameter of the model itself is called by its own."""
    return tensor.layer if tensor.layer == tensor.parameter else f"{tensor.layer}.{tensor.parameter}"


def _by_key(weights: Checkpoint, *, remedy: str) -> dict[str, TensorInfo]:
    """What a checkpoint or a listed model has, by key; two tensors under one are refused."""
    found: dict[str, TensorInfo] = {}
    for tensor in weights.info.values():
        first = found.setdefault(_key(tensor), tensor)
        if first is not tensor:
            problem = f"{_shown([first.name])} and {_shown([tensor.name])} are both {_shown([_key(tensor)])}"
            raise SourceError(weights.source, problem, remedy)
    return found


def _tensors_by_key(model: nn.Module) -> dict[str, tuple[str, torch.Tensor]]:
    """The model's names and its own tensors, not copies, by key."""
    state = model.state_dict(keep_vars=True)
    listed = open_checkpoint(model)
    for entry in listed.skipped:
        if isinstance(state.get(entry.name), torch.Tensor):
            problem = f"its {printable(entry.name, limit=80)!r} cannot take values: {entry.reason}"
            raise SourceError(type(model).__name__, problem, "build it with plain tensors that lie in memory")
    named = _by_key(listed, remedy="give its modules names that differ by more than a wrapper")
    return {key: (tensor.name, state[tensor.name]) for key, tensor in named.items()}


def _compare(
    weights: Checkpoint, model: nn.Module, inside: Mapping[str, torch.Tensor], pairs: Sequence[_Pair]
) -> LoadReport:
    """What can be loaded and what cannot."""
    reshaped = tuple(change for pair in pairs if (change := pair.reshaped) is not None)
    cast = tuple(found for pair in pairs if (found := pair.cast(weights)) is not None)
    changes: tuple[Reshaped | Cast, ...] = (*reshaped, *cast)
    refused = {change.key for change in changes if not change.loaded}
    filled = {id(pair.target) for pair in pairs if pair.key not in refused}
    loaded = tuple(key for key, target in inside.items() if id(target) in filled and key not in refused)
    there = {pair.key for pair in pairs} | set(loaded)
    missing = tuple(key for key in inside if key not in there)
    buffers = {id(buffer) for buffer in model.buffers()}
    optional = tuple(key for key in missing if id(inside[key]) in buffers and not inside[key].dtype.is_floating_point)
    return LoadReport(weights.source, loaded, missing, optional, reshaped=reshaped, cast=cast)


def _check(report: LoadReport, model: nn.Module, *, strict: bool) -> None:
    """Refuse before anything is copied: nothing fits, or in strict mode not all of it does."""
    name = type(model).__name__
    if not report.loaded:
        ours, theirs = next(iter(report.missing), "nothing"), next(iter(report.extra), "nothing new")
        why = _differences(report) or f"the model has {_shown([ours])}, the checkpoint {_shown([theirs])}"
        problem = f"none of its tensors fits {name} ({why})"
        raise SourceError(report.source, problem, "check that it is a checkpoint of this model")
    if not strict or report.complete:
        return
    parts = []
    if report.required:
        parts.append(f"lacks {counted(len(report.required), 'tensor')} of {name} ({_shown(report.required)})")
    if report.refused:
        parts.append(f"does not fit {name} ({_differences(report)})")
    remedy = "build the model that it was saved from; in Python, load_checkpoint(..., strict=False) loads what fits"
    raise SourceError(report.source, " and ".join(parts), remedy)


def _differences(report: LoadReport) -> str:
    """What was refused, and why."""
    said = [
        f"{_shown([entry.key])}: {list(entry.checkpoint_shape)} for {list(entry.model_shape)}"
        for entry in report.reshaped
        if not entry.loaded
    ]
    said += [
        f"{_shown([entry.key])}: {entry.reason or f'{entry.checkpoint_dtype} for {entry.model_dtype}'}"
        for entry in report.cast
        if not entry.loaded
    ]
    return "; ".join(said[:NAMED]) + (f" and {len(said) - NAMED} more" if len(said) > NAMED else "")


def _copy(weights: Checkpoint, pairs: Sequence[_Pair], *, strict: bool) -> tuple[str, ...]:
    """Copy the values; the keys of those that are not finite."""
    broken: list[str] = []
    for done, pair in enumerate(pairs):
        try:
            tensor = weights[pair.found.name]
            if not finite(tensor):
                if strict:
                    problem = f"{_shown([pair.key])} holds NaN or infinite values"
                    remedy = "mend it; in Python, load_checkpoint(..., strict=False) loads it all the same"
                    raise SourceError(weights.source, problem, remedy)  # noqa: TRY301
                broken.append(pair.key)
            with torch.no_grad():
                pair.target.copy_(tensor.reshape(pair.target.shape))
        except SourceError as error:
            if not done:
                raise
            problem = f"{error.problem}; the model is partly loaded, with {done} of {len(pairs)} tensors"
            raise SourceError(error.source, problem, error.remedy) from error
    return tuple(broken)


def finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinite values."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    widened = tensor.float() if tensor.element_size() == 1 else tensor  # torch tests no type of 8 bits
    return bool(widened.isfinite().all())


def _shown(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(printable(key, limit=80) for key in keys[:NAMED]) + more
