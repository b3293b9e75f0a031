"""Networks to describe, on the meta device: shapes and modules without a single weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from threadpoolctl import threadpool_limits

from weightatlas.checkpoints import TensorInfo
from weightatlas.checkpoints.torchvision_operators import import_torchvision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products gain nothing from threads, and lose much on a busy machine."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def build() -> Callable[[str], nn.Module]:
    """Build a network by name, `timm:NAME`, `torchvision:NAME` or `transformers:NAME`, without weights."""
    import_torchvision()

    def build_one(name: str) -> nn.Module:
        zoo, _, network = name.partition(":")
        with torch.device("meta"):
            model: nn.Module = {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers}[zoo](network)
        return model

    return build_one


def _timm(name: str) -> Any:  # noqa: ANN401 - a module of an untyped library
    import timm

    return timm.create_model(name, pretrained=False)


def _torchvision(name: str) -> Any:  # noqa: ANN401
    from torchvision import models

    options = {"init_weights": False} if name == "googlenet" else {}
    return getattr(models, name)(weights=None, **options)


def _transformers(name: str) -> Any:  # noqa: ANN401
    import transformers

    # By name, since the library makes its attributes on access and its types say nothing of them.
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    options: dict[str, dict[str, Any]] = {
        "LlamaForCausalLM": {**small, "num_key_value_heads": 2, "vocab_size": 100},
        "GPT2LMHeadModel": {
            "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0,
        },
        "BertForMaskedLM": {**small, "vocab_size": 100},
        "ViTForImageClassification": small,
        "T5ForConditionalGeneration": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
        "MambaForCausalLM": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100},
    }  # fmt: skip
    model = getattr(transformers, name)
    return model(model.config_class(**options[name]))


@pytest.fixture(scope="session")
def headers() -> Callable[[nn.Module], list[TensorInfo]]:
    """What a file of a model's state dict would say of its tensors, in the order of the modules."""

    def headers_of(model: nn.Module) -> list[TensorInfo]:
        return [header(name, tuple(value.shape), str(value.dtype)[6:]) for name, value in model.state_dict().items()]

    return headers_of


def header(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorInfo:
    """The header of one tensor."""
    layer, _, parameter = name.rpartition(".")
    return TensorInfo(name, layer or name, parameter, shape, dtype, 4, "model.safetensors")
