"""Undo what training puts into module paths, and say so: prefixes, and parts that wrappers of submodules insert."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIXES: Final = (
    "module.",
    "_orig_mod.",
    "_forward_module.",
    "_fsdp_wrapped_module.",
    "base_model.model.",
    "ema_model.",
    "model.",
    "net.",
)
"""Prefixes that are no part of the network when every name has them."""

HEADS: Final = ("lm_head.", "proj_out.", "score.", "classifier.", "qa_outputs.")
"""What transformers puts beside `model.`; a file leaves out a head that is tied, and keys must not depend on that."""

CRITERIA: Final = ("loss.", "loss_fn.", "criterion.", "metric.", "metrics.", "train_", "val_", "test_")
"""What Lightning modules keep beside the network that they train: weights of a loss, states of metrics."""

OWN_NAMES: Final = ("model.", "net.", "ema_model.")
"""Prefixes that a network may well give to a part of itself: they stay where other names stand beside them."""

INSERTED: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
"""Parts of a path that compiling, sharding or checkpointing a submodule puts in; they are never the network's own."""


MOST_ROUNDS: Final = 8
"""How often wrappers in one another are looked for."""

_PARAMETRIZED: Final = re.compile(r"(?<![^.])parametrizations\.(\w+)\.(?:(original)(\d*)|\d+\.(\w+))$")


def unwrap(keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take wrappers' prefixes off module paths; the keys in their order, and a sentence for each that was undone.

    A prefix goes only where every dotted name has it (`module.` of data parallel training, `model.` of Lightning), but
    for a head beside `model.`; what compiling or sharding a submodule inserts goes wherever it stands. Where names
    would collide they stay.

    Example:
        >>> unwrap(["module.conv1.weight", "module.conv1.bias"])
        (('conv1.weight', 'conv1.bias'), ("the prefix 'module.' was taken off every name",))
    """
    notes: dict[str, None] = {}
    current = _without_parametrizations(keys)
    if current != list(keys):
        notes["weights behind a parametrization are named as their layer's"] = None
    for _ in range(MOST_ROUNDS):
        before = current
        for prefix in PREFIXES:
            shorter = _without_prefix(current, prefix)
            if shorter is not None:
                names = "every name" if all(key.startswith(prefix) for key in current) else "the names"
                notes[f"the prefix {prefix!r} was taken off {names}"] = None
                current = shorter
        for part in INSERTED:
            shorter = [key.removeprefix(part).replace(f".{part}", ".") for key in current]
            if shorter != current and len(set(shorter)) == len(set(current)):
                notes[f"{part!r} was taken out of the names"] = None
                current = shorter
        if before == current:
            break
    return tuple(current), tuple(notes)


def _without_parametrizations(keys: Sequence[str]) -> list[str]:
    """Keys of parametrized weights as torch named them before it had parametrizations: `weight_orig`, `weight_g`."""
    shorter = [_PARAMETRIZED.sub(_plain_name, key) if "parametrizations." in key else key for key in keys]
    return shorter if len(set(shorter)) == len(set(keys)) else list(keys)


def _plain_name(match: re.Match[str]) -> str:
    tensor, original, number, state = match.groups()
    ending = {"": "_orig", "0": "_g", "1": "_v"}.get(number, f"_orig{number}") if original else state
    return f"{tensor}{ending if ending.startswith('_') else f'_{ending}'}"


def _without_prefix(keys: Sequence[str], prefix: str) -> list[str] | None:
    dotted = [key for key in keys if "." in key]
    bearing = [key for key in dotted if key.startswith(prefix) and len(key) > len(prefix)]
    others = [key for key in dotted if not key.startswith(prefix)]
    beside = (*(HEADS if prefix == "model." else ()), *(CRITERIA if prefix in OWN_NAMES else ()))
    if not bearing or len(bearing) + len(others) < len(dotted) or not all(key.startswith(beside) for key in others):
        return None
    if prefix in OWN_NAMES and len(dotted) < len(keys):
        return None
    shorter = [key.removeprefix(prefix) for key in keys]
    return shorter if len(set(shorter)) == len(set(keys)) else None


def split_key(key: str) -> tuple[str, str]:
    """Module path and parameter of a canonical key; a name without a path stands for both.

    Example:
        >>> split_key("layer1.0.conv1.weight"), split_key("cls_token")
        (('layer1.0.conv1', 'weight'), ('cls_token', 'cls_token'))
    """
    layer, _, parameter = key.rpartition(".")
    return (layer or key, parameter) if parameter else (key, key)
