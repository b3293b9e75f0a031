"""A small decoder-only transformer that predicts the next symbol of a text."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import nn
from torch.nn import functional

HEAD: Final = 32
"""Channels of an attention head, where the width allows it."""

SPREAD: Final = 0.02
"""Standard deviation of the first weights."""


class LanguageModel(nn.Module):
    r"""Build a transformer that tells from the symbols so far which comes next, at every position of a text.

    With x_0 the sum of a symbol's embedding and its position's, layer l adds attention to what lies at or before a
    position, and then a network of one hidden layer:

    $$y_l = x_{l-1} + \text{attention}_l(\text{norm}(x_{l-1})), \qquad x_l = y_l + \text{mlp}_l(\text{norm}(y_l))$$

    and the logits are a linear function of norm(x_L). The hidden layer has four times the units and GELU. There is no
    dropout, and the embedding and the output do not share weights: each has a change of its own.

    Modules, by names that public models have: embed_tokens, embed_positions, blocks.0.norm1, blocks.0.attn.q_proj,
    .k_proj, .v_proj, .o_proj, blocks.0.norm2, blocks.0.mlp.up_proj, .down_proj, ..., final_norm, lm_head.

    Args:
        layers: how many blocks.
        width: channels of the residual stream; heads have 32 of them, or all where it is narrower.
        classes: symbols of the text.
        context: the longest text it takes.
        seed: fixes the initial weights; the global generator is left as it was.

    Attributes:
        context: as given.

    Shape:
        (batch, positions) whole numbers from 0 to classes - 1, of any type (feeds give float32), to logits (batch,
        classes, positions), as `torch.nn.functional.cross_entropy` takes them.

    Raises:
        ValueError: a number is below 1, or the width is no multiple of the heads' 32; of the input: it is longer than
            `context`.

    **Source:** the decoder of Vaswani and others, Attention Is All You Need (2017), normalised before each part and not
    after it, with learned positions and first weights normal with a deviation of .02, those that write into the
    residual stream divided by sqrt(2 layers): GPT-2 (Radford and others, 2019). WeightScale (Agrawal and others, 2022)
    names language as future work.

    Example:
        >>> model = LanguageModel(layers=2, width=32, classes=8, context=16)
        >>> model(torch.zeros(3, 16)).shape
        torch.Size([3, 8, 16])
    """

    def __init__(
        self, *, layers: int = 2, width: int = 64, classes: int = 256, context: int = 64, seed: int = 0
    ) -> None:
        super().__init__()
        for name, number in (("layers", layers), ("width", width), ("classes", classes), ("context", context)):
            if number < 1:
                message = f"{name} must be 1 or more, not {number}"
                raise ValueError(message)
        if width > HEAD and width % HEAD:
            message = f"width must be a multiple of {HEAD}, the channels of a head, not {width}"
            raise ValueError(message)
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.embed_tokens = nn.Embedding(classes, width)
            self.embed_positions = nn.Embedding(context, width)
            self.blocks = nn.ModuleList(Block(width, max(1, width // HEAD)) for _ in range(layers))
            self.final_norm = nn.LayerNorm(width)
            self.lm_head = nn.Linear(width, classes, bias=False)
            _initialise(self, layers)
        self.context = context

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        """Give the logits of the next symbol at every position."""
        count = symbols.shape[1]
        if count > self.context:
            message = f"a text of {count} symbols is longer than the context of {self.context}"
            raise ValueError(message)
        places = torch.arange(count, device=symbols.device)
        features = self.embed_tokens(symbols.to(torch.int64)) + self.embed_positions(places)
        for block in self.blocks:
            features = block(features)
        logits: torch.Tensor = self.lm_head(self.final_norm(features))
        return logits.movedim(1, 2)


class Block(nn.Module):
    """Attention to what came before, then a network of one hidden layer, each added to its input.

    Args:
        width: channels.
        heads: of the attention.

    Shape:
        (batch, positions, width) to the same.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = CausalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = HiddenLayer(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Add what attention gives, then what the hidden layer makes of it."""
        features = features + self.attn(self.norm1(features))
        change: torch.Tensor = self.mlp(self.norm2(features))
        return features + change


class HiddenLayer(nn.Module):
    """A hidden layer of four times the channels with GELU.

    Args:
        width: channels.

    Shape:
        (batch, positions, width) to the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(width, 4 * width)
        self.down_proj = nn.Linear(4 * width, width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give what is added to every position."""
        answer: torch.Tensor = self.down_proj(functional.gelu(self.up_proj(features)))
        return answer


class CausalAttention(nn.Module):
    r"""Attention in which a position sees itself and what lies before it: softmax(Q K^T / sqrt(d)) V, head by head.

    Args:
        width: channels.
        heads: how many; each has width / heads channels.

    Shape:
        (batch, positions, width) to the same.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give every position a mean of the values at and before it, by how its query fits their keys."""
        query, key, value = (
            part(features).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        answer: torch.Tensor = self.o_proj(seen.transpose(1, 2).flatten(2))
        return answer


def _initialise(model: LanguageModel, layers: int) -> None:
    """Normal weights and biases of zero; what layers add to the stream is scaled so that the sum keeps its size."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            added = name.endswith((".down_proj", ".o_proj"))
            nn.init.normal_(module.weight, std=SPREAD / math.sqrt(2 * layers) if added else SPREAD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
