"""Modules and names tell the same story, on real networks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from weightatlas.anatomy import describe_model, describe_tensors
from weightatlas.checkpoints.ordering import in_network_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from weightatlas.anatomy import Layer
    from weightatlas.checkpoints import TensorInfo

NETWORKS = (
    "timm:convnext_tiny",
    "timm:efficientnet_b4",
    "timm:mobilenetv1_100",
    "timm:mobilenetv3_large_100",
    "timm:regnety_008",
    "timm:resnext50_32x4d",
    "timm:vit_tiny_patch16_224",
    "timm:legacy_xception",
    "torchvision:alexnet",
    "torchvision:densenet121",
    "torchvision:googlenet",
    "torchvision:mobilenet_v3_small",
    "torchvision:resnet50",
    "torchvision:shufflenet_v2_x1_0",
    "torchvision:squeezenet1_1",
    "torchvision:swin_t",
    "torchvision:vgg19",
    "torchvision:vit_b_16",
    "transformers:BertForMaskedLM",
    "transformers:GPT2LMHeadModel",
    "transformers:LlamaForCausalLM",
    "transformers:MambaForCausalLM",
    "transformers:T5ForConditionalGeneration",
    "transformers:ViTForImageClassification",
)


def told(layers: Iterable[Layer]) -> dict[str, tuple[str, str]]:
    return {layer.tensor: (layer.kind, layer.role) for layer in layers}


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_tell_what_modules_tell(
    name: str, build: Callable[[str], nn.Module], headers: Callable[[nn.Module], list[TensorInfo]]
) -> None:
    model = build(name)
    from_modules = told(describe_model(model))
    written = headers(model)

    assert told(describe_tensors(written)) == from_modules
    # Safetensors files hold their tensors by dtype, then by name.
    alphabetical = sorted(written, key=lambda tensor: (tensor.dtype != "int64", tensor.name))
    assert told(describe_tensors(in_network_order(alphabetical))) == from_modules


def test_efficientnet_falls_into_the_groups_of_the_paper(build: Callable[[str], nn.Module]) -> None:
    roles = Counter(
        layer.role for layer in describe_model(build("timm:efficientnet_b4")) if layer.kind == "convolution"
    )
    assert roles == {
        "dense": 1,
        "depthwise": 32,
        "pointwise": 30 + 1,  # and conv_head
        "pointwise-linear": 30 + 2,  # and the two of the first stage that timm calls conv_pw
        "squeeze-excite-reduce": 32,
        "squeeze-excite-expand": 32,
    }


@pytest.mark.parametrize(
    ("network", "counts"),
    [
        ("torchvision:resnet50", {"dense": 17, "pointwise": 36}),
        ("torchvision:vgg19", {"dense": 16}),
        ("torchvision:alexnet", {"dense": 5}),
        ("torchvision:googlenet", {"dense": 20, "pointwise": 39}),
        ("timm:resnext50_32x4d", {"dense": 1, "pointwise": 36, "grouped": 16}),
    ],
)
def test_convolutions_are_counted_as_their_papers_count_them(
    network: str, counts: dict[str, int], build: Callable[[str], nn.Module]
) -> None:
    assert Counter(layer.role for layer in describe_model(build(network)) if layer.kind == "convolution") == counts


def test_llama_has_four_matrices_of_attention_a_block(build: Callable[[str], nn.Module]) -> None:
    roles = Counter(layer.role for layer in describe_model(build("transformers:LlamaForCausalLM")))
    attention = {role: count for role, count in roles.items() if role.startswith("attention")}
    assert attention == {"attention-q": 2, "attention-k": 2, "attention-v": 2, "attention-o": 2}
    assert roles["embedding"] == 1
    assert roles["linear"] == 2 * 3 + 1
    assert roles["norm"] == 2 * 2 + 1


def test_gpt2_has_fused_attention_in_transposed_matrices(build: Callable[[str], nn.Module]) -> None:
    layers = {
        layer.layer: layer for layer in describe_model(build("transformers:GPT2LMHeadModel")) if layer.kind == "linear"
    }
    assert layers["transformer.h.0.attn.c_attn"].role == "attention-qkv"
    assert layers["transformer.h.0.attn.c_attn"].shape == (64, 192)
    assert layers["transformer.h.0.attn.c_proj"].role == "attention-o"
    assert layers["transformer.h.0.mlp.c_proj"].role == "linear"


def roles_of(model: nn.Module) -> list[str]:
    return [layer.role for layer in describe_model(model) if layer.kind in ("convolution", "linear")]


def test_an_activation_after_a_projection_makes_it_an_ordinary_pointwise_convolution() -> None:
    depthwise = nn.Conv2d(8, 8, 3, groups=8)
    assert roles_of(nn.Sequential(depthwise, nn.ReLU(), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4), nn.ReLU())) == [
        "depthwise",
        "pointwise",
    ]
    assert roles_of(nn.Sequential(depthwise, nn.ReLU(), nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16))) == [
        "depthwise",
        "pointwise-linear",
    ]


@pytest.mark.parametrize("convolution", [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d])
def test_groups_are_read_from_the_module(convolution: type[nn.Conv2d]) -> None:
    model = nn.Sequential(convolution(8, 8, 3, groups=8), convolution(8, 16, 3, groups=2), convolution(16, 4, 3))
    assert roles_of(model) == ["depthwise", "grouped", "dense"]


def test_a_gate_of_matrices_is_squeeze_and_excitation_only_with_a_sigmoid() -> None:
    class Block(nn.Module):
        def __init__(self, last: nn.Module) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)
            self.side = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16), last)

    assert roles_of(Block(nn.Sigmoid()))[1:] == ["squeeze-excite-reduce", "squeeze-excite-expand"]
    assert roles_of(Block(nn.Identity()))[1:] == ["linear", "linear"]


def test_multihead_attention_is_told_from_its_own_parameters() -> None:
    layers = told(describe_model(nn.TransformerEncoderLayer(8, 2, batch_first=True)))
    assert layers["self_attn.in_proj_weight"] == ("linear", "attention-qkv")
    assert layers["self_attn.out_proj.weight"] == ("linear", "attention-o")
    assert layers["self_attn.in_proj_bias"] == ("bias", "bias")
    assert layers["linear1.weight"] == ("linear", "linear")


def test_a_buffer_is_a_buffer_whatever_its_name_and_a_norm_a_norm_whatever_its_shape() -> None:
    model = nn.Sequential(nn.LayerNorm((4, 6, 6)), nn.BatchNorm1d(4))
    model.register_buffer("weight", torch.zeros(3, 3))
    layers = told(describe_model(model))
    assert layers["0.weight"] == ("norm", "norm")
    assert layers["1.running_var"] == ("buffer", "statistic")
    assert layers["weight"] == ("buffer", "other")


def test_a_bare_layer_is_described_under_its_parameters_names() -> None:
    assert [(layer.layer, layer.role) for layer in describe_model(nn.Linear(3, 2))] == [
        ("weight", "linear"),
        ("bias", "bias"),
    ]
