"""Torch's own attention module, whose three layers are one function: the names and rows of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weightatlas.degeneracy.wiring.masks import attends_somewhere, both_attended

if TYPE_CHECKING:
    from collections.abc import Container

    from weightatlas.degeneracy.wiring.calls import Call, Run

_SEPARATE: Final = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True, slots=True)
class PackedAttention:
    """A call of `multi_head_attention_forward`.

    Attributes:
        path: of the module.
        heads: how many.
        width: of each head.
        weights: names of the weights that make queries, keys and values; the same one where they are packed.
        first_rows: where the rows of each begin in it.
        bias: name of the packed bias, if there is one.
        output: name of the weight that reads what attention gives.
        output_bias: of its bias, if there is one.
        is_softmax: whether the softmax is over the keys alone.
        is_mean: whether its factors add up to 1 for every query.
        reason: why nothing is claimed of it, or None.
    """

    path: str
    heads: int
    width: int
    weights: tuple[str, str, str]
    first_rows: tuple[int, int, int]
    bias: str | None
    output: str
    output_bias: str | None
    is_softmax: bool
    is_mean: bool
    reason: str | None


def packed_attention(call: Call, run: Run, varying: Container[int] = frozenset()) -> PackedAttention:
    """Read a call of torch's function of attention.

    Args:
        call: the call.
        run: of the network.
        varying: values that depend on the data: what a mask that is one of them masks elsewhere is not known.
    """
    heads = int(call.argument(4, "num_heads"))
    embedding = int(call.argument(3, "embed_dim_to_check"))
    separate = bool(call.named.get("use_separate_proj_weight", False))
    packed = call.argument(5, "in_proj_weight")
    given = [call.named.get(key) for key in _SEPARATE] if separate else [packed] * 3
    names = [run.name_of(call, one) for one in given]
    biases, reason = [call.argument(6, "in_proj_bias"), call.argument(12, "out_proj_bias")], None
    bias, output_bias = (None if one is None else run.name_of(call, one) for one in biases)
    output = run.name_of(call, call.argument(11, "out_proj_weight"))
    named = (bias is not None) == (biases[0] is not None) and (output_bias is not None) == (biases[1] is not None)
    if None in names or output is None or not named:
        reason = "its weights are computed as it runs"
    extra = [call.argument(7, "bias_k"), call.argument(8, "bias_v")]
    if any(one is not None for one in (*extra, call.named.get("static_k"), call.named.get("static_v"))):
        reason = "it attends to a key or a value that no layer makes"
    first, second, third = (str(name) for name in names)
    return PackedAttention(
        path=call.path,
        heads=heads,
        width=embedding // heads,
        weights=(first, second, third),
        first_rows=(0, 0, 0) if separate else (0, embedding, 2 * embedding),
        bias=bias,
        output=str(output),
        output_bias=output_bias,
        is_softmax=not call.argument(9, "add_zero_attn", default=False),
        is_mean=_is_mean(call, varying),
        reason=reason,
    )


def _is_mean(call: Call, varying: Container[int]) -> bool:
    """Whether nothing is dropped, and every query attends to some key, whatever the data."""
    padding, mask = call.argument(14, "key_padding_mask"), call.argument(16, "attn_mask")
    is_dropped = call.argument(10, "dropout_p", 0.0) > 0 and call.argument(13, "training", default=True)
    depends = any(value in varying for one, value in call.taken if one is padding or one is mask)
    return not is_dropped and not depends and attends_somewhere(both_attended(mask, padding))
