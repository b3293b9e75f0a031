"""Pickles that ask to run something, by every route that the format has, in every file that pickles come in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.hostile.case import Hostile, command, statement
from tests.hostile.containers import WRAPS, Wrap
from tests.hostile.opcodes import call, integer, kept, line, listed, mapping, named, several, stacked, tensor, text

Route = Callable[[Path], bytes]
"""The opcodes of a value that would leave the canary in a folder."""

RUNS: Final = r"run code|carries code|do not use"
"""What a user is told of a pickle that names what could run code."""

SYSTEM: Final = named("posix", "system")


def reduce(folder: Path) -> bytes:
    return call(SYSTEM, text(command(folder)))


def instance(folder: Path) -> bytes:
    return b"(" + line(command(folder)) + b"iposix\nsystem\n"


def object_(folder: Path) -> bytes:
    return b"(" + SYSTEM + text(command(folder)) + b"o"


def stack_global(folder: Path) -> bytes:
    return call(stacked("posix", "system"), text(command(folder)))


def new_object(folder: Path) -> bytes:
    return named("subprocess", "Popen") + several(listed(text("touch"), text(str(folder / "canary")))) + b"\x81"


def new_object_with_keywords(folder: Path) -> bytes:
    keywords = mapping({"args": text(command(folder)), "shell": b"\x88"})
    return named("subprocess", "Popen") + b")" + keywords + b"\x92"


def set_state(folder: Path) -> bytes:
    made = named("collections", "UserDict") + b")\x81"
    return made + mapping({"__setstate__": SYSTEM}) + b"b" + text(command(folder)) + b"b"


def slot_state(folder: Path) -> bytes:
    made = named("collections", "UserDict") + b")\x81"
    return made + b"N" + mapping({"__class__": SYSTEM, "command": text(command(folder))}) + b"\x86b"


def class_state(folder: Path) -> bytes:
    return named("torch.nn", "Module") + b"N" + mapping({"__reduce__": SYSTEM, "x": reduce(folder)}) + b"\x86b"


def reduce_of_reduce(folder: Path) -> bytes:
    imported = call(named("builtins", "__import__"), text("os"))
    return call(call(named("builtins", "getattr"), imported, text("system")), text(command(folder)))


def through_memo(folder: Path) -> bytes:
    return SYSTEM + b"q\x050h\x05" + several(text(command(folder))) + b"R"


def through_old_memo(folder: Path) -> bytes:
    return SYSTEM + b"p77\n0g77\n" + several(text(command(folder))) + b"R"


def through_memoize(folder: Path) -> bytes:
    return stacked("posix", "system") + b"\x940" + text("x") + b"\x940h\x00" + several(text(command(folder))) + b"R"


def dropped(folder: Path) -> bytes:
    return reduce(folder) + b"0N"


def between_marks(folder: Path) -> bytes:
    return b"(" + reduce(folder) + b"1N"


def persistent(folder: Path) -> bytes:
    return kept(several(text("storage"), SYSTEM, reduce(folder), text("cpu"), integer(4)))


def storage_type(folder: Path) -> bytes:
    held = kept(several(text("storage"), SYSTEM, text("0"), text(command(folder)), integer(4)))
    return tensor(held=held)


def rebuild_function(folder: Path) -> bytes:
    return tensor(rebuild=SYSTEM, held=text(command(folder)))


def backward_hooks(folder: Path) -> bytes:
    return tensor(hooks=reduce(folder))


def nested_type(folder: Path) -> bytes:
    made = named("torch._tensor", "_rebuild_from_type_v2")
    return call(made, SYSTEM, named("torch", "Tensor"), several(text(command(folder))), b"N")


def in_list(folder: Path) -> bytes:
    return listed(b"N", listed(listed(reduce(folder))))


def in_mapping(folder: Path) -> bytes:
    return mapping({"a": mapping({"b": mapping({"c": reduce(folder)})})})


def as_key(folder: Path) -> bytes:
    return b"}" + reduce(folder) + b"Ns"


def in_tuple_key(folder: Path) -> bytes:
    return b"}" + reduce(folder) + b"\x85Ns"


def in_set(folder: Path) -> bytes:
    return b"\x8f(" + reduce(folder) + b"\x90"


def in_frozen_set(folder: Path) -> bytes:
    return b"(" + reduce(folder) + b"\x91"


def in_ordered_dict(folder: Path) -> bytes:
    return named("collections", "OrderedDict") + b")R" + text("a") + reduce(folder) + b"s"


def in_argument(folder: Path) -> bytes:
    return call(named("collections", "OrderedDict"), listed(several(text("a"), reduce(folder))))


def in_state_of_parameter(folder: Path) -> bytes:
    made = call(named("torch._utils", "_rebuild_parameter"), tensor(), b"\x88", b"N")
    return made + mapping({"grad": reduce(folder)}) + b"b"


def evaluates(folder: Path) -> bytes:
    return call(named("builtins", "eval"), text(statement(folder)))


def executes_by_old_name(folder: Path) -> bytes:
    return call(named("__builtin__", "exec"), text(statement(folder)))


def dotted_name(folder: Path) -> bytes:
    return call(stacked("torch", "serialization.os.system"), text(command(folder)))


def partial(folder: Path) -> bytes:
    return call(call(named("functools", "partial"), SYSTEM, text(command(folder))))


def attribute_getter(folder: Path) -> bytes:
    getter = call(named("operator", "methodcaller"), text("system"), text(command(folder)))
    return call(getter, call(named("importlib", "import_module"), text("os")))


def run_string(folder: Path) -> bytes:
    return call(named("numpy.testing._private.utils", "runstring"), text(statement(folder)), b"}")


def run_module(folder: Path) -> bytes:
    (folder / "payload.py").write_text(statement(folder))
    return call(named("runpy", "run_path"), text(str(folder / "payload.py")))


def inner_pickle(folder: Path) -> bytes:
    inner = b"\x80\x02" + reduce(folder) + b"."
    return call(named("pickle", "loads"), b"B" + struct.pack("<I", len(inner)) + inner)


def hub(folder: Path) -> bytes:
    return call(named("torch.hub", "load"), text(str(folder)), text("payload"), b"N", text("local"))


def instance_in_state(folder: Path) -> bytes:
    return named("collections", "OrderedDict") + b")R" + mapping({"__dict__": instance(folder)}) + b"b"


ROUTES: Final[dict[str, Route]] = {
    "REDUCE": reduce,
    "INST": instance,
    "OBJ": object_,
    "STACK_GLOBAL": stack_global,
    "NEWOBJ": new_object,
    "NEWOBJ_EX": new_object_with_keywords,
    "BUILD of __setstate__": set_state,
    "BUILD of slots": slot_state,
    "BUILD on a class": class_state,
    "REDUCE of REDUCE": reduce_of_reduce,
    "the memo": through_memo,
    "the old memo": through_old_memo,
    "MEMOIZE": through_memoize,
    "a value dropped at once": dropped,
    "a mark dropped at once": between_marks,
    "a persistent id": persistent,
    "a storage's type": storage_type,
    "the function that rebuilds a tensor": rebuild_function,
    "backward hooks": backward_hooks,
    "the class of a tensor": nested_type,
    "a list in a list": in_list,
    "a dictionary in a dictionary": in_mapping,
    "a dictionary's key": as_key,
    "a tuple as a key": in_tuple_key,
    "a set": in_set,
    "a frozen set": in_frozen_set,
    "an ordered dictionary's item": in_ordered_dict,
    "an argument of a call": in_argument,
    "a parameter's state": in_state_of_parameter,
    "eval": evaluates,
    "exec by its old name": executes_by_old_name,
    "a dotted name": dotted_name,
    "functools.partial": partial,
    "operator.methodcaller": attribute_getter,
    "numpy's runstring": run_string,
    "runpy": run_module,
    "a pickle in the pickle": inner_pickle,
    "torch.hub": hub,
    "INST in a state": instance_in_state,
}
OLD: Final = ("REDUCE", "INST", "OBJ", "the old memo", "a dictionary's key")
EVERYWHERE: Final = (
    "REDUCE",
    "INST",
    "OBJ",
    "STACK_GLOBAL",
    "NEWOBJ",
    "NEWOBJ_EX",
    "BUILD of __setstate__",
    "the memo",
)
"""The routes that are tried in every kind of file; the others are tried in today's."""


def _case(route: str, wrap: str, protocol: int) -> Hostile:
    push, write = ROUTES[route], WRAPS[wrap]
    return Hostile(f"{route}, protocol {protocol}, in {wrap}", _build(push, write, protocol), RUNS)


def _build(push: Route, write: Wrap, protocol: int) -> Callable[[Path], Path]:
    return lambda folder: write(folder, push(folder), protocol)


def cases() -> list[Hostile]:
    """All of them."""
    today = [_case(route, "a torch archive", 4) for route in ROUTES]
    elsewhere = [_case(route, wrap, 2) for route in EVERYWHERE for wrap in WRAPS if wrap != "a torch archive"]
    old = [_case(route, wrap, protocol) for route in OLD for wrap in ("a plain pickle",) for protocol in (0, 1, 3, 5)]
    return [*today, *elsewhere, *old]
