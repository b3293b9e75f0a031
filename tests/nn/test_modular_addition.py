from __future__ import annotations

import math

import pytest
import torch

from weightatlas.evaluation import open_model
from weightatlas.nn import ModularAdditionTransformer

SIZES = {"p": 7, "width": 12, "heads": 3, "head_width": 4, "hidden": 20}


def all_sums(p: int = 7) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(p), torch.arange(p), torch.tensor([p]))


def by_hand(model: ModularAdditionTransformer, symbols: list[int]) -> torch.Tensor:
    """The logits of one sum, position by position and head by head, in plain steps."""
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}

    def linear(name: str, vector: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = state[f"{name}.weight"] @ vector
        return answer + state[f"{name}.bias"] if f"{name}.bias" in state else answer

    stream = [
        state["embed_tokens.weight"][symbol] + state["embed_positions.weight"][place]
        for place, symbol in enumerate(symbols)
    ]
    size = SIZES["head_width"]
    query = linear("attn.q_proj", stream[2])
    seen = []
    for head in range(SIZES["heads"]):
        part = slice(head * size, (head + 1) * size)
        scores = [query[part] @ linear("attn.k_proj", vector)[part] / math.sqrt(size) for vector in stream]
        chances = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        values = [linear("attn.v_proj", vector)[part] for vector in stream]
        seen.append(sum(chance * value for chance, value in zip(chances, values, strict=True)))
    middle = stream[2] + linear("attn.o_proj", torch.cat(seen))
    after = middle + linear("mlp.down_proj", linear("mlp.up_proj", middle).clamp(min=0))
    return linear("lm_head", after)


def test_the_logits_are_those_of_plain_steps() -> None:
    model = ModularAdditionTransformer(**SIZES, seed=1)
    for parameter in model.parameters():  # biases begin at zero, which would hide them
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    symbols = all_sums()
    logits = model.double()(symbols)
    for number in (0, 10, 48):
        assert torch.allclose(logits[number], by_hand(model, symbols[number].tolist()), atol=1e-12)


def test_symbols_may_be_floating_point_as_feeds_give_them() -> None:
    model = ModularAdditionTransformer(**SIZES)
    assert torch.equal(model(all_sums().float()), model(all_sums()))


def test_the_identities_are_cuts_of_the_residual_stream() -> None:
    """Whatever the input was, what is put in at a cut decides the answer."""
    model = ModularAdditionTransformer(**SIZES)
    for name in ("residual_pre", "residual_mid", "residual_post"):
        kept: list[torch.Tensor] = []
        point = model.get_submodule(name)
        handle = point.register_forward_hook(lambda _m, _i, output, kept=kept: kept.append(output))
        expected = model(all_sums()[:5])
        handle.remove()
        handle = point.register_forward_hook(lambda _m, _i, _o, kept=kept: kept[0])
        assert torch.equal(model(all_sums()[-5:]), expected)
        handle.remove()


def test_first_weights_follow_from_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (ModularAdditionTransformer(**SIZES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    wide = ModularAdditionTransformer(width=128)
    assert float(wide.mlp.up_proj.weight.detach().std()) == pytest.approx(0.8 / math.sqrt(128), rel=0.02)
    assert not wide.mlp.up_proj.bias.any()


def test_it_has_second_derivatives() -> None:
    model = ModularAdditionTransformer(**SIZES)
    (first,) = torch.autograd.grad(model(all_sums()).square().mean(), model.attn.q_proj.weight, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), model.attn.k_proj.weight)
    assert second.any()


def test_it_is_opened_by_name_in_the_published_size() -> None:
    model = open_model("weightatlas:modular-addition")
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes["embed_tokens.weight"] == (114, 128)
    assert shapes["mlp.up_proj.weight"] == (512, 128)
    assert shapes["lm_head.weight"] == (113, 128)


@pytest.mark.parametrize("name", ["p", "width", "heads", "head_width", "hidden"])
def test_sizes_without_a_meaning_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0"):
        ModularAdditionTransformer(**{**SIZES, name: 0})
