"""What each opcode of a pickle does to the machine: one small function each, and the table of them.

**Source:** the opcodes as `pickletools` in Python's standard library documents them, protocols 0 to 5. Left out, for no
checkpoint has them: the extension registry (EXT1, EXT2, EXT4) and out-of-band buffers (NEXT_BUFFER).
"""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

from weightatlas.checkpoints.pickles.pickle_machine import PickleError, PickleMachine
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent, Global, Key, Persistent

Operation = Callable[[PickleMachine], None]

HIGHEST_PROTOCOL: Final = 5
SET_SIZE: Final = 216
MOST_KEYS: Final = 1_000_000
_I64: Final = 2**63
_PLAIN: Final = frozenset({str, bool, float, bytes, type(None), Global, Persistent, Call, Key})


def _key(value: Any) -> Any:  # noqa: ANN401 - whatever was pushed
    """A value as a dictionary's key, of a hash that the pickle does not choose."""
    kind = type(value)
    if kind in _PLAIN or (kind is int and -_I64 <= value < _I64):
        return value
    if kind in {int, tuple, frozenset, Extent}:
        return Key(value)
    message = f"a {kind.__name__} as a key"
    raise PickleError(message)


def _append(machine: PickleMachine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, Call):
        target.elements = [] if target.elements is None else target.elements
        target = target.elements
    if not isinstance(target, list):
        message = "it appends to what is no list"
        raise PickleError(message)
    target.extend(values)


def _append_one(machine: PickleMachine) -> None:
    _append(machine, [machine.pop()])


def _append_many(machine: PickleMachine) -> None:
    _append(machine, machine.since_mark())


def _set_items(machine: PickleMachine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, Call):
        target.items = {} if target.items is None else target.items
        target = target.items
    if not isinstance(target, dict) or len(values) % 2:
        message = "it sets keys of what is no dictionary"
        raise PickleError(message)
    if len(target) + len(values) // 2 > MOST_KEYS:
        message = f"a dictionary of more than {MOST_KEYS} keys"
        raise PickleError(message)
    for place in range(0, len(values), 2):
        target[_key(values[place])] = values[place + 1]


def _set_one(machine: PickleMachine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _set_many(machine: PickleMachine) -> None:
    _set_items(machine, machine.since_mark())


def _dictionary(machine: PickleMachine) -> None:
    values = machine.since_mark()
    machine.stack.append({})
    _set_items(machine, values)


def _empty_set(machine: PickleMachine) -> None:
    machine.spend(SET_SIZE)
    machine.stack.append(set())


def _add_items(machine: PickleMachine) -> None:
    values = machine.since_mark()
    target = machine.top()
    if not isinstance(target, set):
        message = "it adds to what is no set"
        raise PickleError(message)
    target.update(map(_key, values))


def _frozen_set(machine: PickleMachine) -> None:
    values = machine.since_mark()
    machine.spend(SET_SIZE)
    machine.stack.append(frozenset(map(_key, values)))


def _tuple_of(count: int) -> Operation:
    def operation(machine: PickleMachine) -> None:
        stack = machine.stack
        if len(stack) - (machine.marks[-1] if machine.marks else 0) < count:
            message = "a value is missing"
            raise PickleError(message)
        values = tuple(stack[-count:])
        del stack[-count:]
        stack.append(values)

    return operation


def _tuple(machine: PickleMachine) -> None:
    machine.stack.append(tuple(machine.since_mark()))


def _list(machine: PickleMachine) -> None:
    machine.stack.append(machine.since_mark())


def _pop(machine: PickleMachine) -> None:
    if machine.marks and len(machine.stack) == machine.marks[-1]:
        machine.marks.pop()
    else:
        machine.pop()


def _pop_mark(machine: PickleMachine) -> None:
    machine.since_mark()


def _constant(value: object) -> Operation:
    return lambda machine: machine.stack.append(value)


def _push(read: Callable[[PickleMachine], object]) -> Operation:
    return lambda machine: machine.stack.append(read(machine))


def _counted(read: Callable[[PickleMachine, int], object], pattern: str) -> Operation:
    """Push what a length of that pattern stands before."""
    width = struct.calcsize(pattern)
    parse = struct.Struct(pattern).unpack

    def operation(machine: PickleMachine) -> None:
        machine.stack.append(read(machine, parse(machine.take(width))[0]))

    return operation


def _recall_short(machine: PickleMachine) -> None:
    machine.recall(machine.take(1)[0])


def _remember_short(machine: PickleMachine) -> None:
    machine.remember(machine.take(1)[0])


def _integer_line(machine: PickleMachine) -> int:
    line = machine.short_line()
    truths = {b"00": False, b"01": True}
    return truths[line] if line in truths else int(line.removesuffix(b"L") or b"0")


def _quoted(machine: PickleMachine) -> object:
    line = machine.line().strip()
    machine.spend(len(line))
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in {b'"', b"'"}:
        message = "text without its quotes"
        raise PickleError(message)
    data = codecs.escape_decode(line[1:-1])[0]
    if not isinstance(data, bytes):
        raise TypeError
    return data.decode("ascii") if data.isascii() else data


def _text_line(machine: PickleMachine) -> str:
    line = machine.line()
    machine.spend(len(line))
    return line.decode("raw-unicode-escape")


def _protocol(machine: PickleMachine) -> None:
    protocol = machine.take(1)[0]
    if protocol > HIGHEST_PROTOCOL:
        message = f"pickle protocol {protocol} is not known"
        raise PickleError(message)


def _frame(machine: PickleMachine) -> None:
    machine.take(8)


def _global(machine: PickleMachine) -> None:
    module = machine.name_line()
    machine.stack.append(machine.named(module, machine.name_line()))


def _stack_global(machine: PickleMachine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.stack.append(machine.named(module, name))


def _instance(machine: PickleMachine) -> None:
    module = machine.name_line()
    function = machine.named(module, machine.name_line())
    machine.call(function, tuple(machine.since_mark()))


def _object(machine: PickleMachine) -> None:
    function, *arguments = machine.since_mark()
    machine.call(function, tuple(arguments))


def _reduce(machine: PickleMachine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.call(function, arguments)


def _new_with_keywords(machine: PickleMachine) -> None:
    keywords, arguments, function = machine.pop(), machine.pop(), machine.pop()
    machine.call(function, arguments, keywords)


def _build(machine: PickleMachine) -> None:
    state, target = machine.pop(), machine.top()
    if isinstance(target, Global):
        does = f"changes {target.path} itself"
        raise machine.refusal(does)
    if not isinstance(target, Call):
        message = f"it sets the state of a {type(target).__name__}"
        raise PickleError(message)
    target.state = state


_OPERATIONS: Final[dict[bytes, Operation]] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: _frame,
    pickle.MARK: PickleMachine.mark,
    pickle.POP: _pop,
    pickle.POP_MARK: _pop_mark,
    pickle.DUP: _push(PickleMachine.top),
    pickle.PUT: lambda machine: machine.remember(int(machine.short_line())),
    pickle.BINPUT: _remember_short,
    pickle.LONG_BINPUT: lambda machine: machine.remember(machine.number("<I")),
    pickle.MEMOIZE: lambda machine: machine.remember(len(machine.memo)),
    pickle.GET: lambda machine: machine.recall(int(machine.short_line())),
    pickle.BINGET: _recall_short,
    pickle.LONG_BINGET: lambda machine: machine.recall(machine.number("<I")),
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(value=True),
    pickle.NEWFALSE: _constant(value=False),
    pickle.INT: _push(_integer_line),
    pickle.LONG: _push(_integer_line),
    pickle.BININT: _push(lambda machine: machine.number("<i")),
    pickle.BININT1: _push(lambda machine: machine.take(1)[0]),
    pickle.BININT2: _push(lambda machine: machine.number("<H")),
    pickle.LONG1: _counted(PickleMachine.long_integer, "<B"),
    pickle.LONG4: _counted(PickleMachine.long_integer, "<i"),
    pickle.FLOAT: _push(lambda machine: float(machine.short_line())),
    pickle.BINFLOAT: _push(lambda machine: struct.unpack(">d", machine.take(8))[0]),
    pickle.STRING: _push(_quoted),
    pickle.BINSTRING: _counted(PickleMachine.old_text, "<I"),
    pickle.SHORT_BINSTRING: _counted(PickleMachine.old_text, "<B"),
    pickle.BINBYTES: _counted(PickleMachine.data, "<I"),
    pickle.SHORT_BINBYTES: _counted(PickleMachine.data, "<B"),
    pickle.BINBYTES8: _counted(PickleMachine.data, "<Q"),
    pickle.BYTEARRAY8: _counted(PickleMachine.data, "<Q"),
    pickle.READONLY_BUFFER: _push(PickleMachine.pop),
    pickle.UNICODE: _push(_text_line),
    pickle.BINUNICODE: _counted(PickleMachine.text, "<I"),
    pickle.SHORT_BINUNICODE: _counted(PickleMachine.text, "<B"),
    pickle.BINUNICODE8: _counted(PickleMachine.text, "<Q"),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.TUPLE: _tuple,
    pickle.TUPLE1: _tuple_of(1),
    pickle.TUPLE2: _tuple_of(2),
    pickle.TUPLE3: _tuple_of(3),
    pickle.EMPTY_LIST: _push(lambda _machine: []),
    pickle.LIST: _list,
    pickle.APPEND: _append_one,
    pickle.APPENDS: _append_many,
    pickle.EMPTY_DICT: _push(lambda _machine: {}),
    pickle.DICT: _dictionary,
    pickle.SETITEM: _set_one,
    pickle.SETITEMS: _set_many,
    pickle.EMPTY_SET: _empty_set,
    pickle.ADDITEMS: _add_items,
    pickle.FROZENSET: _frozen_set,
    pickle.GLOBAL: _global,
    pickle.STACK_GLOBAL: _stack_global,
    pickle.INST: _instance,
    pickle.OBJ: _object,
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _reduce,
    pickle.NEWOBJ_EX: _new_with_keywords,
    pickle.BUILD: _build,
    pickle.PERSID: lambda machine: machine.keep(machine.name_line()),
    pickle.BINPERSID: lambda machine: machine.keep(machine.pop()),
}

OPERATIONS: Final[tuple[Operation | None, ...]] = tuple(_OPERATIONS.get(bytes([code])) for code in range(256))
"""By opcode; None where a checkpoint has no such opcode."""
