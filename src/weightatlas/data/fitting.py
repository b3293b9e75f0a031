"""Images in memory brought to another size, a batch at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from weightatlas.data.decoding import fitted

if TYPE_CHECKING:
    from weightatlas.data.decoding import Fit
    from weightatlas.data.examples import Examples


def refitted(examples: Examples, fit: Fit) -> Examples:
    """The same examples with their images (3, h, w) scaled and cut as `fit` says when they are fetched.

    Raises:
        ValueError: the images would become too large.
    """
    if fit.identity:
        return examples
    fetch = examples.fetch

    def fit_batch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        images, read = fetch(numbers)
        pixels = [
            np.asarray(fitted(Image.fromarray(image), fit))
            for image in np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        ]
        if not pixels:
            return images, read
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), read

    first, _ = fit_batch(torch.arange(min(1, len(examples))))
    return replace(examples, fetch=fit_batch, shape=tuple(first.shape[1:]))
