from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import pictures as slow
from weightatlas.branching.pictures.parametrisation import COLOUR_AXES, FourierImages
from weightatlas.evaluation import open_data

IMAGES = Path(__file__).resolve().parents[4] / "shared" / "data" / "imagenet1k-sample"


@pytest.mark.parametrize("size", [1, 4, 7])
def test_one_channel_is_a_sum_of_waves_of_falling_weight(size: int) -> None:
    images = FourierImages(size, channels=1)
    spectra = images.noise([3], deviation=1)
    # The imaginary part of what is its own mirror image has no wave.
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    weights = 0.25 / np.maximum(frequencies, 1 / size)
    coefficients = torch.view_as_complex(spectra[0, 0].double()).numpy() * weights
    expected = slow.waves(_hermitian(coefficients, size), size)
    np.testing.assert_allclose(images.logits(spectra)[0, 0].numpy(), expected, rtol=1e-4, atol=1e-5)


def _hermitian(spectrum: np.ndarray, size: int) -> np.ndarray:
    """What a real image has: in columns that are their own mirror image, the mean with the mirrored conjugate."""
    made = spectrum.copy()
    for across in {0, size // 2 if size % 2 == 0 else 0}:
        column = spectrum[:, across]
        made[:, across] = (column + np.conj(np.roll(column[::-1], 1))) / 2
    return made


def test_the_first_colour_axis_is_brightness() -> None:
    images = FourierImages(8)
    spectra = torch.zeros(1, 3, 8, 5, 2)
    spectra[0, 0, 0, 0, 0] = 1
    red, green, blue = images.logits(spectra)[0].mean((1, 2)).tolist()
    assert min(red, green, blue) > 0.9 * max(red, green, blue)
    spectra = torch.zeros(1, 3, 8, 5, 2)
    spectra[0, 1, 0, 0, 0] = 1
    red, green, blue = images.logits(spectra)[0].mean((1, 2)).tolist()
    assert red == pytest.approx(-blue)
    assert green == 0


def test_noise_has_the_spectrum_of_natural_images() -> None:
    size = 32
    images = FourierImages(size, channels=1)
    logits = images.logits(images.noise(range(200), deviation=1))
    power = torch.fft.rfft2(logits, norm="ortho").abs().square().mean((0, 1)).numpy()
    frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    inner = (frequencies > 0.05) & (frequencies < 0.45)
    slope = np.polyfit(np.log(frequencies[inner]), np.log(power[inner]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.1)  # amplitude falls with 1/f, power with its square


@given(seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True), place=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_noise_of_a_seed_does_not_depend_on_what_is_beside_it(seeds: list[int], place: int) -> None:
    images = FourierImages(6)
    alone = images.noise([seeds[place % len(seeds)]])
    assert torch.equal(images.noise(seeds)[place % len(seeds)], alone[0])


def test_pictures_lie_between_black_and_white() -> None:
    images = FourierImages(16)
    pictures = images.pictures(images.noise([0, 1], deviation=5))
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert pictures.std() > 0.2


@pytest.mark.parametrize(("size", "channels"), [(0, 3), (8, 2)])
def test_what_is_no_picture_is_refused(size: int, channels: int) -> None:
    with pytest.raises(ValueError, match="1 pixel or more a side and 1 or 3 channels"):
        FourierImages(size, channels=channels)


@pytest.mark.reference
def test_the_colour_axes_are_those_of_natural_images() -> None:
    if not IMAGES.is_dir():
        pytest.skip(f"real images are absent: no folder {IMAGES}")
    # Some 400 of all kinds: unshuffled, the first are animals.
    data = open_data(f"{IMAGES}?shuffle=true&limit=1000")
    pixels = [inputs[:, :, ::8, ::8] for inputs, _ in islice(data, 6)]
    lengths, axes = torch.linalg.eigh(torch.cov(torch.cat(pixels).movedim(1, 0).flatten(1).double()))
    own = (axes * lengths.sqrt()).flip(1)
    published = torch.tensor(COLOUR_AXES, dtype=torch.float64)
    aligned = own * (own * published).sum(0).sign()
    assert torch.allclose(aligned, published, atol=0.02)
