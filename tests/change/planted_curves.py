"""Curves of weight change with groups that are known, and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]


def schedule(records: int = 25) -> Array:
    """A cosine schedule: what the learning rate does to all layers alike."""
    return 0.02 + 0.5 * (1 + np.cos(np.pi * np.linspace(0, 1, records)))


def planted_groups(
    sizes: tuple[int, ...] = (12, 12, 8), *, spikes: int = 6, seed: int = 0
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Layers that fade early, that move little, that rise late; some values are 30 times too large."""
    generator = np.random.default_rng(seed)
    time = np.linspace(0, 1, 25)
    shapes = [0.05 * np.exp(-1.5 * time), 0.003 * np.ones(25), 0.008 * np.exp(1.5 * time)]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    noise = generator.normal(0, 0.15, (len(labels), 25)) + generator.normal(0, 0.1, (len(labels), 1))
    curves = np.array([shapes[label] for label in labels]) * schedule() * np.exp(noise)
    for _ in range(spikes):
        curves[generator.integers(len(labels)), generator.integers(25)] *= 30
    return curves, labels


def no_groups(layers: int = 24, records: int = 12, *, seed: int = 0) -> Array:
    """Layers whose levels are drawn from one lognormal distribution."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 0.5, (layers, 1)) + generator.normal(0, 0.2, (layers, records))
    return 1e-2 * schedule(records) * np.exp(noise)
