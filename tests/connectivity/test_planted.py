"""Permutations that were planted are found again, on every kind of network, without anybody saying what may move."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from weightatlas.anatomy.symmetries.trial import Trial
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.connectivity.matching import match

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.anatomy.symmetry import Symmetries

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SYMBOLS = {"input_ids": torch.arange(6)[None], "use_cache": False}


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3072, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 5)
    )  # fmt: skip


def of_torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:  # noqa: ANN401
    def build() -> nn.Module:
        import_torchvision()
        from torchvision import models

        made: nn.Module = getattr(models, name)(weights=None, num_classes=10, **options)
        return made

    return build


def vgg19_bn() -> nn.Module:
    import_torchvision()
    from torchvision.models.vgg import VGG, cfgs, make_layers

    widths: list[str | int] = [one if isinstance(one, str) else one // 8 for one in cfgs["E"]]
    made: nn.Module = VGG(nn.Identity(), init_weights=False, num_classes=10)
    made.features = make_layers(widths, batch_norm=True)
    made.classifier = nn.Sequential(nn.Linear(64 * 49, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, 10))
    return made


def resnet50() -> nn.Module:
    import_torchvision()
    from torchvision.models.resnet import Bottleneck, ResNet

    made: nn.Module = ResNet(Bottleneck, [1, 2, 1, 1], num_classes=10, width_per_group=16)
    return made


def densenet() -> nn.Module:
    import_torchvision()
    from torchvision.models import DenseNet

    made: nn.Module = DenseNet(growth_rate=8, block_config=(2, 3, 2), num_init_features=16, num_classes=10)
    return made


def efficientnet() -> nn.Module:
    import_torchvision()
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    stages = [(1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 1)]
    made: nn.Module = EfficientNet([MBConvConfig(*one, width_mult=0.5) for one in stages], 0.2, num_classes=10)
    return made


def vision_transformer() -> nn.Module:
    import_torchvision()
    from torchvision.models import VisionTransformer

    made: nn.Module = VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10)
    with torch.no_grad():
        made.get_parameter("heads.head.weight").normal_()  # it begins at 0
    return made


def convnext() -> nn.Module:
    import_torchvision()
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    made: nn.Module = ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 2)], num_classes=10)
    return made


def of_transformers(name: str, **options: Any) -> Callable[[], nn.Module]:  # noqa: ANN401
    def build() -> nn.Module:
        import_torchvision()  # transformers imports it too
        import transformers

        kind = getattr(transformers, name)
        made: nn.Module = kind(kind.config_class(vocab_size=50, bos_token_id=0, eos_token_id=0, **options))
        return made

    return build


# A network, what to call it with, and the least share of its parameters that can move: all but the outputs' biases.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any, float]] = {
    "perceptron": (perceptron, IMAGE, 0.9999),
    "VGG19-BN": (vgg19_bn, IMAGE, 0.9999),
    "ResNet-18": (of_torchvision("resnet18"), IMAGE, 0.9999),
    "ResNet-50": (resnet50, IMAGE, 0.9999),
    "DenseNet": (densenet, IMAGE, 0.999),
    "MobileNetV2": (of_torchvision("mobilenet_v2", width_mult=0.25), IMAGE, 0.9999),
    "EfficientNet": (efficientnet, IMAGE, 0.999),
    "GoogLeNet": (of_torchvision("googlenet", init_weights=False, aux_logits=False), IMAGE, 0.9999),
    "ConvNeXt": (convnext, IMAGE, 0.999),
    "ViT": (vision_transformer, IMAGE, 0.999),
    "GPT-2": (of_transformers("GPT2LMHeadModel", n_embd=32, n_layer=2, n_head=4), SYMBOLS, 1.0),
    "Llama": (
        of_transformers(
            "LlamaForCausalLM", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=48, tie_word_embeddings=True,
        ),
        SYMBOLS,
        1.0,
    ),
}  # fmt: skip


@lru_cache(maxsize=1)
def network(name: str) -> tuple[nn.Module, Symmetries, Trial]:
    """A network as it begins, its symmetries, and a copy in float64 to run states on."""
    build, example, _ = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().eval()
    return model, symmetries(model, example, draws=1), Trial.of(model, example, seed=0)


def with_random_norms(state: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Norms, biases and running statistics as training leaves them: each unit has its own."""
    generator = torch.Generator().manual_seed(seed)
    made = dict(state)
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            drawn = torch.randn(tensor.shape, generator=generator)
            made[name] = 0.5 + drawn.abs() if name.endswith(("weight", "running_var")) else 0.3 * drawn
    return made


def recovered(model: nn.Module, found: Symmetries, trial: Trial, state: dict[str, torch.Tensor]) -> None:
    """Plant permutations of all groups in a copy; it computes the same, and matching brings every entry back."""
    planted = found.random(7)
    theirs = found.permute(state, planted)
    assert all((planted[group.name] != range(group.size)).any() for group in found.groups if group.size > 4)
    ours = trial.run(state)
    for one, other in zip(ours, trial.run(theirs), strict=True):
        assert float((one - other).abs().max()) <= 1e-9 * float(one.abs().max())
    matching = match(model, state, theirs, found, restarts=1)
    back = matching.align(theirs)
    away = [name for name, tensor in state.items() if not torch.equal(tensor, back[name])]
    assert not away, f"{len(away)} of {len(state)} tensors differ, {away[:3]} among them"
    assert matching.similarity == pytest.approx(1, abs=1e-6)
    assert matching.distance == 0


@pytest.mark.parametrize("norms", ["as they begin", "drawn at random"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_planted_is_found_again(name: str, norms: str) -> None:
    model, found, trial = network(name)
    assert found.verified
    assert found.coverage >= NETWORKS[name][2]
    state = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    recovered(model, found, trial, state if norms == "as they begin" else with_random_norms(state, 1))


@pytest.mark.parametrize("name", ["ViT", "GPT-2", "Llama"])
def test_what_was_planted_in_each_head_is_found_again(name: str) -> None:
    model, found, trial = network(name)
    held = found.holding(*{owner for several in found.separable.values() for owner in several})
    assert held.verified
    assert len(held.groups) > len(found.groups)
    state = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    recovered(model, held, trial, with_random_norms(state, 1))
