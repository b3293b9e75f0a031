from __future__ import annotations

import numpy as np

from tests.reference import unit_tuning as slow
from weightatlas.branching.kernels.spots import SpotModel, fit_spots


def test_planted_spots_are_explained_wherever_they_lie() -> None:
    generator = np.random.default_rng(0)
    pixels = slow.pixel_grid(9, 9)
    kernels = np.stack(
        [
            slow.spot(
                pixels,
                *generator.uniform(-2, 2, 2),
                generator.uniform(0.8, 2.0),
                generator.uniform(1.4, 2.5),
                1.0,
                -generator.uniform(0.3, 0.7),
            ).reshape(9, 9)
            for _ in range(50)
        ]
    )
    assert fit_spots(kernels).explained.min() > 0.999
    np.testing.assert_allclose(fit_spots(-3 * kernels).explained, fit_spots(kernels).explained)


def test_only_a_surround_that_cancels_makes_a_bandpass() -> None:
    balanced = slow.spot_kernel(11, width=1.2, ratio=2.0, surround=0.25)
    blob = slow.spot_kernel(11, width=1.2, ratio=2.0, surround=0.0)
    assert fit_spots(np.stack([balanced, -balanced, blob])).bandpass.tolist() == [True, True, False]


def test_stripes_are_no_spot() -> None:
    stripes = slow.gabor_kernel(11, angle=30, frequency=0.25, width=3.0, phase=0)
    assert fit_spots(stripes[None]).explained[0] < 0.5


def test_slopes_are_differences() -> None:
    model = SpotModel(5, 6)
    parameters = np.array([[0.3, -0.4, 0.2, 0.5], [-1.0, 0.2, 0.6, 0.9]])
    coefficients = np.array([[1.0, -0.4], [0.7, 0.3]])
    slopes = model.slopes(parameters, model.basis(parameters), coefficients)
    for index in range(4):
        step = np.zeros(4)
        step[index] = 1e-6
        ahead, behind = (
            np.einsum("nb,nbx->nx", coefficients, model.basis(parameters + sign * step)) for sign in (1, -1)
        )
        np.testing.assert_allclose(slopes[:, index], (ahead - behind) / 2e-6, atol=1e-7)
