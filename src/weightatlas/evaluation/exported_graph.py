"""The graph of a `.pt2` export: names that are names, operators that are torch's own, expressions that are arithmetic.

torch turns names into Python source, looks targets up by attribute, evaluates expressions, and imports what a tree's
types name. So every text in the graph must have the form that an honest export gives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.errors import SourceError
from weightatlas.wording import printable

SPACES: Final = ("aten", "prims", "torchvision", "quantized_decomposed")
HIGHER: Final = frozenset({"cond", "map_impl", "while_loop", "out_dtype", "wrap_with_set_grad_enabled"})
FORBIDDEN: Final = frozenset({"from_file", "save", "_print", "warn", "manual_seed", "seed"})
"""Operators under `aten` that reach files, streams or torch's generator."""

ARITHMETIC: Final = frozenset(
    {"getitem", "add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pos", "pow", "abs"}
    | {"eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "xor", "not_", "lshift", "rshift"}
)
FUNCTIONS: Final = frozenset(
    {"Max", "Min", "Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "ModularIndexing", "Where", "Eq", "Ne", "And"}
    | {"Or", "Not", "IntTrueDiv", "FloatTrueDiv", "ToFloat", "TruncToInt", "CeilToInt", "RoundToInt", "Abs", "Identity"}
    | {"True", "False", "int_oo", "oo", "Le", "Lt", "Ge", "Gt", "true", "false", "floor", "ceiling"}
    | {"Add", "Mul", "Rational", "Float", "Integer"}
)
TREES: Final = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})

EXPRESSION_LIMIT: Final = 2000
DEPTH: Final = 60

_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PATH: Final = re.compile(r"\w*(\.\w+)*", re.ASCII)
_TEXT: Final = re.compile(r"[\w.+\-*/(),: <>=#\[\]|@%&!?~$;]*", re.ASCII)
_SYMBOL: Final = re.compile(r"[sufzi]+\d+")
_EXPRESSION: Final = re.compile(r"[\w+\-*/(), <>=&|~.!]*", re.ASCII)
_STORED_SYMBOL: Final = re.compile(r"Symbol\('([sufzi]+\d+)'(, \w+=(True|False))*\)")
_STORED_INTEGER: Final = re.compile(r"Integer\((-?\d+)\)")
_STORED_POWER: Final = re.compile(r"Pow\(([sufzi]+\d+), -?\d{1,2}\)")
_POWER: Final = re.compile(r"[sufzi]+\d+\s*\*\*\s*-?\d{1,2}(?!\w|\s*\*\*)")
_REMEDY: Final = "open the model from the code that made it: package.module:callable"


def check_graph(source: str, program: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Refuse a serialised program in which any text could become more than a name, an operator or arithmetic.

    Args:
        source: the file's name, for errors.
        program: the parsed JSON of an exported program.

    Raises:
        SourceError: something in it has no place there.
    """
    for trail, text in _texts(program, ()):
        if "metadata" in trail:
            continue  # stack traces and module paths: kept as text
        key = trail[-1] if trail else ""
        if not _allowed(source, key, text):
            what = f"{printable(text, limit=60)!r} as {printable(key, limit=30) or 'a name'}"
            raise SourceError(source, f"not opened: its graph has {what}, which no plain export has", _REMEDY)


def _texts(value: object, trail: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in JSON with the keys that lead to it; the keys of a mapping are texts themselves."""
    if len(trail) > DEPTH:
        message = "its description is nested too deeply"
        raise ValueError(message)
    if isinstance(value, str):
        yield trail, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*trail, "a key"), key
            yield from _texts(inner, (*trail, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, trail)


def _allowed(source: str, key: str, text: str) -> bool:
    if key in {"in_spec", "out_spec"}:
        return _is_plain_tree(bounded_json(text.encode(), source, "a tree of its inputs"), 0)
    if key in _CHECKS:
        return _CHECKS[key](text)
    return "__" not in text and _TEXT.fullmatch(text) is not None


def is_operator(target: str) -> bool:
    """Whether a target is one of torch's operators, or arithmetic on its sizes; no operator that reaches a file.

    Example:
        >>> is_operator("torch.ops.aten.relu.default"), is_operator("_operator.getitem"), is_operator("torch.hub.load")
        (True, True, False)
    """
    if not re.fullmatch(r"\w+(\.\w+)*", target, re.ASCII) or "__" in target:
        return False
    parts = target.split(".")
    if parts[:2] == ["torch", "ops"]:
        if parts[2:3] == ["higher_order"]:
            return len(parts) == 4 and parts[3] in HIGHER
        return len(parts) in {4, 5} and parts[2] in SPACES and parts[3] not in FORBIDDEN
    if parts[0] == "_operator":
        return len(parts) == 2 and parts[1] in ARITHMETIC
    if parts[0] == "math":
        return len(parts) == 2 and parts[1] in {"ceil", "floor", "trunc", "sqrt", "pow", "log2"}
    return len(parts) == 2 and parts[0] == "torch" and re.fullmatch(r"_?sym_\w+", parts[1]) is not None


def is_arithmetic(text: str) -> bool:
    """Whether an expression is arithmetic on symbols such as s0, bounded in what it may cost.

    Powers count only where a symbol has an exponent of two digits at most: a tower of numbers would never end.

    Example:
        >>> is_arithmetic("2*s0 + Max(1, s27)"), is_arithmetic("exit()"), is_arithmetic("9**9**9")
        (True, False, False)
    """
    if len(text) > EXPRESSION_LIMIT:
        return False
    text = _STORED_INTEGER.sub(r"\1", _STORED_SYMBOL.sub(r"\1", text))
    text = _STORED_POWER.sub(r"\1", text)
    if not _EXPRESSION.fullmatch(text) or re.search(r"\d{20}|[A-Za-z_)]\s*\.", text):
        return False
    names = re.findall(r"[A-Za-z_]\w*", text)
    if not all(_SYMBOL.fullmatch(name) or name in FUNCTIONS for name in names):
        return False
    return len(_POWER.findall(text)) == text.count("**")


def _is_plain_tree(tree: object, depth: int) -> bool:
    """Whether a tree of inputs is made of tuples, lists and dictionaries with plain keys."""
    if depth > DEPTH:
        return False
    if isinstance(tree, list):
        return all(_is_plain_tree(inner, depth + 1) for inner in tree)
    if isinstance(tree, dict):
        if "type" not in tree or not set(tree) <= {"type", "context", "children_spec"}:
            return False
        context = tree.get("context")
        plain = context is None or (isinstance(context, str) and "__" not in context and "\\" not in context)
        return tree["type"] in {None, *TREES} and plain and _is_plain_tree(tree.get("children_spec", []), depth + 1)
    return isinstance(tree, int)


def _is_identifier(text: str) -> bool:
    return not text or _IDENTIFIER.fullmatch(text) is not None


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None or is_arithmetic(text)


def _anything(_text: str) -> bool:
    return True


_CHECKS: Final[dict[str, Callable[[str], bool]]] = {
    "target": is_operator,
    "expr_str": is_arithmetic,
    "guards_code": _anything,  # never turned into code: the module is made without its guards
    **dict.fromkeys(("name", "as_name", "class_fqn", "forward_arg_names"), _is_identifier),
    **dict.fromkeys(("a key", "fqn", "parameter_name", "buffer_name", "tensor_constant_name"), _is_path),
}
"""What a text must be, by the key it stands under."""
