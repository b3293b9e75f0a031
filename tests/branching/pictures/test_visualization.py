from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.branching.pictures.real_networks import CAFFE, resnet20, squeezenet
from weightatlas.branching.pictures.ascent import Ascent
from weightatlas.branching.pictures.normalising import Normalizing
from weightatlas.branching.pictures.objectives import LEAK, aims_at
from weightatlas.branching.pictures.parametrisation import FourierImages
from weightatlas.branching.pictures.tap import trunk
from weightatlas.branching.pictures.visualization import visualize
from weightatlas.data import normalised
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

QUICK: dict[str, Any] = {"size": 16, "steps": 12, "noise": 4}


def network(seed: int = 0) -> Any:  # noqa: ANN401 - parts are looked at by their place
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3)).eval()


def grating(angle: float, frequency: float, side: int = 9) -> torch.Tensor:
    """A black-and-white Gabor kernel (3, side, side); its stripes lie at right angles to `angle` (degrees)."""
    rows, columns = np.mgrid[:side, :side] - side // 2
    along = columns * np.cos(np.radians(angle)) + rows * np.sin(np.radians(angle))
    kernel = np.cos(2 * np.pi * frequency * along) * np.exp(-(rows**2 + columns**2) / 12)
    return torch.from_numpy(kernel - kernel.mean()).float().expand(3, side, side)


def test_the_picture_of_a_neuron_is_its_kernel() -> None:
    # Of a linear unit over one window, the best image is bright where the kernel is positive and dark where it is not.
    convolution = nn.Conv2d(3, 4, 8)
    nn.init.normal_(convolution.weight, generator=torch.Generator().manual_seed(0))
    found = visualize(nn.Sequential(convolution), "0", range(4), size=8, steps=200, objective="neuron", transforms=None)
    kernels = convolution.weight.detach().numpy()
    shown = found.images.transpose(0, 3, 1, 2) > 127
    for kernel, picture in zip(kernels, shown, strict=True):
        heavy = np.abs(kernel) > np.abs(kernel).mean()
        assert (picture == (kernel > 0))[heavy].mean() > 0.9
    assert (found.excess > 3).all()


def test_the_picture_of_a_channel_has_its_orientation_and_frequency() -> None:
    convolution = nn.Conv2d(3, 4, 9, bias=False)
    wanted = [(0.0, 0.2), (45.0, 0.2), (90.0, 0.2), (90.0, 0.3)]
    convolution.weight.data = torch.stack([grating(*each) for each in wanted])
    found = visualize(nn.Sequential(convolution), "0", range(4), size=48, steps=48)
    rows, columns = np.fft.fftfreq(48)[:, None], np.fft.fftfreq(48)
    radius = np.hypot(rows, columns)
    seen = radius > 0.08  # the kernels sum to zero: slow shading costs a picture nothing
    for picture, (angle, frequency) in zip(found.images.astype(float).mean(-1), wanted, strict=True):
        power = np.abs(np.fft.fft2(picture)) ** 2 * seen
        turned = np.degrees(0.5 * np.angle((power * (columns + 1j * rows) ** 2).sum()))
        assert abs((turned - angle + 90) % 180 - 90) < 8
        assert (power * radius).sum() / power.sum() == pytest.approx(frequency, rel=0.2)


def test_colour_units_get_colour_and_others_none() -> None:
    convolution = nn.Conv2d(3, 2, 5, bias=False)
    convolution.weight.data[0] = grating(0, 0.2, 5)
    convolution.weight.data[1] = torch.tensor([1.0, -0.5, -0.5])[:, None, None] * grating(0, 0.2, 5)
    images = visualize(nn.Sequential(convolution), "0", [0, 1], size=32, steps=64).images.astype(float)
    chroma = ((images - images.mean(-1, keepdims=True)) ** 2).sum((1, 2, 3)) / ((images - 127.5) ** 2).sum((1, 2, 3))
    assert chroma[0] < 0.1
    assert chroma[1] > 0.3


def test_a_unit_has_the_same_picture_whichever_are_beside_it() -> None:
    model = network()
    together = visualize(model, "4", [5, 2, 0, 3], **QUICK)
    for units, batch in [([2], 64), ([0, 2], 64), ([2, 4, 1], 2)]:
        found = visualize(model, "4", units, batch=batch, **QUICK)
        place = units.index(2)
        assert np.abs(found.images[place].astype(int) - together.images[1]).max() <= 2
        assert found.excess[place] == pytest.approx(together.excess[1], rel=0.01)


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    first, again, other = (visualize(network(), "4", [1, 2], seed=seed, **QUICK) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.excess, again.excess)
    assert (first.images != other.images).mean() > 0.5


def test_the_figures_are_those_of_the_pictures() -> None:
    model = network()
    found = visualize(model, "4", [4, 1], **QUICK)
    with torch.no_grad():
        maps = model(torch.from_numpy(found.images).permute(0, 3, 1, 2) / 255)
    for place, unit in enumerate([4, 1]):
        own = maps[place, unit]
        expected = torch.where(own > 0, own, LEAK * own).mean()
        assert found.activations[place] == pytest.approx(float(expected), abs=1e-5)
    assert (found.activations > found.initial).all()


def test_the_model_is_left_as_it_was() -> None:
    model = network().train()
    model[4].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    visualize(model, "4", [0], **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training for part in model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == [True] * 5 + [False]


def test_it_works_where_gradients_are_off() -> None:
    model = network()
    with torch.no_grad():
        found = visualize(model, "4", [0], **QUICK)
    with torch.inference_mode():
        again = visualize(model, "4", [0], **QUICK)
    np.testing.assert_array_equal(found.images, again.images)


@pytest.mark.parametrize("layer", ["0", "1", "2", "3", "4", ""])
def test_any_layer_can_be_asked(layer: str) -> None:
    # Long enough for units that are below 0 at first to fire behind their rectifier, too.
    found = visualize(network(), layer, [0, 5], size=16, steps=40, noise=4)
    assert found.images.shape == (2, 16, 16, 3)
    assert (found.activations > found.initial).all()


def test_units_of_tokens_and_vectors() -> None:
    class Tokens(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.flatten(2).transpose(1, 2)

    torch.manual_seed(0)
    block = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    model = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), Tokens(), block, nn.Flatten(), nn.Linear(128, 3))
    for layer, objective in [("2", "channel"), ("2", "neuron"), ("2.linear1", "channel"), ("4", "channel")]:
        found = visualize(model, layer, [0, 2], objective=objective, **QUICK)  # type: ignore[arg-type]
        assert (found.activations > found.initial).all()
    assert visualize(model, "2", np.eye(8)[:3], objective="direction", **QUICK).images.shape == (3, 16, 16, 3)


def test_one_channel_gives_grey_pictures() -> None:
    torch.manual_seed(0)
    found = visualize(nn.Sequential(nn.Conv2d(1, 3, 3)), "0", [1], **QUICK)
    assert (found.images == found.images[..., :1]).all()


def test_other_types_of_number() -> None:
    single = visualize(network(), "4", [0], **QUICK)
    double = visualize(network().double(), "4", [0], **QUICK)
    assert np.abs(single.images.astype(int) - double.images).max() <= 2
    half = visualize(network().bfloat16(), "4", [0], **QUICK)
    assert (half.activations > half.initial).all()


def test_progress_counts_every_step_of_every_batch() -> None:
    told: list[tuple[int, int, str]] = []
    visualize(
        network(),
        "4",
        [0, 1, 2],
        **QUICK,
        batch=2,
        progress=lambda done, total, label: told.append((done, total, label)),
    )
    assert told == [(done, 24, "4") for done in range(1, 25)]


def test_excess_of_noise_is_a_standard_score() -> None:
    # Pictures that are themselves noise: no unit is excited more than by others of the kind.
    model = network()
    with trunk(model, "4") as run, torch.no_grad():
        images = FourierImages(24)
        aims = aims_at(np.arange(6).repeat(30), objective="channel", available=6, layer="4")
        normalizing = Normalizing.of(model, "none", channels=3, device=torch.device("cpu"), dtype=torch.float32)
        scores = []
        for seed in range(2):
            ascent = Ascent(run, images, normalizing, aims, seed)
            scores.append(ascent.excess(images.noise(range(1000, 1180), deviation=0.5), noise=40))
    both = np.concatenate(scores)
    assert abs(both.mean()) < 0.35
    assert 0.8 < both.std() < 1.4


def test_a_dead_unit_shows_nothing_and_says_so() -> None:
    model = network()
    nn.init.zeros_(model[4].weight)
    found = visualize(model, "4", [3], **QUICK)
    assert np.isnan(found.excess).all()
    assert found.images.std() < 3  # nearly grey, as it started


def test_a_rectified_unit_that_never_fires_is_stuck() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 1, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -100)
    behind, before = (visualize(model, layer, [0], **QUICK) for layer in ("1", "0"))
    assert behind.activations[0] == behind.initial[0] == 0
    assert np.isnan(behind.excess[0])
    assert behind.images.std() < 3
    assert before.activations[0] > before.initial[0]


def test_what_cannot_be_drawn_is_refused() -> None:
    class Whole(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs.argmax(1, keepdim=True).float()

    model = network()
    with pytest.raises(SourceError, match="9: Sequential has no such layer; there is 0, 1, 2, 3, 4"):
        visualize(model, "9", [0])
    with pytest.raises(ValueError, match="4 has units 0 to 5; there is no unit 6"):
        visualize(model, "4", [6], **QUICK)
    with pytest.raises(SourceError, match="it does not take images"):
        visualize(nn.Sequential(nn.Linear(5, 2)), "0", [0], **QUICK)
    with pytest.raises(SourceError, match="does not depend on the image by any gradient"):
        visualize(nn.Sequential(nn.Conv2d(3, 4, 1), Whole()), "1", [0], **QUICK)
    with pytest.raises(ValueError, match="1 pixel or more"):
        visualize(model, "4", [0], size=0)
    options: list[dict[str, Any]] = [{"steps": 0}, {"batch": 0}, {"noise": 1}, {"learning_rate": 0}]
    for wrong in options:
        with pytest.raises(ValueError, match="steps and batch are 1 or more"):
            visualize(model, "4", [0], **wrong)


@pytest.mark.reference
def test_pictures_of_real_units_excite_them_far_more_than_noise(reference: Path) -> None:
    model = squeezenet(reference / "squeezenet" / "squeezenet_v1.1_notop.npz")
    median = []
    for layer in ("features.0", "features.4.expand3x3", "features.11.expand3x3"):
        found = visualize(model, layer, range(4), size=48, steps=24, normalize=CAFFE)
        assert (found.excess > 0).all()
        median.append(np.median(found.excess))
    assert median[0] > 3
    # Deeper units want what noise never has.
    assert all(deeper > shallower for shallower, deeper in pairwise(median))


@pytest.mark.reference
def test_a_real_classifier_recognises_the_pictures_of_its_classes(reference: Path) -> None:
    (path,) = (reference / "cifar_resnets").glob("resnet20*.th")
    model = resnet20(path)
    found = visualize(model, "linear", range(10), size=32, steps=24, normalize="imagenet")
    assert (found.excess > 10).all()
    pixels = normalised(torch.from_numpy(found.images).permute(0, 3, 1, 2), "imagenet")
    with torch.no_grad():
        assert model(pixels).argmax(1).tolist() == list(range(10))
