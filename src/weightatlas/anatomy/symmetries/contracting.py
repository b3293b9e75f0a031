"""Operators that sum over an axis of two values: what they sum over moves together in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from weightatlas.anatomy.symmetries.calls import Call, Result, Rule, Value, broadcast, hold
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Product, Term, resolved
from weightatlas.anatomy.symmetries.unification import split, unify

KERNEL: Final = "positions of a kernel"
POSITIONS: Final = "positions that a convolution reads"


def convolve(call: Call) -> Result:
    """A convolution: input channels against those of the weight, group by group; positions stay."""
    value, weight = call.value("input"), call.value("weight")
    transposed = "transpose" in call.name or bool(call.arguments.get("transposed"))
    groups = int(call.arguments.get("groups") or 1)
    spatial = len(weight.shape) - 2
    place = len(value.shape) - spatial - 1
    hold(weight.axes[2:], KERNEL)
    hold(value.axes[place + 1 :], POSITIONS)
    outputs = _grouped(value.axes[place], weight, groups, transposed=transposed)
    call.within([*value.axes, outputs if groups == 1 else weight.axes[1 if transposed else 0]])
    bias = call.optional("bias")
    if bias is not None:
        unify(bias.axes[0], outputs)
    return call.made([*value.axes[:place], outputs, *(Leaf(n, POSITIONS) for n in call.shape[place + 1 :])])


def _grouped(channels: Term, weight: Value, groups: int, *, transposed: bool) -> Term:
    """Unify input channels with a weight's; the output channels."""
    read, made = (weight.axes[0], weight.axes[1]) if transposed else (weight.axes[1], weight.axes[0])
    if groups == 1:
        unify(channels, read)
        return made
    if transposed:
        unify(channels, read)
    whole = read if transposed else made
    ours, theirs = split(channels, groups), split(whole, groups)
    if ours is None or theirs is None:
        reason = f"the {groups} groups of a convolution run across its parts"
        hold([channels, *weight.axes[:2]], reason)
        return Leaf(groups * weight.shape[1], reason) if transposed else made
    unify(ours[0], theirs[0])
    if transposed:
        return resolved(Product((theirs[0], made)))
    unify(ours[1], read)
    return made


def linear(call: Call) -> Result:
    """A linear layer, on the last axis."""
    value, weight, bias = call.value("input"), call.value("weight"), call.optional("bias")
    unify(value.axes[-1], weight.axes[-1])
    outputs = weight.axes[0] if len(weight.shape) == 2 else UNIT
    call.within([*value.axes, outputs])
    if bias is not None and bias.shape:
        unify(bias.axes[0], outputs)
    return call.made([*value.axes[:-1], outputs][: len(call.shape)])


def product(call: Call) -> Result:
    """A matrix product of the last two axes, the others in step."""
    left, right = call.value("self", "input"), call.value("other", "mat2", "vec", "tensor")
    return call.made(_product(call, left, right))


def added_product(call: Call) -> Result:
    """A matrix product on top of another value."""
    left, right = call.value("mat1", "batch1"), call.value("mat2", "batch2")
    made = _product(call, left, right)
    return call.made(broadcast([made, call.value("self").axes], len(call.shape)))


def _product(call: Call, left: Value, right: Value) -> list[Term]:
    rows = [left.axes[-2]] if len(left.shape) > 1 else []
    columns = [right.axes[-1]] if len(right.shape) > 1 else []
    unify(left.axes[-1], right.axes[-2] if len(right.shape) > 1 else right.axes[0])
    batches = broadcast([left.axes[:-2], right.axes[:-2]], len(call.shape) - len(rows) - len(columns))
    call.within([*batches, *rows, left.axes[-1], *columns])
    return [*batches, *rows, *columns]


def einsum(call: Call) -> Result:
    """Products summed as an equation says it."""
    values = call.values()
    terms, _, output = str(call.arguments["equation"]).replace(" ", "").partition("->")
    named = terms.split(",")
    if "->" not in str(call.arguments["equation"]):
        letters = "".join(named).replace(".", "")
        output = ("..." if "..." in terms else "") + "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
    known: dict[str, Term] = {}
    for term, value in zip(named, values, strict=True):
        for letter, axis in zip(_letters(term, len(value.shape)), value.axes, strict=True):
            if known.get(letter, UNIT) is UNIT:
                known[letter] = resolved(axis)
            elif resolved(axis) is not UNIT:
                unify(known[letter], axis)
    call.within(list(known.values()))
    return call.made([known[letter] for letter in _letters(output, len(call.shape))])


def _letters(term: str, axes: int) -> list[str]:
    """The letters of a term, numbers counted from the right for the axes that its dots stand for."""
    named = term.replace("...", "")
    dots = [str(place) for place in range(axes - len(named))][::-1] if "..." in term else []
    before, _, after = term.partition("...") if "..." in term else (term, "", "")
    return [*before, *dots, *after]


def embed(call: Call) -> Result:
    """A row of a matrix for each symbol."""
    weight, symbols = call.value("weight"), call.value("indices", "input")
    hold(weight.axes[:1], "its rows stand for symbols or positions")
    return call.made([*symbols.axes, weight.axes[1]])


def attend(call: Call) -> Result:
    """Attention: queries meet keys on their width, weights meet values on the positions, head by head."""
    query, key, value = (call.value(name) for name in ("query", "key", "value"))
    unify(query.axes[-1], key.axes[-1])
    unify(key.axes[-2], value.axes[-2])
    if call.arguments.get("is_causal"):
        hold([query.axes[-2], key.axes[-2]], "attention sees what came before")
    heads = _heads(query, (key, value))
    call.within([*heads, query.axes[-2], key.axes[-2]])
    mask = call.optional("attn_mask")
    if mask is not None:
        broadcast([[*heads, query.axes[-2], key.axes[-2]], mask.axes], len(query.shape))
    axes = [*heads, query.axes[-2], value.axes[-1]]
    return [call.made(axes) if n == 0 else call.fresh("of attention alone", n) for n in range(len(call.shapes))]


def _heads(query: Value, others: Sequence[Value]) -> list[Term]:
    """The axes of heads and batches; several queries may share a key."""
    leading = list(query.axes[:-2])
    for other in others:
        shared = len(leading) > 0 and 1 < other.shape[-3] < query.shape[-3]
        parts = split(leading[-1], other.shape[-3]) if shared else None
        if parts is not None:
            unify(parts[0], other.axes[-3])
            broadcast([leading[:-1], other.axes[:-3]], len(leading) - 1)
        elif shared:
            hold([leading[-1], other.axes[-3]], "queries that share keys run across its parts")
        else:
            leading = broadcast([leading, other.axes[:-2]], len(leading))
    return leading


CONTRACTING: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(
        (
            *(f"conv{axes}d" for axes in (1, 2, 3)),
            *(f"conv_transpose{axes}d" for axes in (1, 2, 3)),
            *("convolution", "_convolution"),
        ),
        convolve,
    ),
    "linear": linear,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot"), product),
    **dict.fromkeys(("addmm", "baddbmm"), added_product),
    "einsum": einsum,
    "embedding": embed,
    **dict.fromkeys(
        (
            "scaled_dot_product_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_flash_attention",
        ),
        attend,
    ),
}
"""By the operator's name in torch's `aten`."""
