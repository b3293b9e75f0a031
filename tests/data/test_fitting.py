from __future__ import annotations

import numpy as np
import torch

from tests.data.pictures import encoded, pixels
from weightatlas.data.decoding import Fit, decode_image
from weightatlas.data.examples import held_in_memory
from weightatlas.data.fitting import refitted


def test_images_in_memory_are_fitted_as_files_are() -> None:
    images = [pixels(number, height=12, width=20) for number in range(4)]
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    examples = refitted(held_in_memory("arrays", stacked, torch.arange(4)), Fit(10, 6))
    found, read = examples.fetch(torch.tensor([2, 0]))
    assert examples.shape == (3, 6, 6)
    assert read.tolist() == [2, 0]
    for image, number in zip(found, (2, 0), strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), decode_image(encoded(images[number]), Fit(10, 6)))


def test_without_a_size_nothing_changes() -> None:
    examples = held_in_memory("arrays", torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.arange(2))
    assert refitted(examples, Fit()) is examples
