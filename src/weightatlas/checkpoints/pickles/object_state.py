"""Dictionaries out of records: ordered and other dictionaries, whole modules, TorchScript objects, by names of tensors.

A module's class is not loaded. Its parameters, buffers and submodules lie in its state under names that torch has kept
since its first version, and from them come the names that its `state_dict` would have.
"""

from __future__ import annotations

from typing import Any, Final

from weightatlas.checkpoints.pickles.numpy_records import builds_array, scalar_value
from weightatlas.checkpoints.pickles.pickle_machine import PickleError
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent, Global, Persistent
from weightatlas.checkpoints.pickles.torch_records import builds_tensor

PARTS: Final = 1_000_000
"""The most attributes of modules that are looked at, however often a module stands in others."""

DEPTH: Final = 200
_DICTIONARIES: Final = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict", "__builtin__.dict"}
)
_SETS: Final = frozenset({"builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset"})
_SCRIPT: Final = "__torch__."


def is_tensor(value: object) -> bool:
    """Whether a record is a tensor of torch's or an array of numpy's, one that can be read or another."""
    return isinstance(value, Call) and (builds_tensor(value) or builds_array(value))


def describe(value: object) -> str:
    """Why a value is no tensor, as a skipped row says it.

    Example:
        >>> describe([1, 2]), describe(Call(Global("mypackage", "Config"), ()))
        ('no tensor: list', 'a mypackage.Config object, which is not loaded')
    """
    if isinstance(value, Call):
        return f"a {value.path} object, which is not loaded"
    if isinstance(value, Global):
        return f"the name {value.path}, which is not loaded"
    if isinstance(value, Extent):
        return f"{value.length} bytes of {'text' if value.is_text else 'data'}"
    if isinstance(value, Persistent):
        return "a storage without a tensor"
    return f"no tensor: {type(value).__name__}"


def as_dictionary(value: object) -> dict[Any, Any] | None:
    """The items of a dictionary or of a record of one; None for what is no dictionary."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Call) or is_tensor(value):
        return None
    if value.items is not None:
        return value.items
    if value.path in _DICTIONARIES:
        return _from_pairs(value.arguments)
    return None


def _from_pairs(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An ordered dictionary as Python 2 pickled it: a list of pairs."""
    pairs = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list | tuple) else ()
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and isinstance(pair[0], str)}


def module_class(value: object) -> str | None:
    """The class of a whole module or TorchScript object; None for anything else."""
    state = object_attributes(value)
    if state is None or not isinstance(value, Call):
        return None
    if value.path.startswith(_SCRIPT) or {"_parameters", "_modules"} <= state.keys():
        return value.path
    return None


class ModuleReader:
    """Reads the whole modules of one file, and does no more work in all than a file may ask for.

    Attributes:
        classes: the full names of the modules' classes, as far as they were read.
    """

    def __init__(self) -> None:
        """Start with all the work left."""
        self.classes: dict[str, None] = {}
        self._left = PARTS

    def tensors(self, module: Call) -> dict[str, object]:
        """A module's parameters, persistent buffers and those of its submodules, by their names in its `state_dict`.

        Raises:
            PickleError: its modules hold each other without end.
        """
        self.classes[module.path] = None
        found: dict[str, object] = {}
        waiting: list[tuple[str, object, int]] = [("", module, 0)]
        while waiting:
            prefix, value, depth = waiting.pop()
            own, children = _parts(object_attributes(value) or {})
            self._left -= 1 + len(own) + len(children)
            if depth >= DEPTH or self._left < 0:
                message = "its modules hold each other without end"
                raise PickleError(message)
            found.update((f"{prefix}{name}", tensor) for name, tensor in own.items() if is_tensor(tensor))
            waiting.extend((f"{prefix}{name}.", child, depth + 1) for name, child in reversed(children.items()))
        return found

    def tidy(self, state: dict[Any, Any]) -> dict[Any, Any]:
        """Put plain dictionaries and numbers in place of their records, in a dictionary and those in it."""
        seen = {id(state)}
        waiting = [state]
        while waiting:
            inner = waiting.pop()
            for key, value in inner.items():
                kept = self._tidied(value)
                if kept is not value:
                    inner[key] = kept
                if isinstance(kept, dict) and id(kept) not in seen:
                    seen.add(id(kept))
                    waiting.append(kept)
        return state

    def _tidied(self, value: object) -> object:
        if not isinstance(value, Call) or is_tensor(value):
            return value
        dictionary = as_dictionary(value)
        if dictionary is not None:
            return dictionary
        if module_class(value) is not None:
            return self.tensors(value)
        number = scalar_value(value)
        return value if number is None else number


def object_attributes(value: object) -> dict[Any, Any] | None:
    """The attributes of a record of an object; None for what has none."""
    if not isinstance(value, Call) or is_tensor(value):
        return None
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # attributes, and those in slots
        state = state[0]
    return as_dictionary(state)


def _parts(state: dict[Any, Any]) -> tuple[dict[Any, object], dict[Any, object]]:
    """A module's own attributes, tensors among them, and its submodules."""
    if {"_parameters", "_modules"} <= state.keys():
        left_out = _names(state.get("_non_persistent_buffers_set"))
        parameters = as_dictionary(state["_parameters"]) or {}
        buffers = as_dictionary(state.get("_buffers")) or {}
        own = parameters | {name: buffer for name, buffer in buffers.items() if name not in left_out}
        children = as_dictionary(state["_modules"]) or {}
    else:
        own = state
        children = {name: value for name, value in state.items() if module_class(value) is not None}
    return own, children


def _names(value: object) -> frozenset[str]:
    """A set of text, or its record in protocol 2."""
    if isinstance(value, Call) and value.path in _SETS and len(value.arguments) == 1:
        value = value.arguments[0]
    if not isinstance(value, set | frozenset | list):
        return frozenset()
    return frozenset(name for name in value if isinstance(name, str))
