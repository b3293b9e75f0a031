from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from torch import nn

from weightatlas.checkpoints import TensorInfo, import_torchvision, open_checkpoint
from weightatlas.checkpoints.ordering import in_network_order
from weightatlas.checkpoints.wrapping import split_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order that is told, from the alphabet's."""
    tensors = [TensorInfo(name, *split_key(name), (), "float32", 0, "") for name in sorted(names)]
    return [tensor.name for tensor in in_network_order(tensors)]


def weights(network: nn.Module) -> list[str]:
    return [name for name in network.state_dict() if name.endswith(".weight")]


def test_a_safetensors_file_of_several_types_comes_back_in_the_order_of_the_network(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)) for _ in range(12)))
    expected = [name for name in network.state_dict() if name.endswith("0.weight")]
    safetensors.torch.save_file(network.state_dict(), tmp_path / "x.safetensors")
    assert [name for name in open_checkpoint(tmp_path / "x.safetensors") if name.endswith("0.weight")] == expected


def test_an_order_that_is_not_the_alphabets_is_kept() -> None:
    names = ["z.weight", "a10.weight", "a2.weight", "fc.weight", "b.weight"]
    assert list(open_checkpoint({name: torch.ones(1) for name in names})) == names


def test_the_parts_of_a_stage_are_told_by_letters() -> None:
    network = nn.ModuleDict()
    for part in ("4a", "4b", "5a", "5b"):
        network[f"conv{part}"] = nn.Conv2d(1, 1, 1, bias=False)
        network[f"norm{part}"] = nn.BatchNorm2d(1)
    assert [name for name in ordered(network.state_dict()) if name.endswith(".weight")] == weights(network)


@pytest.mark.parametrize(
    "name",
    [
        "convnext_atto",
        "deit_tiny_patch16_224",
        "densenet121",
        "dla34",
        "edgenext_xx_small",
        "efficientnet_b0",
        "mobilenetv3_small_100",
        "poolformer_s12",
        "regnety_002",
        "resnet18",
        "resnet50",
        "vit_tiny_patch16_224",
        "ghostnet_100",
        "hrnet_w18_small",
        "levit_128s",
        "res2net50_26w_4s",
        "swin_tiny_patch4_window7_224",
        "beit_base_patch16_224",
    ],
)
def test_names_of_timms_networks_tell_the_order_of_their_modules(name: str) -> None:
    import_torchvision()
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        expected = weights(timm.create_model(name, pretrained=False))
    found = ordered(expected)
    assert found[0] == expected[0]
    last = "head_dist.linear.weight" if name == "levit_128s" else expected[-1]
    assert found[-1] == last
    assert rank_correlation(found, expected) > 0.97
    if name in {"resnet18", "resnet50", "convnext_atto", "vit_tiny_patch16_224", "efficientnet_b0"}:
        assert found == expected


def rank_correlation(found: list[str], expected: list[str]) -> float:
    place = {name: number for number, name in enumerate(found)}
    ranks = torch.tensor([[place[name], number] for number, name in enumerate(expected)], dtype=torch.float64)
    return float(torch.corrcoef(ranks.T)[0, 1])


SIZES = {"num_hidden_layers": 11, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
TRANSFORMERS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "GPT2": (
        {"n_embd": 8, "n_layer": 11, "n_head": 2, "vocab_size": 9},
        ["wte", "wpe", "h.0.ln_1", "h.0.attn.c_attn", "h.0.attn.c_proj", "h.0.ln_2", "h.0.mlp.c_fc", "h.0.mlp.c_proj"],
        "ln_f",
    ),
    "GPTNeoX": (
        SIZES,
        [
            *("embed_in", "layers.0.input_layernorm", "layers.0.attention.query_key_value", "layers.0.attention.dense"),
            *("layers.0.post_attention_layernorm", "layers.0.mlp.dense_h_to_4h", "layers.0.mlp.dense_4h_to_h"),
        ],
        "final_layer_norm",
    ),
    "Llama": (
        SIZES,
        [
            *("embed_tokens", "layers.0.input_layernorm", "layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"),
            *("layers.0.self_attn.v_proj", "layers.0.self_attn.o_proj", "layers.0.post_attention_layernorm"),
            *("layers.0.mlp.gate_proj", "layers.0.mlp.up_proj", "layers.0.mlp.down_proj"),
        ],
        "norm",
    ),
    "Bert": (
        SIZES,
        [
            *("embeddings.word_embeddings", "embeddings.position_embeddings", "embeddings.token_type_embeddings"),
            "embeddings.LayerNorm",
            *(f"encoder.layer.0.attention.{part}" for part in ("self.query", "self.key", "self.value", "output.dense")),
            *("encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.intermediate.dense"),
            *("encoder.layer.0.output.dense", "encoder.layer.0.output.LayerNorm"),
        ],
        "pooler.dense",
    ),
    "T5": (
        {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 11, "num_heads": 2, "vocab_size": 9},
        [
            *("shared", "encoder.embed_tokens", "encoder.block.0.layer.0.layer_norm"),
            *(f"encoder.block.0.layer.0.SelfAttention.{part}" for part in "qkvo"),
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
            *(f"encoder.block.0.layer.1.{part}" for part in ("layer_norm", "DenseReluDense.wi", "DenseReluDense.wo")),
        ],
        "decoder.final_layer_norm",
    ),
}


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_names_of_transformers_tell_the_order_of_the_signal(family: str) -> None:
    """Not the modules', which some of them list with the norms after what they come before."""
    import_torchvision()
    transformers = pytest.importorskip("transformers")
    options, begin, end = TRANSFORMERS[family]
    with torch.device("meta"):
        network = getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**options))
    found = [name.removesuffix(".weight") for name in ordered(weights(network))]
    assert found[: len(begin)] == begin
    assert found[-1] == end


def test_the_output_embedding_of_pythia_is_last() -> None:
    assert ordered(["embed_out.weight", "gpt_neox.embed_in.weight", "gpt_neox.final_layer_norm.weight"]) == [
        "gpt_neox.embed_in.weight",
        "gpt_neox.final_layer_norm.weight",
        "embed_out.weight",
    ]


@pytest.mark.parametrize(
    "expected",
    [
        ["tokens.weight", "positions.weight", "blocks.0.fc.weight", "norm.weight", "output.weight"],
        ["tok_embeddings.weight", "layers.0.attention.wq.weight", "layers.1.ffn.w1.weight", "output.weight"],
    ],
    ids=["plain words", "Meta's Llama"],
)
def test_an_output_beside_blocks_is_last_and_tokens_are_first(expected: list[str]) -> None:
    assert ordered(expected) == expected


def test_an_output_within_a_block_ends_its_own_part() -> None:
    block = ["attention.self.query.weight", "attention.output.dense.weight", "intermediate.dense.weight"]
    expected = [f"encoder.layer.{number}.{name}" for number in (0, 1) for name in [*block, "output.dense.weight"]]
    assert ordered(expected) == expected


def test_tokens_and_positions_come_after_the_patches_to_which_they_are_added() -> None:
    names = ["patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed", "blocks.0.attn.qkv.weight"]
    assert ordered(names) == names


def test_any_names_are_ordered_whole_and_each_time_alike() -> None:
    draw = random.Random(0)  # noqa: S311 - names, no secrets
    words = ["conv", "norm", "12", "attn", "x_9a8", "\n1", "", "fc1", "layer", "²", "٣", "Norm", "9" * 400, "mlp"]
    names = {".".join(draw.choices(words, k=draw.randint(1, 50))) for _ in range(400)}
    assert sorted(ordered(names)) == sorted(names)
    assert ordered(names) == ordered(sorted(names, reverse=True))
