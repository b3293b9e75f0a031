"""Find the weights in what a training run saved: the dictionary that holds them among all that lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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

OTHER_STATE: Final = ("scheduler", "lr_sched", "scaler", "loops", "callbacks", "rng", "random", "amp")
"""What the keys of everything that is no weight start with; an optimizer may be named anywhere in one."""

BOOKKEEPING: Final = ("step", "epoch", "iter", "loss", "best", "acc", "lr", "seed", "time", "metric", "score")
"""What the keys of figures that a run keeps as tensors start or end with."""

MAX_DEPTH: Final = 6
MOST_ENTRIES: Final = 300_000
"""The most entries that nested dictionaries are laid out to; one dictionary may stand in very many places."""

MOST_ROWS: Final = 100_000
"""The most entries of one dictionary that are set aside one by one."""

IsTensor = Callable[[object], bool]


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
    state: Mapping[object, object], is_tensor: IsTensor, describe: Callable[[object], str] = _type_name
) -> Unpacked:
    """Find the weights in what a training run saved.

    Tensors under dotted names are a network themselves, and what lies beside them is not. Else a dictionary under a
    key that is known to hold weights is taken, whatever lies beside it: tensors too (a best accuracy, the state of a
    generator). Else all dictionaries that hold tensors are taken together, with the tensors beside them. Scalars and
    text become metadata; anything else is skipped with a reason, one entry a key. `describe` gives the reason for what
    is no tensor.
    """
    found = Unpacked(describe)
    path: list[str] = []
    networks = _networks(state, is_tensor)
    for _ in range(MAX_DEPTH):
        key = _container(state, networks, is_tensor)
        if key is None:
            break
        _set_aside({other: value for other, value in state.items() if other is not key}, path, found, is_tensor)
        state = networks[key]
        networks = _networks(state, is_tensor)
        path.append(str(key))
    if path:
        found.notes.append(f"the weights were taken from {'.'.join(path)!r}")
    if networks:
        if len(networks) > 1:
            names = ", ".join(str(key)[:80] for key in list(networks)[:8])
            found.notes.append(f"several networks lie side by side; their names start with {names}")
        beside = {key: value for key, value in state.items() if key not in networks}
        state = {**dict(islice(_laid_out(networks, is_tensor), MOST_ENTRIES)), **beside}
    found.tensors = {str(name): value for name, value in state.items() if is_tensor(value)}
    _set_aside({name: value for name, value in state.items() if not is_tensor(value)}, path, found, is_tensor)
    return found


def _networks(state: Mapping[object, object], is_tensor: IsTensor) -> dict[object, Mapping[object, object]]:
    """The dictionaries in one that hold tensors and are no state of an optimizer; none beside dotted names."""
    if any("." in str(key) and is_tensor(value) for key, value in state.items()):
        return {}
    barren: dict[int, tuple[int, object]] = {}
    return {
        key: value
        for key, value in state.items()
        if isinstance(value, Mapping)
        and not _is_optimizer(key, value)
        and _holds_tensors(value, is_tensor, MAX_DEPTH, barren)
    }


def _container(state: Mapping[object, object], networks: Mapping[object, object], is_tensor: IsTensor) -> object | None:
    """The key of the one dictionary to descend into: a known one, or the only one beside figures of the run."""
    known = {str(key): key for key in networks}
    for name in CONTAINERS:
        if name in known:
            return known[name]
    loose = [key for key, value in state.items() if is_tensor(value) and not _is_bookkeeping(key)]
    return next(iter(networks)) if len(networks) == 1 and not loose else None


def _is_bookkeeping(key: object) -> bool:
    words = str(key).lower()
    return words.startswith((*BOOKKEEPING, *OTHER_STATE)) or words.endswith(BOOKKEEPING) or "_state" in words


def _is_optimizer(key: object, value: Mapping[object, object]) -> bool:
    name = str(key).lower()
    return name.startswith(OTHER_STATE) or "optim" in name or {"state", "param_groups"} <= value.keys()


def _holds_tensors(
    state: Mapping[object, object], is_tensor: IsTensor, depth: int, barren: dict[int, tuple[int, object]]
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


def _laid_out(
    state: Mapping[object, object], is_tensor: IsTensor, prefix: str = "", depth: int = MAX_DEPTH
) -> Iterator[tuple[str, object]]:
    """Entries of nested dictionaries under their paths with dots between."""
    for key, value in state.items():
        name = f"{prefix}{key}"
        if depth > 0 and isinstance(value, Mapping) and value and not is_tensor(value):
            yield from _laid_out(value, is_tensor, f"{name}.", depth - 1)
        else:
            yield name, value


def _set_aside(others: Mapping[object, object], path: Sequence[str], found: Unpacked, is_tensor: IsTensor) -> None:
    has_tensors: dict[int, bool] = {}
    for key, value in islice(others.items(), MOST_ROWS):
        name = ".".join((*path, str(key)))
        if isinstance(value, bool | int | float | str | None):
            found.metadata[name] = str(value)
            continue
        reason = "a tensor beside the weights" if is_tensor(value) else found.describe(value)
        if isinstance(value, Mapping):
            if id(value) not in has_tensors:
                has_tensors[id(value)] = any(is_tensor(inner) for inner in value.values())
            if has_tensors[id(value)]:
                reason = f"a second set of {len(value)} entries, tensors among them"
        found.skipped.append(Skipped(name, reason))
    if len(others) > MOST_ROWS:
        found.skipped.append(Skipped(".".join((*path, "...")), f"{len(others) - MOST_ROWS} more entries"))
