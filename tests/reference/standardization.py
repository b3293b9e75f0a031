"""What weight standardisation is compared with: the published programs, unit by unit and step by step, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def timm(kernel: Array) -> Array:
    """Biased variance, 1e-6 in the root: timm's batch norm of a kernel."""
    mean = sum(kernel.ravel()) / kernel.size
    variance = sum((weight - mean) ** 2 for weight in kernel.ravel()) / kernel.size
    return np.asarray((kernel - mean) / np.sqrt(variance + 1e-6))


def bit(kernel: Array) -> Array:
    """As timm's, with the epsilon of the BiT networks."""
    mean = sum(kernel.ravel()) / kernel.size
    variance = sum((weight - mean) ** 2 for weight in kernel.ravel()) / kernel.size
    return np.asarray((kernel - mean) / np.sqrt(variance + 1e-8))


def qiao2019(kernel: Array) -> Array:
    """Take the mean away, then divide by the sample's deviation plus 1e-5."""
    centred = kernel - kernel.mean()
    deviation = np.sqrt(sum((weight - centred.mean()) ** 2 for weight in centred.ravel()) / (kernel.size - 1))
    return np.asarray(centred / (deviation + 1e-5))


def bcn2019(kernel: Array) -> Array:
    """Take the mean away, then divide by the root of the sample's variance plus 1e-5."""
    centred = kernel - kernel.mean()
    variance = sum((weight - centred.mean()) ** 2 for weight in centred.ravel()) / (kernel.size - 1)
    return np.asarray(centred / np.power(variance + 1e-5, 0.5))


def google(kernel: Array) -> Array:
    """Take the mean away, then divide by the biased deviation plus 1e-5."""
    centred = kernel - kernel.mean()
    return np.asarray(centred / (np.sqrt(sum(weight**2 for weight in centred.ravel()) / kernel.size) + 1e-5))


def centred(kernel: Array) -> Array:
    """Take the mean away."""
    return np.asarray(kernel - sum(kernel.ravel()) / kernel.size)


def scaled(kernel: Array) -> Array:
    """Divide by the deviation about the mean, and leave the mean."""
    mean = sum(kernel.ravel()) / kernel.size
    variance = sum((weight - mean) ** 2 for weight in kernel.ravel()) / kernel.size
    return np.asarray(kernel / np.sqrt(variance + 1e-6))


KERNELS = {
    "timm": timm,
    "bit": bit,
    "qiao2019": qiao2019,
    "bcn2019": bcn2019,
    "google": google,
    "centred": centred,
    "scaled": scaled,
}


def standardized(weight: Array, how: str) -> Array:
    """Every unit of a weight (units, ...)."""
    return np.stack([KERNELS[how](kernel) for kernel in weight.astype(np.float64)])


def standardized_transposed(weight: Array, how: str, groups: int = 1) -> Array:
    """Every unit of a transposed convolution's weight (inputs, units of a group, ...)."""
    answer = np.empty(weight.shape)
    inputs = len(weight) // groups
    for group in range(groups):
        of_group = slice(group * inputs, (group + 1) * inputs)
        for unit in range(weight.shape[1]):
            answer[of_group, unit] = KERNELS[how](weight[of_group, unit].astype(np.float64))
    return answer
