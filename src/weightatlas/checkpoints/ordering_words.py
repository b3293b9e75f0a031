"""What networks call their parts: what a signal passes first, what last, and in which order within a block.

**Source:** the module names of timm, torchvision and transformers.

Every pattern takes time in proportion to the length of a name.
"""

from __future__ import annotations

import re
from typing import Final

FIRST: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"shared|stem\w*|conv_stem|base_layer|backbone|wte|word_embed(ding)?s?|embed_in|tok_embeddings",
        r"embed_tokens|token_embed\w*|conv_in|in_conv|conv2d_\w*|patch_embed(ding|der)?s?1?",
        r"cls_token|dist_token|reg_token",
        r"wpe|pos_?embed\w*|pos(ition)?_embed\w*|embed_pos\w*|\w*_pos(ition)?_embed\w*",
        r"token_type_embed\w*|segment_embed\w*",
        r"norm_pre|pre_la?ye?rno?rm|layernorm_embedding|\w*embeddings?_layer_?norm",
        r"embed(?!_out)\w*",
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
        r"pooler|attn_?pool|aligner|pre_logits|pre_classifier",
        r"head",
        r"fc|classif\w*|logits|lm_head|embed_out|score|proj_out|last_linear|output_layer|head_?\w+|\w+_head",
    )
)
FIRST_BESIDE_A_LIST: Final = ("tokens", "positions")
LAST_BESIDE_A_LIST: Final = frozenset({"out", "output", "outputs", "unembed", "unembedding"})
"""What stands before and after all blocks; in a block `output` is the end of its own parts."""

LIST: Final = re.compile(r"(blocks?|layers?|stages?|h|features|body|encoder|decoder|levels?|\w*block|\w*layer)_?\d*")
ATTENTION: Final = re.compile(r"(self_?)?att(n|ention)_?\d*|attn_block|token_mixer|xca|mixer|(mlp|linear)_tokens")
CROSS: Final = re.compile(r"(encoder|cross|multihead)_?att(n|ention)|encdecattention")
MLP: Final = re.compile(
    r"mlp\w*|ffn|feed_forward|denserelu\w*|intermediate|output|block_sparse_moe|(fc|linear)\d|wi|c_fc"
)
NORM: Final = re.compile(r"norm|ln|layer_?norm|rms_?norm|normalization|group_?norm")
BATCH_NORM: Final = re.compile(r"bns?|gn|batch_?norm\w*")
ATTENTION_NORM: Final = re.compile(r"(self_attn|encoder_attn|sa)_layer_?norm")
DEPTHWISE: Final = frozenset({"conv_dw", "dwconv", "depthwise"})
QUERY: Final = re.compile(r"q|query|q_proj|q_lin|to_q|qkv\w*|query_key_value|c_attn|in_proj|wqkv")
BEHIND: Final = re.compile(r"downsampl\w*|shortcut\w*|skip\w*|decoder")
WITHIN_A_BLOCK: Final = (
    ("patch_embed", "gate", "squeeze", "reduce", "conv_reduce", "reduction"),
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
SECOND_NORMS: Final = frozenset(
    {
        "post_attention_layernorm",
        "layernorm_after",
        "ffn_norm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    }
)
