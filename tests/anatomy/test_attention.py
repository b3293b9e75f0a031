"""Attention is found by names that stand together, in the spellings of many libraries, and not elsewhere."""

from __future__ import annotations

import pytest

from weightatlas.anatomy.attention import attention_roles
from weightatlas.anatomy.vocabulary import Part


def matrices(*names: str, shape: tuple[int, ...] = (8, 8)) -> list[Part]:
    return [Part(name, "weight", shape, "linear") for name in names]


def found(parts: list[Part]) -> dict[str, str]:
    return {parts[index].layer: role.removeprefix("attention-") for index, role in attention_roles(parts).items()}


@pytest.mark.parametrize(
    "names",
    [
        ("b.self_attn.q_proj", "b.self_attn.k_proj", "b.self_attn.v_proj", "b.self_attn.o_proj"),
        ("b.attention.self.query", "b.attention.self.key", "b.attention.self.value", "b.attention.output.dense"),
        ("b.SelfAttention.q", "b.SelfAttention.k", "b.SelfAttention.v", "b.SelfAttention.o"),
        ("b.attn1.to_q", "b.attn1.to_k", "b.attn1.to_v", "b.attn1.to_out.0"),
        ("b.attention.wq", "b.attention.wk", "b.attention.wv", "b.attention.wo"),
        ("b.attention.q_lin", "b.attention.k_lin", "b.attention.v_lin", "b.attention.out_lin"),
        ("b.mha.linear_q", "b.mha.linear_k", "b.mha.linear_v", "b.mha.linear_out"),
        ("b.x.query", "b.x.key", "b.x.value", "b.x.proj"),
    ],
)
def test_four_matrices_in_the_spellings_of_eight_libraries(names: tuple[str, ...]) -> None:
    assert found(matrices(*names)) == dict(zip(names, "qkvo", strict=True))


@pytest.mark.parametrize(
    ("fused", "output"),
    [
        ("h.0.attn.c_attn", "h.0.attn.c_proj"),
        ("blocks.0.attn.qkv", "blocks.0.attn.proj"),
        ("layers.0.attention.query_key_value", "layers.0.attention.dense"),
        ("transformer.blocks.0.attn.Wqkv", "transformer.blocks.0.attn.out_proj"),
        ("layers.0.attention.wqkv", "layers.0.attention.wo"),
    ],
)
def test_fused_matrices(fused: str, output: str) -> None:
    assert found(matrices(fused, output, shape=(24, 8))) == {fused: "qkv", output: "o"}


def test_torch_keeps_them_in_parameters_of_the_module() -> None:
    parts = [Part("attn", "in_proj_weight", (24, 8), "linear"), *matrices("attn.out_proj")]
    assert list(attention_roles(parts).values()) == ["attention-qkv", "attention-o"]


@pytest.mark.parametrize(
    "names",
    [
        ("mlp.c_fc", "mlp.c_proj"),
        ("mixer.in_proj", "mixer.x_proj", "mixer.out_proj"),
        ("feed_forward.key", "feed_forward.value"),
        ("output.dense", "intermediate.dense"),
        ("k", "v"),
    ],
)
def test_the_same_names_out_of_company_mean_something_else(names: tuple[str, ...]) -> None:
    assert found(matrices(*names)) == {}


def test_a_spatial_kernel_is_never_attention() -> None:
    parts = [
        Part("attn.q", "weight", (8, 8, 3, 3), "convolution"),
        Part("attn.k", "weight", (8, 8, 1, 1), "convolution"),
    ]
    assert found(parts) == {"attn.k": "k"}
