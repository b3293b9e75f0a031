"""Learning coefficients that are known: in closed form, and at a finite temperature by integrating on a grid."""

from __future__ import annotations

import numpy as np


def normal_crossing(power: int, temperature: float, precision: float = 1.0) -> float:
    """t E[x^2 y^(2 power)] under exp(-t x^2 y^(2 power)) and a normal prior: x by hand, y on a grid."""
    logs = np.linspace(-40, np.log(12 / np.sqrt(precision)), 100_001)
    y = np.exp(logs)
    stiffness = 2 * temperature * y ** (2 * power) + precision
    weights = y * np.exp(-precision * y**2 / 2) / np.sqrt(stiffness)
    return float((weights * temperature * y ** (2 * power) / stiffness).sum() / weights.sum())


def even_power(power: int, temperature: float, precision: float = 1.0) -> float:
    """t E[w^(2 power)] under exp(-t w^(2 power)) and a normal prior."""
    w = np.linspace(0, 12, 200_001)
    energy = temperature * w ** (2 * power)
    weights = np.exp(-energy - precision * w**2 / 2)
    return float((weights * energy).sum() / weights.sum())


def zero_products(inputs: int, outputs: int, temperature: float) -> float:
    """t E[|B A|^2 / 2] for B (outputs, 2) and A (2, inputs) under a unit prior around 0.

    B is integrated by hand; what is left depends on the eigenvalues of A A^T, whose density is Wishart's.
    """
    logs = np.linspace(-25, np.log(100), 1000)
    first, second = np.meshgrid(np.exp(logs), np.exp(logs))
    stiff = temperature * first + 1, temperature * second + 1
    exponent = (inputs - 3) / 2 * np.log(first * second) - (first + second) / 2 + np.log(first * second)
    weights = np.exp(exponent - outputs / 2 * np.log(stiff[0] * stiff[1])) * np.abs(first - second)
    energy = outputs / 2 * (2 - 1 / stiff[0] - 1 / stiff[1])
    return float((weights * energy).sum() / weights.sum())


def reduced_rank(inputs: int, outputs: int, hidden: int, rank: int) -> tuple[float, int]:
    """Coefficient and multiplicity of y = B A x with A (hidden, inputs) where the truth has that rank.

    Source: Aoyagi and Watanabe, Stochastic Complexities of Reduced Rank Regression in Bayesian Estimation (2005).
    """
    if inputs + hidden < outputs + rank:
        return (hidden * inputs - hidden * rank + outputs * rank) / 2, 1
    if outputs + hidden < inputs + rank:
        return (hidden * outputs - hidden * rank + inputs * rank) / 2, 1
    if inputs + outputs < hidden + rank:
        return inputs * outputs / 2, 1
    both = hidden + rank
    eight = 2 * both * (inputs + outputs) - both**2 - (inputs - outputs) ** 2
    odd = (inputs + outputs + hidden + rank) % 2
    return (eight + odd) / 8, 1 + odd
