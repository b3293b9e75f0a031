from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.branching.kernels.spectrum import spectrum
from weightatlas.branching.responses.stimuli import Stimuli, arcs, colours, frequency_boundaries, gratings


def every(size: int = 48, extent: float = 20.0) -> dict[str, Stimuli]:
    coloured, grey = colours(size, extent=extent)
    curved, corners = arcs(size, extent=extent)
    halves, alone = frequency_boundaries(size, extent=extent)
    return {
        "gratings": gratings(size, extent=extent),
        "coloured": coloured,
        "grey": grey,
        "arcs": curved,
        "corners": corners,
        "boundaries": halves,
        "textures": alone,
    }


def test_every_picture_is_three_channels_of_floats_with_its_parameters() -> None:
    for name, stimuli in every().items():
        assert stimuli.images.shape == (len(stimuli), 3, 48, 48), name
        assert stimuli.images.dtype == torch.float32
        assert torch.isfinite(stimuli.images).all()
        assert {len(values) for values in stimuli.parameters.values()} == {len(stimuli)}
        border = torch.cat([stimuli.images[..., 0, :], stimuli.images[..., -1, :], stimuli.images[..., 0]])
        assert border.abs().max() < 0.1, name


def test_pictures_are_the_same_each_time() -> None:
    for first, second in zip(every().values(), every().values(), strict=True):
        assert torch.equal(first.images, second.images)


def test_controls_have_the_energy_of_their_family() -> None:
    found = every()
    for family, controls in (("coloured", "grey"), ("arcs", "corners"), ("boundaries", "textures")):
        energies = [(found[name].images ** 2).sum(dim=(1, 2, 3)) for name in (family, controls)]
        assert float(energies[0].mean()) == pytest.approx(float(energies[1].mean()), rel=0.06)
    for name in ("arcs", "corners", "boundaries", "textures"):
        energy = (found[name].images ** 2).sum(dim=(1, 2, 3))
        torch.testing.assert_close(energy, energy.mean().expand_as(energy), rtol=1e-3, atol=0)


def test_colours_have_no_luminance_and_their_controls_nothing_else() -> None:
    coloured, grey = colours(32, extent=16)
    assert coloured.images.mean(dim=1).abs().max() < 1e-6
    assert coloured.images.abs().amax(dim=(1, 2, 3)).min() > 0.5
    assert (grey.images - grey.images.mean(dim=1, keepdim=True)).abs().max() < 1e-6


def test_hues_are_named_as_on_the_circle() -> None:
    coloured, _ = colours(32, extent=16, hues=12)
    middle = coloured.images[:, :, 16, 16]
    disc = coloured.parameters["pattern"] == 3
    for hue, channel in ((0, 0), (120, 1), (240, 2)):
        (place,) = np.flatnonzero(disc & (coloured.parameters["hue"].round() == hue))
        assert middle[place].argmax() == channel
        assert (middle[place] > 0).sum() == 1


def test_gratings_have_the_orientation_and_frequency_they_say_and_no_mean() -> None:
    found = gratings(48, extent=16, orientations=6, cycles=(2.0, 4.0))
    measured = spectrum(found.images.double().numpy(), np.full((len(found), 3), 3**-0.5))
    apart = np.abs((measured.orientation - found.parameters["orientation"] + 90) % 180 - 90)
    assert apart.max() < 1.0
    np.testing.assert_allclose(measured.peak_frequency, found.parameters["frequency"], atol=0.01)
    assert found.images.mean(dim=(1, 2, 3)).abs().max() < 1e-6


def test_frequencies_beyond_the_pixels_are_left_out() -> None:
    assert set(gratings(32, extent=5).parameters["frequency"]) == {0.15, 0.3}
    assert set(gratings(32, extent=5, cycles=(9.0,)).parameters["frequency"]) == {0.4}


def centre_of(image: torch.Tensor) -> tuple[float, float]:
    """Centre of a picture's light, pixels right of and above the middle."""
    light = image[0].abs().double()
    line = torch.arange(len(light), dtype=torch.float64) - (len(light) - 1) / 2
    total = light.sum()
    return float((light.sum(0) * line).sum() / total), float(-(light.sum(1) * line).sum() / total)


def test_arcs_bend_towards_their_orientation_and_lines_nowhere() -> None:
    curved, controls = arcs(64, extent=32, orientations=8)
    for image, orientation, curvature in zip(
        curved.images, curved.parameters["orientation"], curved.parameters["curvature"], strict=True
    ):
        right, up = centre_of(image)
        assert abs((np.degrees(np.arctan2(up, right)) - orientation + 180) % 360 - 180) < 2.0
        assert np.hypot(right, up) > 15 * curvature
    straight = np.flatnonzero(controls.parameters["curvature"] == 0)
    assert len(straight) == 8
    for index in straight:
        assert np.hypot(*centre_of(controls.images[index])) < 0.1


def test_a_quarter_turn_of_an_arc_is_the_arc_a_quarter_further() -> None:
    curved, _ = arcs(33, extent=16, orientations=4, radii=(0.5,))
    for first, second in ((0, 2), (2, 4), (4, 6)):
        torch.testing.assert_close(torch.rot90(curved.images[first], 1, (1, 2)), curved.images[second])


def test_polarity_is_the_sign() -> None:
    curved, _ = arcs(32, extent=16, orientations=4, radii=(0.5,))
    assert curved.parameters["polarity"].tolist() == [1, -1] * 4
    torch.testing.assert_close(curved.images[1::2], -curved.images[::2])


def test_the_fine_half_lies_where_it_says() -> None:
    halves, _ = frequency_boundaries(64, extent=40, orientations=8)
    for image, orientation in zip(halves.images, halves.parameters["orientation"], strict=True):
        roughness = torch.zeros_like(image)
        roughness[:, 1:-1, 1:-1] = (
            4 * image[:, 1:-1, 1:-1]
            - image[:, 2:, 1:-1]
            - image[:, :-2, 1:-1]
            - image[:, 1:-1, 2:]
            - image[:, 1:-1, :-2]
        )
        right, up = centre_of(roughness)
        assert abs((np.degrees(np.arctan2(up, right)) - orientation + 180) % 360 - 180) < 30


def test_another_seed_draws_other_textures() -> None:
    first, second = (frequency_boundaries(32, extent=16, seed=seed)[0] for seed in (0, 1))
    assert not torch.equal(first.images, second.images)
