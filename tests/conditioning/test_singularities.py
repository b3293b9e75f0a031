from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.conditioning.distances import NEGLIGIBLE
from weightatlas.conditioning.singularities import ChannelStatistics, singularities
from weightatlas.errors import SourceError
from weightatlas.evaluation import load_checkpoint, open_data, open_model
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d

if TYPE_CHECKING:
    from pathlib import Path


def images(count: int = 96, *, size: int = 16) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 3, 6, 6, generator=generator) for _ in range(count // size)]


def network(norm: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 4, 3), nn.GELU())


def with_batch_norm(*, affine: bool = False) -> tuple[nn.Sequential, nn.BatchNorm2d]:
    """A network with a batch norm, of random weights and biases where asked for."""
    norm = nn.BatchNorm2d(8)
    model = network(norm)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return model, norm


def first(model: nn.Module, data: Any = None, **options: Any) -> ChannelStatistics:  # noqa: ANN401
    return singularities(model, images() if data is None else data, **options).points[0]


def fitted(data: list[torch.Tensor]) -> tuple[nn.Sequential, nn.BatchNorm2d]:
    """A network whose batch norm has the statistics of all the data as its running estimates."""
    model, norm = with_batch_norm()
    with torch.no_grad():
        values = model[0](torch.cat(data))
    norm.running_mean = values.mean((0, 2, 3))
    norm.running_var = values.var((0, 2, 3), correction=0)
    return model, norm


def test_the_figures_are_those_of_the_tensors_themselves() -> None:
    model, norm = with_batch_norm(affine=True)
    model.eval()
    found = singularities(model, images())
    with torch.no_grad():
        before = model[1](model[0](torch.cat(images()))).double()
        bare = torch.nn.functional.batch_norm(
            model[0](torch.cat(images())), norm.running_mean, norm.running_var
        ).double()
        last = model[:4](torch.cat(images())).double()
    for point, values in zip(found.points, (before, last), strict=True):
        np.testing.assert_allclose(point.mean, values.mean((0, 2, 3)), atol=1e-6)
        np.testing.assert_allclose(point.std, values.std((0, 2, 3), correction=0), rtol=1e-6)
        np.testing.assert_allclose(point.positive, (values > 0).double().mean((0, 2, 3)), atol=1e-12)
    point = found.points[0]
    np.testing.assert_allclose(point.normalized_mean, bare.mean((0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(point.normalized_std, bare.std((0, 2, 3), correction=0), rtol=1e-5)
    assert point.mean_distance == pytest.approx(np.sqrt(np.mean(point.normalized_mean**2)))
    assert point.std_distance == pytest.approx(np.sqrt(np.mean((point.normalized_std - 1) ** 2)))
    assert point.least_positive == point.positive.min()
    assert np.isnan(found.points[1].mean_distance), "no norm is before it"
    assert (found.examples, found.batch_size, point.examples, point.units) == (96, 16, 96, 96)


def test_batch_norm_by_its_own_batch_has_no_distance() -> None:
    model, _ = with_batch_norm(affine=True)
    point = first(model, training=True)
    assert point.mean_distance < 1e-5
    assert point.std_distance < NEGLIGIBLE
    assert (point.means.p_value, point.stds.p_value, point.units) == (1, 1, 6)


def test_running_estimates_that_fit_have_no_distance_beyond_chance_and_others_have_what_is_planted() -> None:
    model, norm = fitted(images())
    assert first(model).means.p_value > 0.05
    assert first(model).stds.p_value > 0.05
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean -= 0.5 * norm.running_var.sqrt()
        norm.running_var *= 4
    point = first(model)
    assert point.mean_distance == pytest.approx(0.25, rel=1e-3), "half a deviation, of which there are now half"
    assert point.std_distance == pytest.approx(0.5, rel=1e-3)
    assert point.means.p_value == point.stds.p_value == 1 / 1000
    assert point.means.interval[0] > 0


def test_channels_that_are_shut_off_are_found_and_called_dead_with_the_care_that_their_number_asks_for() -> None:
    model, norm = fitted(images())
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([-20.0, -20.0, -2.2, 0, 0, 0, 0, 20]))
    point = first(model, dead=1e-3, near_dead=0.05)
    assert (point.dead, point.near_dead) == (2 / 8, 3 / 8)
    assert point.positive[[0, 1, 7]].tolist() == [0, 0, 1]
    assert point.dead_interval[0] == 0, "96 images cannot tell a share of 0 from one of 0.001"
    assert first(model, dead=0.04).dead_interval[0] == 2 / 8, "of 0.04 they can"
    assert abs(point.gaussian_positive[3] - point.positive[3]) < 0.1
    notes = singularities(model, images()).notes
    assert any("2,995" in note for note in notes)


def test_weights_of_zero_do_not_hide_what_is_normalised() -> None:
    model, norm = with_batch_norm()
    expected = first(model)
    nn.init.zeros_(norm.weight)
    found = first(model)
    np.testing.assert_allclose(found.normalized_mean, expected.normalized_mean, atol=1e-6)
    np.testing.assert_allclose(found.normalized_std, expected.normalized_std, rtol=1e-6)
    assert found.positive.tolist() == [0.0] * 8


@pytest.mark.parametrize("estimated", [True, False])
def test_of_batch_channel_norm_the_affine_of_the_groups_is_undone(*, estimated: bool) -> None:
    norm = BatchChannelNorm2d(8, 4, estimated=estimated)
    model = network(norm)
    expected = first(model, training=True)
    with torch.no_grad():
        parameters = dict(norm.named_parameters())
        parameters["channel_weight"].copy_(torch.tensor([2.0, -1.0, 0.5, 3.0]))
        parameters["channel_bias"].copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    found = first(model, training=True)
    assert found.norm == "batch-channel"
    np.testing.assert_allclose(found.normalized_mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(found.normalized_std, expected.std, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_the_data_and_random_numbers_are_left_as_they_were(*, training: bool) -> None:
    model = nn.Sequential(network(nn.BatchNorm2d(8)), nn.Dropout(), nn.ReLU())
    model[0].eval()
    state = copy.deepcopy(model.state_dict())
    data = open_data("scenes?label=left&limit=64")
    generator, epoch = torch.get_rng_state(), data.epoch
    one = singularities(model, data, training=training)
    other = singularities(model, data, training=training)
    for left, right in zip(one.points, other.points, strict=True):
        assert np.array_equal(left.mean, right.mean)
        assert left.means == right.means or np.isnan(left.mean_distance)
    assert torch.equal(torch.get_rng_state(), generator)
    assert data.epoch == epoch
    assert (model.training, model[0].training) == (True, False)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_first_examples_are_taken_and_pairs_are_as_good_as_inputs() -> None:
    model = network(nn.BatchNorm2d(8)).eval()
    pairs = [(batch, torch.zeros(len(batch))) for batch in images()]
    found = singularities(model, pairs, examples=20)
    expected = singularities(model, [torch.cat(images())[:20]])
    assert found.examples == 20
    np.testing.assert_allclose(found.points[0].mean, expected.points[0].mean, atol=1e-7)


def test_values_that_are_not_finite_give_a_reason_and_no_figures() -> None:
    data = images()
    data[2][5] = float("nan")
    point, other = singularities(network(nn.BatchNorm2d(8)).eval(), data).points
    assert point.skipped == "1 of 96 examples gave values that are not finite"
    assert np.isnan([*point.mean, *point.positive, point.dead, point.mean_distance, point.least_positive]).all()
    assert other.skipped is not None
    everywhere = first(network(nn.BatchNorm2d(8)).eval(), [torch.full((4, 3, 6, 6), float("inf"))])
    assert everywhere.skipped == "4 of 4 examples gave values that are not finite"


def test_what_cannot_be_measured_is_said() -> None:
    model = network(nn.BatchNorm2d(8))
    with pytest.raises(ValueError, match="no batch"):
        singularities(model, [])
    with pytest.raises(SourceError, match=r"cannot be run on inputs \[2, 5, 6, 6\]"):
        singularities(model, [torch.zeros(2, 5, 6, 6)])
    with pytest.raises(SourceError, match="no elementwise nonlinearity"):
        singularities(nn.Conv2d(3, 3, 1), images())
    with pytest.raises(SourceError, match="without a tensor"):
        singularities(model, [{"image": 1}])
    with pytest.raises(SourceError, match="larger batches"):
        singularities(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108), nn.ReLU()), [images()[0][:1]], training=True)
    for options in ({"examples": 0}, {"dead": 0.0}, {"dead": 0.5, "near_dead": 0.1}, {"resamples": -1}):
        with pytest.raises(ValueError, match="must"):
            singularities(model, images(), **options)
    assert model.training


def test_an_export_is_measured_in_its_own_mode_and_this_is_said() -> None:
    model = network(nn.BatchNorm2d(8)).eval()
    graph = torch.export.export(model, (images()[0],)).module()
    found = singularities(graph, images(), training=True)
    np.testing.assert_allclose(found.points[0].mean, first(model).mean, atol=1e-7)
    assert any("export" in note for note in found.notes)


class PaddedShortcut(nn.Module):
    """Every second place, and channels of zeros on both sides: the shortcut of the reference networks."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        channels = inputs.shape[1] // 2
        return torch.nn.functional.pad(inputs[:, :, ::2, ::2], (0, 0, 0, 0, channels, channels))


@pytest.mark.reference
def test_a_trained_resnet_is_near_batch_norm_and_one_with_estimates_of_nothing_is_not(reference: Path) -> None:
    """The estimates of a trained network fit its data; the first ones, 0 and 1, fit none."""
    images = reference.parent / "data" / "cifar10"
    if not images.is_dir():
        pytest.skip(f"no images at {images}")
    data = open_data(f"cifar10:{images}?split=test&normalize=imagenet")
    model = open_model("weightatlas:resnet20-cifar")
    for name in ("layer2.0", "layer3.0"):
        model.get_submodule(name).downsample = PaddedShortcut()
    file = reference / "cifar_resnets" / "resnet20-12fca82f.th"
    saved = torch.load(file, weights_only=True, map_location="cpu")["state_dict"]
    names = {name: name.removeprefix("module.").replace("linear.", "fc.") for name in saved}
    load_checkpoint(model, {names[name]: tensor for name, tensor in saved.items()})
    found = singularities(model, data, examples=256, resamples=99)
    assert [point.norm for point in found.points] == ["batch", *["batch", None] * 9]
    normed = found.points[0::2][:1] + found.points[1::2]
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
    reset = [point for point in singularities(model, data, examples=256, resamples=99).points if point.norm]
    for distance in ("mean_distance", "std_distance"):
        trained = np.median([getattr(point, distance) for point in normed])
        assert trained < 0.5 * np.median([getattr(point, distance) for point in reset])
