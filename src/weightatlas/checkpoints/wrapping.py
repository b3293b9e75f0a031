"""Undo what training wraps around weights, and say so: nested dictionaries, and prefixes of module paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from weightatlas.checkpoints.checkpoint import Skipped

CONTAINERS: Final = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "network",
    "net",
    "params",
    "weights",
    "checkpoint",
    "network_weights",
    "app",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "params_ema",
    "ema",
)
"""Keys under which a training run keeps its weights; the first that is there is taken: plain weights, then averages."""

OTHER_STATE: Final = ("optim", "scheduler", "lr_sched", "scaler", "loops", "callbacks", "rng", "amp")
"""What the keys of everything that is no weight start with."""

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

OWN_NAMES: Final = ("model.", "net.", "ema_model.")
"""Prefixes that a network may well give to a part of itself: they stay where other names stand beside them."""

INSERTED: Final = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
"""Parts of a path that compiling, sharding or checkpointing a submodule puts in; they are never the network's own."""

MAX_DEPTH: Final = 6

MOST_ROWS: Final = 100_000
"""The most entries of one dictionary that are set aside one by one."""


@dataclass(slots=True)
class Unpacked:
    """The tensors of a nested dictionary by name, and what else was in it."""

    describe: Callable[[object], str]
    tensors: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _type_name(value: object) -> str:
    return f"no tensor: {type(value).__name__}"


def unpack(
    state: Mapping[object, object],
    is_tensor: Callable[[object], bool],
    describe: Callable[[object], str] = _type_name,
) -> Unpacked:
    """Find the weights in what a training run saved: descend into the dictionary that holds them.

    Scalars and text beside them become metadata; anything else is skipped with a reason, one entry a key. `describe`
    gives the reason for what is no tensor.
    """
    found = Unpacked(describe)
    path: list[str] = []
    for _ in range(MAX_DEPTH):
        if any(is_tensor(value) for value in state.values()):
            break
        chosen = _choose(state, is_tensor)
        if not chosen:
            break
        _set_aside({key: value for key, value in state.items() if str(key) not in chosen}, path, found, is_tensor)
        if len(chosen) > 1:
            found.notes.append(f"several networks lie side by side; their names start with {', '.join(chosen)}")
            state = {
                f"{key}.{name}": value
                for key, inner in state.items()
                if str(key) in chosen and isinstance(inner, Mapping)
                for name, value in inner.items()
            }
            break
        (key,) = chosen
        inner = next(value for name, value in state.items() if str(name) == key)
        if not isinstance(inner, Mapping):
            break
        state = inner
        path.append(key)
    if path:
        found.notes.append(f"the weights were taken from {'.'.join(path)!r}")
    found.tensors = {str(name): value for name, value in state.items() if is_tensor(value)}
    _set_aside({name: value for name, value in state.items() if not is_tensor(value)}, path, found, is_tensor)
    return found


def _choose(state: Mapping[object, object], is_tensor: Callable[[object], bool]) -> tuple[str, ...]:
    """The keys to descend into: the first known container, else every dictionary that holds tensors."""
    barren: dict[int, tuple[int, object]] = {}
    holding = [
        str(key)
        for key, value in state.items()
        if isinstance(value, Mapping)
        and not str(key).lower().startswith(OTHER_STATE)
        and _holds_tensors(value, is_tensor, MAX_DEPTH, barren)
    ]
    known = [key for key in CONTAINERS if key in holding]
    return (known[0],) if known else tuple(holding)


def _holds_tensors(
    state: Mapping[object, object],
    is_tensor: Callable[[object], bool],
    depth: int,
    barren: dict[int, tuple[int, object]],
) -> bool:
    """Whether tensors lie so deep or less; `barren` keeps what was searched in vain: one may stand in many places."""
    if barren.get(id(state), (-1, None))[0] >= depth:
        return False
    if any(is_tensor(value) for value in state.values()):
        return True
    if depth > 0 and any(
        isinstance(value, Mapping) and _holds_tensors(value, is_tensor, depth - 1, barren) for value in state.values()
    ):
        return True
    barren[id(state)] = depth, state
    return False


def _set_aside(
    others: Mapping[object, object], path: Sequence[str], found: Unpacked, is_tensor: Callable[[object], bool]
) -> None:
    has_tensors: dict[int, bool] = {}
    for key, value in islice(others.items(), MOST_ROWS):
        name = ".".join((*path, str(key)))
        if isinstance(value, bool | int | float | str | None):
            found.metadata[name] = str(value)
            continue
        reason = found.describe(value)
        if isinstance(value, Mapping):
            if id(value) not in has_tensors:
                has_tensors[id(value)] = any(is_tensor(inner) for inner in value.values())
            if has_tensors[id(value)]:
                reason = f"a second set of {len(value)} entries, tensors among them"
        found.skipped.append(Skipped(name, reason))
    if len(others) > MOST_ROWS:
        found.skipped.append(Skipped(".".join((*path, "...")), f"{len(others) - MOST_ROWS} more entries"))


def unwrap(keys: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take wrappers' prefixes off module paths; the keys in their order, and a sentence for each that was undone.

    A prefix goes only where every dotted name has it (`module.` of data parallel training, `model.` of Lightning), but
    for a head beside `model.`; what compiling or sharding a submodule inserts goes wherever it stands. Where names
    would collide they stay.

    Example:
        >>> unwrap(["module.conv1.weight", "module.conv1.bias"])
        (('conv1.weight', 'conv1.bias'), ("the prefix 'module.' was taken off every name",))
    """
    notes: list[str] = []
    current = list(keys)
    before = None
    while before != current:
        before = current
        for prefix in PREFIXES:
            shorter = _without_prefix(current, prefix)
            if shorter is not None:
                names = (
                    "every name" if all(key.startswith(prefix) or "." not in key for key in current) else "the names"
                )
                notes.append(f"the prefix {prefix!r} was taken off {names}")
                current = shorter
        for part in INSERTED:
            shorter = [key.removeprefix(part).replace(f".{part}", ".") for key in current]
            if shorter != current and len(set(shorter)) == len(set(current)):
                notes.append(f"{part!r} was taken out of the names")
                current = shorter
    return tuple(current), tuple(notes)


def _without_prefix(keys: Sequence[str], prefix: str) -> list[str] | None:
    dotted = [key for key in keys if "." in key]
    bearing = [key for key in dotted if key.startswith(prefix) and len(key) > len(prefix)]
    others = [key for key in dotted if not key.startswith(prefix)]
    heads = HEADS if prefix == "model." else ()
    if not bearing or len(bearing) + len(others) < len(dotted) or not all(key.startswith(heads) for key in others):
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
