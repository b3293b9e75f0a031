from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from tests.nn.conversion.networks import Places, PreActivation, Residual, Undecided, parts, with_estimates
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.checkpoints.zoo import zoo_model
from weightatlas.nn.conversion.weight_replacement import is_standardized
from weightatlas.nn.convert import convert
from weightatlas.nn.folding import fold
from weightatlas.nn.ws_conv import WSConv2d
from weightatlas.nn.ws_parametrization import standardized_parametrization

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.nn.conversion.report import ConvertedLayer, Folding

PRECISION = {torch.float64: 1e-10, torch.float32: 1e-5}
MAKERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (2, 3, 8, 8)),
    "pre-activation": (PreActivation, (2, 3, 8, 8)),
    "places": (Places, (2, 3, 8, 8)),
    "signals": (lambda: nn.Sequential(nn.Conv1d(3, 8, 3, groups=1), nn.BatchNorm1d(8), nn.Tanh()), (2, 3, 9)),
    "films": (lambda: nn.Sequential(nn.Conv3d(2, 6, 2), nn.BatchNorm3d(6), nn.Tanh()), (2, 2, 4, 4, 4)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, bias=False), nn.BatchNorm2d(8)), (2, 4, 5, 5)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6)), (2, 4, 5, 5)),
    "transposed in groups": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)),
        (2, 4, 5, 5),
    ),
    "padded by reflection": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8)),
        (2, 3, 6, 6),
    ),
    "without affine": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)), (2, 3, 6, 6)),
}


def entries(folding: Folding) -> dict[str, ConvertedLayer]:
    return {layer.layer: layer for layer in folding.layers}


def values_of(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    "recipe", [None, "ws+bn", "ws+bcn", "ws+micro-bcn", "bcn", "ws+gn", "centred", "scaled+syncbn"]
)
@pytest.mark.parametrize("name", MAKERS)
def test_the_folded_network_answers_the_same(name: str, recipe: str | None, dtype: torch.dtype) -> None:
    make, shape = MAKERS[name]
    torch.manual_seed(0)
    model = make()
    model = with_estimates(model if recipe is None else convert(model, recipe).model).to(dtype).eval()
    values = values_of(shape, dtype)
    with torch.no_grad():
        expected = model(values)
        folding = fold(model)
        given = folding.model(values)
    assert given.dtype == dtype
    assert float((given - expected).abs().max()) < PRECISION[dtype] * max(1.0, float(expected.abs().max()))
    assert not any(is_standardized(module) for module in parts(folding.model).modules())


def test_a_batch_norm_right_behind_a_convolution_is_gone() -> None:
    model = with_estimates(Residual()).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folding = fold(model)
    assert [type(getattr(folding.model, name)) for name in ("stem_norm", "bn1", "bn2")] == [nn.Identity] * 3
    assert parts(folding.model).conv1.bias is not None
    assert folding.summary == "Residual: three of three convolutions and three of three norms folded"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert type(model.bn1) is nn.BatchNorm2d


def test_the_channel_part_of_batch_channel_norm_stays_as_group_norm() -> None:
    model = with_estimates(convert(Residual(), "ws+bcn", groups=2).model).eval()
    folding = fold(model)
    norm = parts(folding.model).bn1
    assert (type(norm), norm.num_groups) == (nn.GroupNorm, 2)
    assert torch.equal(norm.weight, parts(model).bn1.channel_weight.repeat_interleave(4))
    assert entries(folding)["bn1"].groups == 2
    assert entries(folding)["conv1"].carried == "standardised weights, scaled by bn1"


def test_what_is_not_exact_stays_with_its_reason() -> None:
    folding = fold(with_estimates(PreActivation()).eval())
    reasons = {name: layer.skipped for name, layer in entries(folding).items()}
    assert reasons["bn1"] == "the convolution before it has other takers, or it takes from others too"
    assert reasons["bn2"] is None
    assert reasons["bn3"] == "no convolution is right before it"
    assert reasons["stem"] == "its weights are plain, and nothing is folded into them"
    assert type(parts(folding.model).bn1) is nn.BatchNorm2d


def test_in_training_mode_only_weights_are_folded() -> None:
    model = convert(Residual(), "ws+bn").model.train()
    folding = fold(model)
    assert type(parts(folding.model).conv1) is nn.Conv2d
    assert type(parts(folding.model).bn1) is nn.BatchNorm2d
    assert entries(folding)["bn1"].skipped == "it is in training mode, where it is no fixed scale and shift"
    torch.manual_seed(0)
    values = values_of((4, 3, 6, 6))
    assert torch.allclose(folding.model(values), model(values), atol=1e-5)


def test_norms_that_are_no_fixed_scale_stay() -> None:
    for norm, word in (
        (nn.GroupNorm(2, 8), "by itself"),
        (nn.InstanceNorm2d(8), "by itself"),
        (nn.BatchNorm2d(8, track_running_stats=False), "no running estimates"),
    ):
        folding = fold(nn.Sequential(nn.Conv2d(3, 8, 3), norm).eval())
        assert word in str(entries(folding)["1"].skipped)


def test_a_pass_that_ends_early_folds_no_norm_until_inputs_are_given() -> None:
    model = with_estimates(Undecided()).eval()
    folding = fold(model)
    assert type(parts(folding.model).norm) is nn.BatchNorm2d
    assert "give example_inputs" in str(entries(folding)["norm"].skipped)
    assert folding.stopped
    values = values_of((1, 3, 4, 4))
    seen = fold(model, example_inputs=values)
    assert (type(parts(seen.model).norm), type(parts(seen.model).late_norm)) == (nn.Identity, nn.Identity)
    assert torch.allclose(seen.model(values), model(values), atol=1e-5)


def test_parametrised_weights_of_any_module_become_plain() -> None:
    model = nn.Sequential(standardized_parametrization(nn.Linear(5, 4)), nn.ReLU()).eval()
    folding = fold(model)
    assert list(parts(folding.model).state_dict()) == ["0.bias", "0.weight"]
    values = values_of((3, 5))
    assert torch.allclose(folding.model(values), model(values), atol=1e-6)
    assert entries(folding)["0"].kind == "other"


def test_a_frozen_batch_norm_is_folded_in_any_mode() -> None:
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    model = with_estimates(nn.Sequential(nn.Conv2d(3, 8, 3), FrozenBatchNorm2d(8))).train()
    folding = fold(model)
    assert type(parts(folding.model)[1]) is nn.Identity
    values = values_of((2, 3, 5, 5))
    assert torch.allclose(folding.model(values), model(values), atol=1e-5)


def test_layers_that_share_their_weights_fold_each_with_its_own_norm() -> None:
    first, second = nn.Conv2d(4, 4, 3, bias=False), nn.Conv2d(4, 4, 3, bias=False)
    second.weight = first.weight
    model = with_estimates(nn.Sequential(first, nn.BatchNorm2d(4), nn.Tanh(), second, nn.BatchNorm2d(4))).eval()
    values = values_of((2, 4, 7, 7))
    assert torch.allclose(fold(model).model(values), model(values), atol=1e-5)


def test_what_a_convolution_gives_counts_as_taken_where_the_answer_is_an_object_that_holds_it() -> None:
    class Answer:
        def __init__(self, last: Tensor, before: Tensor) -> None:
            self.last, self.parts = last, [before]

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, inputs: Tensor) -> Answer:
            before = self.conv(inputs)
            return Answer(self.norm(before), before)

    model = with_estimates(Both()).eval()
    values = values_of((2, 3, 5, 5))
    folding = fold(model)
    assert torch.equal(folding.model(values).parts[0], model(values).parts[0])
    assert "other takers" in str(entries(folding)["norm"].skipped)


def test_other_parametrisations_of_standardised_weights_are_gone_with_them() -> None:
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(WSConv2d(3, 8, 3)), nn.BatchNorm2d(8)).eval()
    folded = fold(model).model
    assert sorted(folded.state_dict()) == ["0.bias", "0.weight"]
    values = values_of((2, 3, 5, 5))
    assert torch.allclose(folded(values), model(values), atol=1e-5)


def test_a_frozen_norm_that_keeps_its_epsilon_to_itself_is_folded_with_it() -> None:
    """As those of DETR in transformers."""

    class OwnFrozenBatchNorm2d(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            for name, value in (("weight", 2.0), ("bias", 1.0), ("running_mean", 0.5), ("running_var", 1e-4)):
                self.register_buffer(name, torch.full((channels,), value))

        def forward(self, inputs: Tensor) -> Tensor:
            weight, bias, mean, variance = (part.view(1, -1, 1, 1) for part in self.buffers())
            return (inputs - mean) * (variance + 1e-5).rsqrt() * weight + bias

    model = nn.Sequential(nn.Conv2d(3, 8, 3), OwnFrozenBatchNorm2d(8)).double().eval()
    folding = fold(model)
    assert type(parts(folding.model)[1]) is nn.Identity
    values = values_of((2, 3, 5, 5), torch.float64)
    assert torch.allclose(folding.model(values), model(values), rtol=1e-9)


@pytest.mark.parametrize("recipe", [None, "ws+bcn"])
@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:tf_mobilenetv3_small_minimal_100", "timm:resnetv2_18"])
def test_networks_of_the_zoos_fold(name: str, recipe: str | None) -> None:
    model = zoo_model(f"{name}?pretrained=false&num_classes=5")
    model = with_estimates(model if recipe is None else convert(model, recipe).model).double().eval()
    values = values_of((1, 3, 64, 64), torch.float64)
    with torch.no_grad():
        expected = model(values)
        folding = fold(model)
        given = folding.model(values)
    assert torch.allclose(given, expected, rtol=1e-10, atol=1e-10)
    assert sum(layer.kind == "norm" and layer.after is not None for layer in folding.layers) >= 8


def test_the_activation_of_a_norm_stays_behind() -> None:
    model = with_estimates(zoo_model("timm:tf_mobilenetv3_small_minimal_100?pretrained=false")).eval()
    folding = fold(model)
    assert type(parts(folding.model).bn1) is nn.Sequential
    assert type(parts(folding.model).bn1.act) is type(parts(model).bn1.act)
    assert type(parts(folding.model).conv_stem).__name__ == "Conv2dSame"


def test_half_weights_are_rounded_once() -> None:
    model = with_estimates(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))).half().eval()
    rounded = parts(fold(model).model)[0].weight
    exact = parts(fold(model.double()).model)[0].weight
    assert torch.equal(rounded, exact.half())
