from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from weightatlas.checkpoints import open_checkpoint
from weightatlas.nn import LanguageModel

if TYPE_CHECKING:
    from pathlib import Path


def symbols(count: int = 3, length: int = 12, classes: int = 7) -> torch.Tensor:
    return torch.randint(classes, (count, length), generator=torch.Generator().manual_seed(0))


def by_hand(model: LanguageModel, text: torch.Tensor, heads: int) -> torch.Tensor:
    """The logits of one text, position by position and head by head, in plain steps."""
    state = model.state_dict()

    def linear(name: str, features: torch.Tensor) -> torch.Tensor:
        return functional.linear(features, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(name: str, features: torch.Tensor) -> torch.Tensor:
        spread = (features.var(dim=-1, keepdim=True, correction=0) + 1e-5).sqrt()
        scaled = (features - features.mean(dim=-1, keepdim=True)) / spread
        return torch.addcmul(state[f"{name}.bias"], scaled, state[f"{name}.weight"])

    stream = state["embed_tokens.weight"][text] + state["embed_positions.weight"][: len(text)]
    for number in range(len(model.blocks)):
        block = f"blocks.{number}"
        features = norm(f"{block}.norm1", stream)
        query, key, value = (linear(f"{block}.attn.{part}_proj", features) for part in ("q", "k", "v"))
        size = query.shape[1] // heads
        seen = torch.zeros_like(query)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for place in range(len(text)):
                fits = key[: place + 1, part] @ query[place, part] / math.sqrt(size)
                seen[place, part] = fits.softmax(dim=0) @ value[: place + 1, part]
        stream = stream + linear(f"{block}.attn.o_proj", seen)
        hidden = functional.gelu(linear(f"{block}.mlp.up_proj", norm(f"{block}.norm2", stream)))
        stream = stream + linear(f"{block}.mlp.down_proj", hidden)
    return linear("lm_head", norm("final_norm", stream)).mT


def test_it_computes_what_its_parts_say() -> None:
    model = LanguageModel(layers=2, width=64, classes=7, context=12, seed=1)
    for parameter in model.parameters():  # first weights are so small that mistakes would not show
        parameter.data.mul_(5)
    text = symbols()
    expected = torch.stack([by_hand(model, line, heads=2) for line in text])
    torch.testing.assert_close(model(text), expected, rtol=1e-4, atol=1e-5)


def test_a_position_sees_what_lies_before_it_and_nothing_after() -> None:
    model = LanguageModel(layers=2, width=32, classes=7, context=12, seed=1)
    text = symbols()
    changed = text.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 7
    differs = (model(text) != model(changed)).any(dim=1)
    assert not bool(differs[:, :6].any())
    assert bool(differs[:, 6:].all())


def test_whole_numbers_of_any_type_are_the_same_text() -> None:
    model = LanguageModel(layers=1, width=32, classes=7, context=12)
    expected = model(symbols())
    for dtype in (torch.float32, torch.int32, torch.uint8, torch.bfloat16):
        assert torch.equal(model(symbols().to(dtype)), expected)


def test_it_begins_near_the_uniform_guess_and_seeds_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    model = LanguageModel(layers=4, width=64, classes=7, context=12, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    text = symbols(64)
    assert functional.cross_entropy(model(text), text.flip(1)).item() == pytest.approx(math.log(7), abs=0.1)
    again, other = (LanguageModel(layers=4, width=64, classes=7, context=12, seed=seed) for seed in (2, 3))
    assert torch.equal(model.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(model.lm_head.weight, other.lm_head.weight)


def test_the_order_of_its_layers_is_told_from_their_names(tmp_path: Path) -> None:
    model = LanguageModel(layers=2, width=32, classes=7, context=12)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    weights = [layer for layer in open_checkpoint(tmp_path / "model.safetensors").layers if len(layer.shape) > 1]
    assert [f"{layer.layer}.weight" for layer in weights] == [
        name for name, parameter in model.named_parameters() if parameter.ndim > 1
    ]
    assert [layer.role for layer in weights[:3]] == ["embedding", "embedding", "attention-q"]


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be 1 or more"):
        LanguageModel(layers=0)
    with pytest.raises(ValueError, match="a multiple of 32"):
        LanguageModel(width=48)
    with pytest.raises(ValueError, match="13 symbols is longer than the context of 12"):
        LanguageModel(width=32, classes=7, context=12)(symbols(length=13))
