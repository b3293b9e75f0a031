"""The order of the network, where a file has only the order of the alphabet.

Safetensors writers sort tensors by name, so `fc` stands before `layer1` and `layer3.10` before `layer3.2`. Depth, onset
and "the last layer" mean something only in the order in which a signal passes the layers; names tell most of it.

A name says more beside its siblings: `norm` closes a network that has `blocks`, and opens a block that has `attn`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from weightatlas.checkpoints.checkpoint import TensorInfo

FIRST: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"shared|stem\w*|conv_stem|base_layer|conv_?0|patch_embed\w*|wte|word_embed(ding)?s?|embed_in|tok_embeddings",
        r"conv2d_\w*",
        r"wpe|pos_?embed\w*|pos(ition)?_embed\w*|embed_pos\w*|\w*_pos(ition)?_embed\w*",
        r"token_type_embed\w*|segment_embed\w*",
        r"norm_pre|pre_la?ye?rno?rm|layernorm_embedding|\w*embeddings?_layer_?norm",
        r"token_embed\w*|embed\w*|cls_token|dist_token|reg_token",
        r"encoder",
    )
)
LAST: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"aux\w*",
        r"conv_head|final_?conv|conv_last|last_conv",
        r"final\w*|ln_f|last\w*",
        r"norm_head|fc_norm|head_norm",
        r"pooler|pool|pre_logits|pre_classifier|fc_head",
        r"fc|head|classifier|classification\w*|logits|lm_head|embed_out|score|proj_out|last_linear|output_layer",
        r"head_?\w+|classifier_?\w+|\w+_head",
    )
)
LIST: Final = re.compile(r"(blocks?|layers?|stages?|h|features|body|encoder|decoder|levels?|\w*block|\w*layer)_?\d*")
ATTENTION: Final = re.compile(r"(self_|cross_|multihead_|self|encdec)?att(n|ention)|attn_\w*|token_mixer|xca|mixer")
CROSS: Final = re.compile(r"(encoder|cross|multihead)_att(n|ention)|crossattention|encdecattention|norm_cross")
MLP: Final = re.compile(
    r"mlp\w*|ffn|feed_forward|denserelu\w*|intermediate|output|block_sparse_moe|pwconv\d|fc\d|linear\d"
)
NORM: Final = re.compile(r"norm|ln|layer_?norm|rmsnorm|normalization|group_?norm")
BATCH_NORM: Final = re.compile(r"bns?|gn|batch_?norm\w*")
QUERY: Final = re.compile(r"q|query|q_proj|q_lin|to_q|qkv\w*|query_key_value|c_attn|in_proj|wqkv")
AFTERWARDS: Final = re.compile(r"downsampl\w*|shortcut\w*|skip\w*|proj|drop\w*")
WITHIN_A_BLOCK: Final = (
    ("gate", "squeeze", "reduce", "conv_reduce", "reduction"),
    ("conv_exp", "conv_pw", "primary_conv", "dwconv", "depthwise", "conv", "convs", "convolution", "projection"),
    ("expand", "conv_expand", "linear", "conv1x1"),
    ("q", "query", "q_proj", "q_lin", "to_q", "qkv", "qkv_proj", "query_key_value", "c_attn", "in_proj", "wqkv"),
    ("k", "key", "k_proj", "k_lin", "to_k", "kv", "to_kv", "kv_proj"),
    ("v", "value", "v_proj", "v_lin", "to_v", "norm_q", "q_norm"),
    ("k_norm", "norm_k"),
    ("gate_proj", "c_fc", "wi", "dense_h_to_4h", "intermediate", "self"),
    ("up_proj",),
    ("conv_dw", "conv_s2d"),
    ("proj", "o", "o_proj", "out_proj", "c_proj", "out_lin", "to_out", "wo", "dense", "down_proj", "dense_4h_to_h"),
    ("output",),
)
RANKS: Final = {name: 10 + rank for rank, names in enumerate(WITHIN_A_BLOCK) for name in names}
BEFORE, WITHIN, AFTER, BEHIND = 0, 10 + len(WITHIN_A_BLOCK), 40, 50
SECOND_NORMS: Final = frozenset({"post_attention_layernorm", "layernorm_after", "post_attention_norm", "ffn_norm"})
FIRST_NORMS: Final = frozenset({"input_layernorm", "layernorm_before", "attention_norm", "input_norm"})
FEED_FORWARD_NORM: Final = re.compile(r"(pre|post)_feedforward_layernorm")
PARAMETERS: Final = {"weight": 0, "bias": 1}
NUMBERED: Final = re.compile(r"(.*?)[_.-]?(\d+)(.*)$", re.DOTALL)  # a line break would make it try every split
INFINITE: Final = float("inf")

Key = tuple[int, float, float, int, float, str, str]


@dataclass(slots=True, eq=False)
class Module:
    """One module: its part of the name, its own tensors, and the modules in it."""

    part: str
    tensors: list[TensorInfo] = field(default_factory=list)
    modules: dict[str, Module] = field(default_factory=dict)


def in_network_order(tensors: Sequence[TensorInfo]) -> tuple[TensorInfo, ...]:
    """Tensors in the order in which a signal passes them, if the file has them in the order of the alphabet.

    A file in any other order was written in the order of its modules, and is left as it is.

    Example:
        >>> from weightatlas.checkpoints import TensorInfo
        >>> names = ["bn1", "conv1", "fc", "layer1.0", "layer1.10", "layer1.2"]
        >>> tensors = [TensorInfo(name, name, "", (), "float32", 0, "") for name in names]
        >>> [tensor.name for tensor in in_network_order(tensors)]
        ['conv1', 'bn1', 'layer1.0', 'layer1.2', 'layer1.10', 'fc']
    """
    if not _alphabetical(tensors):
        return tuple(tensors)
    ordered: list[TensorInfo] = []
    waiting = [_tree(tensors)]
    while waiting:
        module = waiting.pop()
        ordered.extend(sorted(module.tensors, key=_parameter_key))
        siblings = _Siblings(module)
        waiting.extend(sorted(module.modules.values(), key=lambda child: siblings.key(child.part), reverse=True))
    return tuple(ordered)


def _alphabetical(tensors: Sequence[TensorInfo]) -> bool:
    """Whether names are sorted within each type of each file, as the safetensors package writes them."""
    runs = [
        (key, [tensor.name for tensor in run])
        for key, run in groupby(tensors, lambda tensor: (tensor.file, tensor.dtype))
    ]
    return len({key for key, _ in runs}) == len(runs) and all(names == sorted(names) for _, names in runs)


def _tree(tensors: Iterable[TensorInfo]) -> Module:
    root = Module("")
    for tensor in tensors:
        module = root
        for part in tensor.layer.split(".") if tensor.layer else ():
            module = module.modules.setdefault(part, Module(part))
        module.tensors.append(tensor)
    return root


def _parameter_key(tensor: TensorInfo) -> tuple[int, int, str]:
    """The tokens and positions of a network, then weight, bias and the rest."""
    return _among(FIRST, tensor.parameter), PARAMETERS.get(tensor.parameter, 2), tensor.name


def _among(patterns: Sequence[re.Pattern[str]], part: str) -> int:
    return next((rank for rank, pattern in enumerate(patterns) if pattern.fullmatch(part)), len(patterns))


class _Siblings:
    """The modules in one module, and what they say of each other."""

    def __init__(self, module: Module) -> None:
        parts = [part.lower() for part in module.modules]
        self.names = frozenset(parts)
        self.has_list = any(LIST.fullmatch(part.lower()) and child.modules for part, child in module.modules.items())
        self.has_attention = any(ATTENTION.fullmatch(part) or CROSS.fullmatch(part) for part in parts)
        self.has_query = any(QUERY.fullmatch(part) for part in parts)
        self.has_mlp = any(MLP.fullmatch(part) for part in parts)
        self.is_transition = module.part.lower().startswith(("transition", "downsampl"))

    def key(self, part: str) -> Key:
        """First, middle or last of its siblings; then the number; then what comes first within a block."""
        lower = part.lower()
        match = NUMBERED.match(lower)
        text, number, rest = (match[1], float(match[2]), match[3]) if match else (lower, INFINITE, "")
        position, place = self._position(lower, text, number)
        slot, rank = self._slot(lower, text, number)
        return position, place, slot, rank, number, text, f"{rest}\0{part}"

    def _position(self, lower: str, text: str, number: float) -> tuple[int, float]:
        first, last = _among(FIRST, lower), _among(LAST, lower)
        if self.has_list:
            if text in {"conv", "bn", "norm"} and number < INFINITE:
                after = "conv_head" in self.names or number > 2
                return (1, 1.5) if after and (number > 1) else (-1, 1)
            if NORM.fullmatch(lower) or lower in {"post_layernorm", "norm_f"}:
                return 1, 2
            if lower.startswith("downsampl"):
                return -1, 0
        if first < len(FIRST):
            return -1, first
        if last < len(LAST) and not (lower.startswith("final") and self.has_attention):
            return 1, last
        return 0, 0

    def _slot(self, lower: str, text: str, number: float) -> tuple[float, int]:
        if ATTENTION.fullmatch(lower):
            return 1, WITHIN
        return number, RANKS.get(lower, RANKS.get(text, WITHIN))
