"""What names can tell: the spellings that frameworks use for the parts of a network.

Names are hints. Every rule that uses one also looks at shapes, and the shape wins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from weightatlas.anatomy.vocabulary import Role

STATISTICS: Final = frozenset(
    {
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "moving_mean",
        "moving_variance",
        "running_std",
        "n_averaged",
    }
)
"""Parameters that data moves, not gradients."""

_BUFFERS: Final = re.compile(
    r"""^(weight_u|u|inv_freq|freqs?_cis|freqs?|cos_cached|sin_cached|original_inv_freq|attn_mask|attention_mask|mask
    |masked_bias|causal_mask|position_ids|token_type_ids|relative_position_index|relative_coords_table
    |attention_bias_idxs|pos_embed_buffer)$""",
    re.VERBOSE,
)
_BIAS: Final = re.compile(r"^(b|beta|(.*_)?(bias|biases)|bias_.*)$")
_WEIGHT: Final = re.compile(r"^$|^original1$|(^|_)(w|weight|kernel|embedding|embeddings)(_|\d|$)|proj$")
_NO_WEIGHT: Final = re.compile(r"^weight_(g|u|scale\w*|zero_point|absmax|shape)$|scale|scales$")
_EMBEDDING: Final = re.compile(
    r"""^(wte|wpe|tok_?emb(eddings?)?|embed_(tokens|positions|in)|shared|embeddings?|.*_embeddings?
    |pos_embed(ding)?|(abs_)?pos_embed_\w+|relative_attention_bias|relative_position_bias_table|rel_pos_(h|w)
    |(cls|class|dist|mask|reg|register|pos)_tokens?|emb|embed)$""",
    re.VERBOSE,
)
_SCALE: Final = re.compile(r"^(prelu|act\w*|alpha|slope|ls\d*|layer_?scale\w*|gamma_\d|scale\d*|relu\w*)$")
_SQUEEZE_EXCITE: Final = re.compile(
    r"^(se|.*_se|se_\w+|\w*squeeze_?(and_?)?excit\w*|se(module|layer|block)|ca|cse)\d*$"
)
_ADAPTER: Final = re.compile(r"lora|adapter|hada|lokr")
_ATTENTION: Final = re.compile(r"att(n|ention|en)?(_|\d|$)|^mha$|attention$|attn$")

_WRAPPER: Final = re.compile(r"^(\d+|c|conv|linear|base_layer|original|parametrizations|default)$")
_PREFIX: Final = r"^(?:to_?|w_?|linear_?|proj_?|attn_|in_proj_)?"
_SUFFIX: Final = r"(?:_?(?:proj|lin|linear|layer|net|conv|map|a_proj|b_proj|down_proj|up_proj|proj_weight|weight))?$"
_QUERY: Final = re.compile(_PREFIX + "(?:q|query)" + _SUFFIX)
_KEY: Final = re.compile(_PREFIX + "(?:k|key)" + _SUFFIX)
_VALUE: Final = re.compile(_PREFIX + "(?:v|value)" + _SUFFIX)
_FUSED: Final = re.compile(_PREFIX + "(?:qkv|q_k_v|query_key_value|c_attn|pack)" + _SUFFIX)
_FUSED_IN_CONTEXT: Final = re.compile(
    _PREFIX + "(?:kv|qk|qv|k_v|key_value|in_proj|in_proj_weight|kv_a_proj_with_mqa)" + _SUFFIX
)
_OUTPUT: Final = re.compile(
    r"^(to_out|o|w_?o|o_(proj|lin|linear|net)|out(_proj|_lin|_linear|put_proj|put_linear)?|proj(_out|_o|ect_out|ection)?"
    r"|linear_(o|out)|attn_out|c_proj|dense|output|wo)$"
)

Hint = Literal["q", "k", "v", "fused", "fused-in-context", "output", ""]
ATTENTION_ROLES: Final[dict[str, Role]] = {
    "q": "attention-q",
    "k": "attention-k",
    "v": "attention-v",
    "fused": "attention-qkv",
    "fused-in-context": "attention-qkv",
    "output": "attention-o",
}


def stem(layer: str, parameter: str = "weight") -> tuple[str, ...]:
    """The module path as parts, less the wrappers that only hold a layer: `to_out.0`, `qkv.c`, `q_proj.base_layer`.

    A parameter with a name of its own (`in_proj_weight`) is a last part.

    Example:
        >>> stem("blocks.0.attn.to_out.0")
        ('blocks', '0', 'attn', 'to_out')
        >>> stem("layers.1.self_attn", "in_proj_weight")
        ('layers', '1', 'self_attn', 'in_proj_weight')
    """
    parts = layer.split(".") if layer else []
    if parameter not in ("weight", "kernel", "", "weight_v", "original1"):
        return (*parts, parameter)
    while len(parts) > 1 and _WRAPPER.match(parts[-1].lower()):
        parts.pop()
    return tuple(parts)


def last(layer: str) -> str:
    """The last part of a module path, in lower case, less trailing numbers that only count."""
    parts = [part for part in layer.lower().split(".") if not part.isdigit()]
    return parts[-1] if parts else ""


def attention_hint(part: str) -> Hint:
    """Which matrix of attention a part of a name could mean.

    Example:
        >>> attention_hint("q_proj"), attention_hint("Wqkv"), attention_hint("to_out"), attention_hint("fc1")
        ('q', 'fused', 'output', '')
    """
    name = part.lower()
    hints: tuple[tuple[re.Pattern[str], Hint], ...] = (
        (_FUSED, "fused"),
        (_FUSED_IN_CONTEXT, "fused-in-context"),
        (_QUERY, "q"),
        (_KEY, "k"),
        (_VALUE, "v"),
        (_OUTPUT, "output"),
    )
    return next((hint for pattern, hint in hints if pattern.match(name)), "")


def says_attention(part: str) -> bool:
    """Whether a part of a path names attention: `attn`, `self_attention`, `SelfAttention`, `mha`."""
    return bool(_ATTENTION.search(part.lower()))


def says_squeeze_excite(path: tuple[str, ...]) -> bool:
    """Whether the last two parts of a path name a squeeze-and-excitation block."""
    return any(_SQUEEZE_EXCITE.match(part.lower()) for part in path[-2:])


def says_adapter(path: tuple[str, ...]) -> bool:
    """Whether a path names a low-rank adapter, whose two matrices have the shapes of squeeze-and-excitation."""
    return any(_ADAPTER.search(part.lower()) for part in path[-3:])


def says_embedding(layer: str, parameter: str) -> bool:
    """Whether a tensor's name is one of a table of vectors."""
    name = last(layer) if parameter in ("weight", "") else parameter.lower()
    return bool(_EMBEDDING.match(name))


def says_scale(layer: str) -> bool:
    """Whether a layer with a vector of weights is an activation or a layer scale rather than a norm."""
    return bool(_SCALE.match(last(layer)))


def says_bias(parameter: str) -> bool:
    """Whether a parameter is added."""
    return bool(_BIAS.match(parameter.lower()))


def says_buffer(parameter: str) -> bool:
    """Whether a tensor is a constant that the network carries along."""
    return bool(_BUFFERS.match(parameter.lower()))


def says_weight(parameter: str) -> bool:
    """Whether a parameter is multiplied with what comes in."""
    name = parameter.lower()
    return bool(_WEIGHT.search(name)) and not _NO_WEIGHT.search(name)
