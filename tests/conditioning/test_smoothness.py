from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.conditioning.smoothness import Smoothness, smoothness
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation import open_data, open_model
from weightatlas.evaluation.mean_loss import MeanLoss
from weightatlas.nn.convert import convert
from weightatlas.nn.ws_conv import WSConv2d

# ruff: noqa: ANN401 - options are of several kinds

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.evaluation.batches import Batch

CURVATURE = np.array([8.0, 2.0, 1.0])


class Bowl(nn.Module):
    """The loss sum a_i w_i^2 / 2."""

    def __init__(self, *at: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(at, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs * self.weight.square()).sum(1) / 2


def mean(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return output.mean()


def bowl(*at: float, **options: Any) -> Smoothness:
    return smoothness(Bowl(*at), [(torch.from_numpy(CURVATURE)[None], torch.zeros(1))], loss=mean, **options)


def network(kind: type[nn.Conv2d] = WSConv2d, norm: str = "group", seed: int = 0) -> nn.Sequential:
    def normalization(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, eps=1e-12) if norm == "batch" else nn.GroupNorm(2, channels, eps=1e-12)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            kind(3, 8, 3, bias=False),
            normalization(8),
            nn.ReLU(),
            kind(8, 12, 3, stride=2, bias=False),
            normalization(12),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, 5),
        ).double()


def batches(*sizes: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 3, 9, 9, generator=generator, dtype=torch.float64),
            torch.randint(5, (size,), generator=generator),
        )
        for size in sizes
    ]


SMALL: dict[str, Any] = {"steps": 2, "draws": 3, "eigenvalues": 0, "tries": 19}


def test_a_parabola_has_the_figures_of_its_closed_form() -> None:
    at = np.array([1.0, -2.0, 3.0])
    found = bowl(*at, reach=0.1, steps=3, draws=99)
    slope = CURVATURE * at
    unit = -slope / np.linalg.norm(slope)
    lengths = 0.1 * np.linalg.norm(at) * np.array([0.25, 0.5, 1])
    change = lengths * (slope @ unit) + lengths**2 * (unit @ (CURVATURE * unit)) / 2
    assert found.descent is not None
    assert found.lengths == pytest.approx(lengths)
    assert found.relative_lengths == pytest.approx([0.025, 0.05, 0.1])
    assert found.learning_rates == pytest.approx(lengths / np.linalg.norm(slope))
    assert found.descent.loss_change == pytest.approx(change)
    assert found.loss == pytest.approx(CURVATURE @ at**2 / 2)
    assert found.loss_lipschitz == pytest.approx(np.abs(change / lengths).max())
    assert found.gradient_lipschitz == pytest.approx(np.linalg.norm(CURVATURE * unit))
    assert found.relative_gradient_lipschitz == pytest.approx(np.linalg.norm(CURVATURE * unit) * (at @ at))
    assert found.top_eigenvalue == pytest.approx(8)
    assert ((found.random_gradient_lipschitz >= 1) & (found.random_gradient_lipschitz <= 8)).all()
    hits = (found.random_gradient_lipschitz >= np.linalg.norm(CURVATURE * unit)).sum()
    assert found.gradient_lipschitz_p == (1 + hits) / 100
    assert not found.terms


def test_a_learning_rate_is_the_longest_step_over_the_gradient() -> None:
    found = bowl(1.0, 1.0, 1.0, learning_rate=0.05, eigenvalues=0, steps=2)
    assert found.learning_rates == pytest.approx([0.025, 0.05])
    assert found.hessian is None
    assert found.top_eigenvalue is None


def test_random_directions_are_as_steep_as_their_angle_with_the_gradient() -> None:
    found = [bowl(8**-0.5, 2**-0.5, 1.0, seed=seed, draws=19, steps=1, eigenvalues=0) for seed in range(40)]
    random = np.concatenate([each.random_loss_lipschitz for each in found])
    assert np.quantile(random, 0.5) == pytest.approx(found[0].gradient_norm / 2, rel=0.1), "|cos| is uniform"
    assert np.mean([each.loss_lipschitz_p for each in found if each.loss_lipschitz_p]) < 0.15


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_what_is_left_after_the_terms_is_the_gradient_of_the_weights(norm: str, *, training: bool) -> None:
    model, parts = network(norm=norm), batches(4, 3)
    found = smoothness(model, parts, training=training, **SMALL)
    assert [each.layer for each in found.terms] == ["0", "3"]
    names = dict(model.named_parameters())
    model.train(training)
    loss = sum(len(targets) / 7 * nn.functional.cross_entropy(model(inputs), targets) for inputs, targets in parts)
    assert isinstance(loss, torch.Tensor)
    slopes = dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))
    for each in found.terms:
        slope = slopes[f"{each.layer}.weight"]
        assert each.standardized
        assert each.terms is not None
        assert each.terms.layer is not None
        assert each.terms.after == pytest.approx(slope.flatten(1).norm(dim=1).numpy(), rel=1e-10)
        assert each.terms.layer.after == pytest.approx(float(slope.norm()), rel=1e-10)
        assert slope.flatten(1).sum(1).abs().max() < 1e-12, "its mean is gone"
    assert found.gradient_norm == pytest.approx(float(torch.cat([s.flatten() for s in slopes.values()]).norm()))


@pytest.mark.parametrize("kind", [WSConv2d, nn.Conv2d])
def test_batch_normalisation_behind_leaves_nothing_of_the_term_of_scaling(kind: type[nn.Conv2d]) -> None:
    model, parts = network(kind, norm="batch"), batches(16)
    if kind is nn.Conv2d:  # the loss does not depend on the scale of W; that of W^ is the same where the mean is 0
        for convolution in (model[0], model[3]):
            weight = convolution.get_parameter("weight").data
            weight -= weight.flatten(1).mean(dim=1).reshape(-1, 1, 1, 1)
    found = smoothness(model, parts, training=True, **SMALL)
    evaluated = smoothness(model, parts, training=False, **SMALL)
    for under, each in zip(found.terms, evaluated.terms, strict=True):
        assert under.standardized is (kind is WSConv2d)
        assert under.terms is not None
        assert under.terms.scaling.max() < 1e-18
        assert each.terms is not None
        assert each.terms.scaling.max() > 1e-3, "running statistics do not follow the weights' scale"


def test_a_plain_layer_has_the_gradient_it_has_and_what_would_be_left_of_it() -> None:
    model, parts = network(nn.Conv2d), batches(5)
    found = smoothness(model, parts, linear=True, **SMALL)
    names = dict(model.named_parameters())
    loss = nn.functional.cross_entropy(model(parts[0][0]), parts[0][1])
    slopes = dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))
    assert [each.layer for each in found.terms] == ["0", "3", "8"]
    for each in found.terms:
        weight, slope = (
            tensor.detach().flatten(1) for tensor in (names[f"{each.layer}.weight"], slopes[f"{each.layer}.weight"])
        )
        centred = weight - weight.mean(1, keepdim=True)
        unit = centred / centred.norm(dim=1, keepdim=True)
        left = slope - unit * (unit * slope).sum(1, keepdim=True) - slope.mean(1, keepdim=True)
        assert not each.standardized
        assert each.terms is not None
        assert each.terms.before == pytest.approx(slope.norm(dim=1).numpy(), rel=1e-10)
        assert each.terms.after == pytest.approx(left.norm(dim=1).numpy(), rel=1e-8)


def test_the_relative_figures_do_not_change_with_a_scale_that_the_loss_does_not_see() -> None:
    def grouped(scale: float) -> Smoothness:
        model = network(nn.Conv2d)
        for name in ("0", "3"):
            model.get_parameter(f"{name}.weight").data *= scale
        for part in (1, 4, 8):
            model[part].requires_grad_(requires_grad=False)
        return smoothness(model, batches(6), tolerance=1e-6, **SMALL | {"eigenvalues": 1})

    once, tenfold = grouped(1), grouped(10)
    assert tenfold.loss_lipschitz == pytest.approx((once.loss_lipschitz or 0) / 10, rel=1e-6)
    assert tenfold.relative_loss_lipschitz == pytest.approx(once.relative_loss_lipschitz, rel=1e-6)
    assert tenfold.relative_gradient_lipschitz == pytest.approx(once.relative_gradient_lipschitz, rel=1e-5)
    assert (tenfold.top_eigenvalue or 0) * 100 == pytest.approx(once.top_eigenvalue, rel=1e-5)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back_bit_for_bit(*, fails: bool) -> None:
    model = network(norm="batch").train()
    model[4].eval()
    model.get_parameter("0.weight").grad = torch.ones_like(model.get_parameter("0.weight"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state, calls = torch.get_rng_state(), 0

    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if fails and calls == 5:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(output, targets)

    try:
        smoothness(model, batches(4), training=True, loss=loss, **SMALL | {"eigenvalues": 1})
    except KeyboardInterrupt:
        assert fails
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model] == [index != 4 for index in range(9)]
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == ["0.weight"]
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())


def test_the_same_seed_gives_the_same_figures() -> None:
    first, second, other = (smoothness(network(), batches(4), seed=seed, **SMALL) for seed in (0, 0, 1))
    assert first.random_loss_lipschitz.tolist() == second.random_loss_lipschitz.tolist()
    assert first.random_loss_lipschitz.tolist() != other.random_loss_lipschitz.tolist()
    assert first.loss_lipschitz == other.loss_lipschitz


def test_without_a_gradient_there_is_no_direction_and_a_reason() -> None:
    model = network()
    for name in ("weight", "bias"):
        model.get_parameter(f"8.{name}").data.zero_()
        model.get_parameter(f"8.{name}").requires_grad = False
    found = smoothness(model, batches(4), **SMALL)
    assert (found.gradient_norm, found.descent, found.learning_rates) == (0, None, None)
    assert (found.loss_lipschitz, found.gradient_lipschitz_p, found.relative_loss_lipschitz) == (None, None, None)
    assert len(found.random) == 3
    for each in found.terms:
        assert each.terms is None
        assert "no gradient reaches it" in str(each.skipped)
    assert smoothness(model, batches(4), learning_rate=0.1, **SMALL).random == ()


def test_weights_of_zero_have_no_relative_reach() -> None:
    with pytest.raises(ValueError, match="give a learning_rate"):
        bowl(0.0, 0.0, 0.0)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    parts = batches(3)
    parts[0][0][1, 0, 0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match="the loss or its gradient is not finite"):
        smoothness(network(), parts, **SMALL)


def test_layers_are_chosen_by_name_and_examples_by_number() -> None:
    found = smoothness(network(), batches(4, 4), layers=["8", "3"], examples=6, **SMALL)
    assert [each.layer for each in found.terms] == ["8", "3"]
    assert found.examples == 6
    with pytest.raises(ValueError, match="called 1; there are 0, 3, 8"):
        smoothness(network(), batches(4), layers=["1"], **SMALL)


@pytest.mark.parametrize(
    "option", [{"reach": 0}, {"reach": np.inf}, {"learning_rate": -1}, {"steps": 0}, {"draws": -1}, {"tries": 0}]
)
def test_options_that_mean_nothing_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        smoothness(network(), batches(2), **SMALL | option)


def test_without_draws_there_is_no_p_value() -> None:
    found = smoothness(network(), batches(2), **SMALL | {"draws": 0})
    assert found.loss_lipschitz is not None
    assert found.loss_lipschitz_p is None


def test_texts_are_classified_position_by_position() -> None:
    model = nn.Sequential(Letters(256, 4), nn.Linear(4, 256), Swapped())
    found = smoothness(model, open_data("text"), examples=8, linear=True, **SMALL)
    assert found.terms[0].kind == "Linear"
    assert found.loss == pytest.approx(np.log(256), rel=0.2)


class Letters(nn.Embedding):
    """Letters come as numbers of any type."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.long())


class Swapped(nn.Module):
    """Classes before positions."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.transpose(1, 2)


@pytest.mark.slow
def test_the_identities_hold_in_a_deep_network_of_the_zoo_that_was_converted() -> None:
    model = convert(open_model("torchvision:resnet18?pretrained=false&num_classes=8"), "ws+gn").model.double()
    parts = [(inputs[:2].double(), targets[:2]) for inputs, targets in open_data("scenes?steps=2", batch_size=2)]
    found = smoothness(model, parts, **SMALL | {"draws": 0, "steps": 1})
    _, gradients = MeanLoss(model, parts).gradient()
    assert len(found.terms) == 20
    for each in found.terms:
        assert each.standardized
        assert each.terms is not None
        assert each.terms.layer is not None
        assert 0 <= each.terms.layer.both <= 1
        assert each.terms.layer.after < each.terms.layer.scaled < each.terms.layer.before
        slope = gradients[f"{each.layer}.weight"].flatten(1).norm(dim=1).numpy()[each.terms.units]
        assert each.terms.after == pytest.approx(slope, rel=1e-10)


@pytest.mark.reference
def test_batch_norm_of_a_trained_resnet_does_most_of_what_centring_would(reference: Path) -> None:
    """In evaluation mode its statistics are constants, and nothing has taken the gradient's mean away yet."""
    images = reference.parent / "data" / "cifar10"
    if not images.is_dir():
        pytest.skip(f"no images at {images}")
    saved = reference / "cifar_resnets" / "resnet20-12fca82f.th"
    model = open_model("weightatlas:resnet20-cifar?shortcut=zeros", checkpoint=saved)
    data = open_data(f"cifar10:{images}?split=test&normalize=imagenet", batch_size=32)
    evaluated, trained = (
        smoothness(model, data, examples=64, training=training, **SMALL | {"draws": 0, "steps": 1})
        for training in (False, True)
    )
    constant, own = (
        np.median([each.terms.layer.centring for each in found.terms if each.terms and each.terms.layer])
        for found in (evaluated, trained)
    )
    assert constant > 3 * own
    assert {each.terms.layer.centring_p for each in evaluated.terms if each.terms and each.terms.layer} == {1 / 20}


def test_an_exported_graph_is_measured_in_the_mode_of_its_export() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    batch = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    graph = torch.export.export(model, (batch[0],)).module()
    options: dict[str, Any] = {"steps": 2, "draws": 1, "eigenvalues": 0}
    given, expected = (smoothness(network, [batch], **options) for network in (graph, model))
    assert given.loss == pytest.approx(expected.loss, rel=1e-5)
    assert given.gradient_lipschitz == pytest.approx(expected.gradient_lipschitz, rel=1e-3)
