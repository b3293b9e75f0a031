"""The order of the network, where a file has only the order of the alphabet.

Safetensors writers sort tensors by name, so `fc` stands before `layer1` and `layer3.10` before `layer3.2`. Depth, onset
and "the last layer" mean something only in the order in which a signal passes the layers; names tell most of it.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.checkpoints.checkpoint import TensorInfo

FIRST: Final = re.compile(r"stem|conv_stem|patch_embed.*|embed.*|word_embed.*|wte|wpe|cls_token|pos_embed.*|encoder")
LAST: Final = re.compile(
    r"aux.*|fc_norm|final.*|ln_f|norm|conv_head|pooler|fc|head.*|classifier|classification.*|logits|last.*|lm_head|score",
    re.IGNORECASE,
)
WITHIN_A_BLOCK: Final = (
    ("input_layernorm", "squeeze", "reduce", "self_attn", "attn", "attention"),
    ("q", "query", "q_proj"),
    ("k", "key", "k_proj"),
    ("v", "value", "v_proj"),
    ("o", "out_proj", "o_proj", "proj"),
    ("post_attention_layernorm", "conv_pw", "conv", "convs", "expand", "gate_proj", "up_proj"),
    ("bn", "norm", "ln", "gn", "batchnorm"),
    ("conv_dw", "mlp", "feed_forward", "down_proj"),
    ("se",),
    ("conv_pwl",),
)
RANKS: Final = {name: rank for rank, names in enumerate(WITHIN_A_BLOCK) for name in names}
PARAMETERS: Final = {"weight": 0, "bias": 1}

Key = tuple[tuple[int, float, int, str, str], ...]


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
    return tuple(sorted(tensors, key=_key)) if _alphabetical(tensors) else tuple(tensors)


def _alphabetical(tensors: Sequence[TensorInfo]) -> bool:
    """Whether names are sorted within each type of each file, as the safetensors package writes them."""
    runs = [
        (key, [tensor.name for tensor in run])
        for key, run in groupby(tensors, lambda tensor: (tensor.file, tensor.dtype))
    ]
    return len({key for key, _ in runs}) == len(runs) and all(names == sorted(names) for _, names in runs)


def _key(tensor: TensorInfo) -> tuple[Key, int, str]:
    place = tuple(_component(part) for part in tensor.layer.split("."))
    return place, PARAMETERS.get(tensor.parameter, 2), tensor.name


def _component(part: str) -> tuple[int, float, int, str, str]:
    """First, middle or last; then the number in the name; then what comes first within a block."""
    match = re.match(r"(.*?)[_.-]?(\d+)(.*)$", part, re.DOTALL)  # a line break would make it try every split
    text, number, rest = (match[1], float(match[2]), match[3]) if match else (part, float("inf"), "")
    position = -1 if FIRST.fullmatch(part) else 1 if LAST.fullmatch(part) else 0
    whole = part.lower()
    rank = RANKS.get(whole, RANKS.get(text.lower(), len(WITHIN_A_BLOCK)))
    return position, number, rank, text, rest
