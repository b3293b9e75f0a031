"""What share of random units would count as banded: printed beside every layer's count."""

from __future__ import annotations

import numpy as np

from weightatlas.banding.layer import BANDED_UNIT, factors_of, slide_unit_scores
from weightatlas.banding.slides import slides

RANDOM_UNITS = 256
"""Units drawn for each kernel shape. Both signs are counted, so a share near 2 % is known to about half a per cent."""


def random_banded_share(kernel_shape: tuple[int, ...], *, units: int = RANDOM_UNITS, seed: int = 0) -> float:
    """Share of units with independent Gaussian weights whose slide scores |b| >= .6 with one given sign.

    Factoring finds structure in noise, more of it the fewer input channels there are; a layer's count of banded units
    means something only beyond this.

    Args:
        kernel_shape: (in, h, w).
        units: random units to factor.
        seed: of the weights.

    Returns:
        Between 0 and .5: by symmetry half of those with either sign.

    Example:
        >>> random_banded_share((64, 5, 5)) < 0.05
        True
    """
    weight = np.random.default_rng(seed).standard_normal((units, *kernel_shape), dtype=np.float32)
    scores = slide_unit_scores(slides(weight, factors=factors_of(kernel_shape), jobs=1))
    return float(np.mean(np.abs(scores) >= BANDED_UNIT) / 2)
