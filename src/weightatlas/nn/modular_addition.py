"""The one-layer transformer that learns addition modulo p, without norms, its residual stream cut into points."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import nn

SYMBOLS: Final = 3
"""Of a sequence: a, b and "="."""

SPREAD: Final = 0.8
"""The first weights are normal with a deviation of this over the root of the width."""


class ModularAdditionTransformer(nn.Module):
    r"""Build a transformer of one layer that answers (a + b) mod p at the last of three positions.

    With x the sum of a symbol's embedding and its position's, at the last position

    $$y = x + \text{attention}(x), \qquad z = y + W_2 \, \text{relu}(W_1 y + b_1) + b_2$$

    and the logits are a linear function of z, without a bias. There are no norms. Only the last position is read, so
    queries, the hidden layer and the answer are computed there alone: what other positions would give is used by
    nothing.

    Modules, in order: embed_tokens, embed_positions, residual_pre, attn.q_proj, .k_proj, .v_proj, .o_proj,
    residual_mid, mlp.up_proj, mlp.relu, mlp.down_proj, residual_post, lm_head. The three `residual_...` are identities
    that the whole residual stream goes through: as points they cut the network (rib's ln1.0, ln2.0 and unembed).

    Args:
        p: the modulus; symbols are 0 to p, the last of them "=".
        width: channels of the residual stream.
        heads: of the attention.
        head_width: channels of a head.
        hidden: units of the hidden layer.
        seed: fixes the initial weights; the global generator is left as it was.

    Shape:
        (batch, 3) whole numbers from 0 to p, of any type (feeds give float32), to logits (batch, p).

    Raises:
        ValueError: a number is below 1, or p below 2.

    **Source:** Nanda and others, Progress Measures for Grokking via Mechanistic Interpretability (2023), with the sizes
    of Bushnaq and others, The Local Interaction Basis (2405.10928): p = 113, width 128, four heads of 32, 512 hidden
    units, ReLU. First weights as TransformerLens draws them, normal with a deviation of .8 over the root of the width,
    biases zero. Theirs has p + 1 logits, of which the last is never the answer; ours has p.

    Example:
        >>> model = ModularAdditionTransformer(p=7, width=16, heads=2, head_width=8, hidden=32)
        >>> model(torch.tensor([[1, 2, 7], [3, 3, 7]])).shape
        torch.Size([2, 7])
    """

    def __init__(
        self,
        *,
        p: int = 113,
        width: int = 128,
        heads: int = 4,
        head_width: int = 32,
        hidden: int = 512,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(width, heads, head_width, hidden) < 1 or p < 2:
            message = (
                f"p must be 2 or more and all sizes 1 or more, not p={p}, width={width}, heads={heads}, "
                f"head_width={head_width} and hidden={hidden}"
            )
            raise ValueError(message)
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.embed_tokens = nn.Embedding(p + 1, width)
            self.embed_positions = nn.Embedding(SYMBOLS, width)
            self.residual_pre = nn.Identity()
            self.attn = LastAttention(width, heads, head_width)
            self.residual_mid = nn.Identity()
            self.mlp = HiddenLayer(width, hidden)
            self.residual_post = nn.Identity()
            self.lm_head = nn.Linear(width, p, bias=False)
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=SPREAD / math.sqrt(width))
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        """Give the logits of the answer."""
        places = torch.arange(symbols.shape[1], device=symbols.device)
        embedded = self.embed_tokens(symbols.to(torch.int64)) + self.embed_positions(places)
        stream: torch.Tensor = self.residual_pre(embedded)
        stream = self.residual_mid(stream[:, -1] + self.attn(stream))
        stream = self.residual_post(stream + self.mlp(stream))
        logits: torch.Tensor = self.lm_head(stream)
        return logits


class LastAttention(nn.Module):
    r"""Attention of the last position to all: softmax(q K^T / sqrt(d)) V, head by head.

    Args:
        width: channels.
        heads: how many.
        head_width: channels of each, d.

    Shape:
        (batch, positions, width) to (batch, width).
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, heads * head_width)
        self.k_proj = nn.Linear(width, heads * head_width)
        self.v_proj = nn.Linear(width, heads * head_width)
        self.o_proj = nn.Linear(heads * head_width, width)
        self.heads = heads

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give the last position a mean of all values, by how its query fits their keys."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj(features[:, -1:]), self.k_proj(features), self.v_proj(features))
        )
        # Written out: torch's fused attention has no second derivative on the processor, which curvature asks for.
        pattern = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.shape[3]), dim=3)
        answer: torch.Tensor = self.o_proj((pattern @ value).transpose(1, 2).flatten(1))
        return answer


class HiddenLayer(nn.Module):
    """A hidden layer with ReLU.

    Args:
        width: channels.
        hidden: units.

    Shape:
        (batch, width) to the same.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(width, hidden)
        self.relu = nn.ReLU()
        self.down_proj = nn.Linear(hidden, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give what is added to the stream."""
        answer: torch.Tensor = self.down_proj(self.relu(self.up_proj(features)))
        return answer
