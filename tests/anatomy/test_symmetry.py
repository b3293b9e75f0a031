from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.anatomy.symmetries.example_networks import as_trained, change_of, sizes
from weightatlas.anatomy.symmetries.layout import Combined, Factor
from weightatlas.anatomy.symmetries.verified import verified
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3))


def torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:  # noqa: ANN401
    def build() -> nn.Module:
        import_torchvision()
        from torchvision import models

        made: nn.Module = getattr(models, name)(weights=None, **options)
        return made

    return build


def resnet(*blocks: int) -> nn.Module:
    import_torchvision()
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    kind = BasicBlock if sum(blocks) == 4 else Bottleneck
    made: nn.Module = ResNet(kind, list(blocks), num_classes=10)
    return made


def densenet() -> nn.Module:
    import_torchvision()
    from torchvision.models import DenseNet

    made: nn.Module = DenseNet(growth_rate=8, block_config=(2, 3, 2), num_init_features=16, num_classes=10)
    return made


def vision_transformer() -> nn.Module:
    import_torchvision()
    from torchvision.models import VisionTransformer

    made: nn.Module = VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=10)
    return made


def convnext() -> nn.Module:
    import_torchvision()
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    made: nn.Module = ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 2)], num_classes=10)
    return made


def transformer(name: str, **options: Any) -> Callable[[], nn.Module]:  # noqa: ANN401
    def build() -> nn.Module:
        import_torchvision()  # transformers imports it too
        import transformers

        kind = getattr(transformers, name)
        made: nn.Module = kind(kind.config_class(vocab_size=50, bos_token_id=0, eos_token_id=0, **options))
        return made

    return build


IMAGES = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SYMBOLS = {"input_ids": torch.arange(6)[None], "use_cache": False}
LLAMA = transformer(
    "LlamaForCausalLM", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=48, tie_word_embeddings=True,
)  # fmt: skip
GPT2 = transformer("GPT2LMHeadModel", n_embd=32, n_layer=2, n_head=4)

# A network, what to call it with, how many groups it has, and the least share of its parameters that moves: all but
# the biases of its outputs.
SMALL: dict[str, tuple[Callable[[], nn.Module], Any, int, float]] = {
    "perceptron": (perceptron, torch.ones(2, 9), 1, 0.97),
    "residual": (lambda: resnet(1, 1, 1, 1), IMAGES, 8, 0.999),
    "bottleneck": (lambda: resnet(1, 2, 1, 1), IMAGES, 15, 0.999),
    "dense": (densenet, IMAGES, 17, 0.998),
    "transformer of images": (vision_transformer, IMAGES, 9, 0.998),
    "depthwise and scaled": (convnext, IMAGES, 6, 0.995),
    "GPT-2": (GPT2, SYMBOLS, 9, 1.0),
    "Llama": (LLAMA, SYMBOLS, 9, 1.0),
}
LARGE: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
    "mobilenet_v2": (torchvision("mobilenet_v2"), 25, 0.999),
    "efficientnet_b0": (torchvision("efficientnet_b0"), 40, 0.999),
    "googlenet": (torchvision("googlenet", init_weights=False, aux_logits=False), 57, 0.999),
    "resnet18": (torchvision("resnet18"), 12, 0.999),
}


def check(build: Callable[[], nn.Module], example: Any, groups: int, coverage: float) -> None:  # noqa: ANN401
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build()
    found = symmetries(model, example)
    assert found.verified
    assert not [one for one in found.pinned if "changes the outputs" in one.reason]
    assert len(found.groups) == groups
    assert found.coverage >= coverage
    assert change_of(model, example, found) < 1e-6, "as it begins; what it casts to float32 rounds"
    assert change_of(as_trained(model), example, found) < 1e-5
    gc.collect()


@pytest.mark.parametrize("name", SMALL)
def test_networks_of_every_kind_keep_their_outputs(name: str) -> None:
    check(*SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_published_networks_keep_their_outputs(name: str) -> None:
    build, groups, coverage = LARGE[name]
    check(build, IMAGES, groups, coverage)


def test_rotary_pairs_stay_and_values_move() -> None:
    found = symmetries(LLAMA(), SYMBOLS)
    queries = found.layouts["model.layers.0.self_attn.q_proj.weight"][0]
    values = found.layouts["model.layers.0.self_attn.v_proj.weight"][0]
    name = "model.layers.0.self_attn"
    assert str(queries) == f"[{name}.q_proj/0] × [{name}.q_proj/1] × 8"
    assert str(values) == f"[{name}.q_proj/0] × [{name}.v_proj/1]"
    pinned = next(one for one in found.pinned if one.tensor == f"{name}.q_proj.weight" and one.axis == 0)
    assert (pinned.entries, pinned.reason) == (8, "numbers that the model does not learn stand along it")
    assert str(found.layouts["lm_head.weight"][1]) == str(found.layouts["model.embed_tokens.weight"][1])


def test_rotary_pairs_may_not_even_move_as_pairs() -> None:
    """The frequencies of a head are fixed: no order of its pairs commutes with them, in queries and keys at once."""
    model = LLAMA()
    found = symmetries(model, SYMBOLS, verify=False)
    pairs = Combined((Factor(2), Factor(4, "pairs")))
    layouts = dict(found.layouts)
    for name, heads in (("q_proj", (Factor(2), Factor(2))), ("k_proj", (Factor(2),))):
        tensor = f"model.layers.0.self_attn.{name}.weight"
        layouts[tensor] = (Combined((*heads, pairs)), layouts[tensor][1])
    tried = verified(model, SYMBOLS, layouts, seed=0, draws=1)
    assert {one.tensor.split(".")[-2] for one in tried.pinned if "changes the outputs" in one.reason} >= {
        "q_proj",
        "k_proj",
    }
    assert "pairs" not in sizes(tried)


def test_mixing_positions_has_units_of_its_own() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Linear(4, 8), nn.LayerNorm(8)
            self.mix, self.back, self.last = nn.Linear(6, 10), nn.Linear(10, 6), nn.Linear(8, 3)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            stream = self.embed(features)
            mixed = self.back(functional.gelu(self.mix(self.norm(stream).transpose(1, 2))))
            return torch.as_tensor(self.last((stream + mixed.transpose(1, 2)).mean(1)))

    assert sizes(symmetries(Mixer(), torch.zeros(2, 6, 4))) == {"embed": 8, "mix": 10}


def test_recurrent_layers_are_pinned_with_the_reason() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(4, 6, batch_first=True)

        def forward(self, features: torch.Tensor) -> Any:  # noqa: ANN401
            return self.layer(features)[0]

    found = symmetries(Recurrent(), torch.zeros(2, 5, 4))
    assert (found.groups, found.coverage) == ((), 0)
    assert {one.reason for one in found.pinned} == {"it goes through gru, which is not followed"}


def test_a_model_that_cannot_be_exported_says_so() -> None:
    class Branching(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features if features.sum() > 0 else -features

    with pytest.raises(SourceError, match="Branching: cannot be exported") as caught:
        symmetries(Branching(), torch.zeros(2, 4))
    assert "give inputs that it runs on, or a model whose forward() torch.export can follow" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_fit_are_named() -> None:
    with pytest.raises(SourceError, match=r"Sequential: cannot be exported \(.*9.*\); give inputs that it runs on"):
        symmetries(perceptron(), torch.zeros(2, 7))
    with pytest.raises(SourceError, match=r"Sequential: cannot be exported"):
        symmetries(perceptron(), [torch.zeros(2, 9), torch.zeros(2, 9)])


def test_weights_that_are_not_numbers_cannot_be_verified_and_need_not_be() -> None:
    model = perceptron()
    model.get_parameter("0.weight").data[0, 0] = float("nan")
    with pytest.raises(SourceError, match=r"not finite.*; give weights without NaN and infinity, or verify=False"):
        symmetries(model, torch.zeros(2, 9))
    found = symmetries(model, torch.zeros(2, 9), verify=False)
    assert (sizes(found), found.verified) == ({"0": 8}, False)


def test_shapes_alone_are_enough_without_verification() -> None:
    with torch.device("meta"):
        model = perceptron()
        example = torch.zeros(2, 9)
    assert sizes(symmetries(model, example, verify=False)) == {"0": 8}
    with pytest.raises(SourceError, match="has shapes and no values"):
        symmetries(model, example)


def test_the_answer_does_not_depend_on_the_example_s_values_or_size() -> None:
    several = [symmetries(perceptron(), torch.full((rows, 9), value)) for rows, value in ((1, 0.0), (5, -1e3))]
    assert [sizes(one) for one in several] == [{"0": 8}] * 2
    assert all(one.change < 1e-12 for one in several)


def layer_of(kind: int, read: int, units: int) -> nn.Module:
    """The layer of a step; none where the step calls a function."""
    if kind in {0, 2}:
        return nn.Conv2d(read, units, 1, groups=1 + kind // 2)
    if kind == 1:
        return nn.Conv2d(read, read, 3, padding=1, groups=read)
    norms: dict[int, nn.Module] = {3: nn.GroupNorm(2, read), 4: nn.BatchNorm2d(read)}
    return norms.get(kind, nn.Identity())


class Random(nn.Module):
    """A network drawn from a list of numbers: each takes one of the values so far through one of many operators."""

    def __init__(self, plan: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.plan = plan
        self.layers = nn.ModuleList()
        channels = [4]
        for kind, place, units in plan:
            read = channels[place % len(channels)]
            self.layers.append(layer_of(kind, read, 4 * units))
            channels.append({0: 4 * units, 2: 4 * units, 8: 2 * read}.get(kind, read))
        self.last = nn.Conv2d(channels[-1], 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = [torch.cat([images, images[:, :1]], 1)]
        for layer, (kind, place, units) in zip(self.layers, self.plan, strict=True):
            value = values[place % len(values)]
            made = layer(value)
            if kind == 5:
                other = next((one for one in values if one.shape == value.shape and one is not value), value)
                made = other + functional.leaky_relu(value)
            elif kind == 6:
                made = value.reshape(1, 2, -1, 4, 4).transpose(1, 2).flatten(1, 2)
            elif kind == 7:
                made = functional.avg_pool2d(value, 3, 1, 1) * value.mean((2, 3), keepdim=True).softmax(1)
            elif kind == 8:
                made = torch.cat([value, value.roll(units, 1) if units == 1 else value.relu()], 1)
            values.append(made)
        return torch.as_tensor(self.last(values[-1]))


STEPS = st.tuples(st.integers(0, 8), st.integers(0, 20), st.integers(1, 3))
PLANS = st.lists(STEPS, min_size=2, max_size=9)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(PLANS)
def test_random_networks_have_no_group_that_verification_finds_wrong(plan: list[tuple[int, int, int]]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = symmetries(Random(plan), torch.randn(1, 3, 4, 4))
    assert not [one for one in found.pinned if "changes the outputs" in one.reason]
