"""The interaction basis by the steps of its authors' notes, one matrix after the other, with the constant folded in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]
Onward = Callable[[torch.Tensor], torch.Tensor]


def interaction_basis(
    onward: Onward, values: torch.Tensor, directions: Array, *, alphas: list[tuple[float, float]]
) -> tuple[Array, Array, Array]:
    """C (d + 1, d + 1), its inverse and Lambda, up to signs; without truncation.

    Args:
        onward: one example's values (positions, d) to the later point's (positions, features).
        values: (examples, positions, d), float64.
        directions: (features, directions) of the later point.
        alphas: places on the path and their weights.
    """
    examples, positions, width = values.shape
    folded = np.concatenate([values.numpy(), np.ones((examples, positions, 1))], axis=-1).reshape(-1, width + 1)
    centring = np.eye(width + 1)
    centring[-1, :-1] = -folded.mean(0)[:-1]
    centred = folded @ centring
    gram = centred.T @ centred / len(centred)
    diagonal, vectors = np.linalg.eigh(gram)
    order = np.argsort(-diagonal)
    constant = int(np.argmax(np.abs(vectors[-1, order])))
    order = np.array([order[constant], *np.delete(order, constant)])
    diagonal, vectors = diagonal[order], vectors[:, order]
    whitening = centring @ vectors / np.sqrt(diagonal)
    back = np.sqrt(diagonal)[:, None] * vectors.T @ np.linalg.inv(centring)
    later = np.zeros((width + 1, width + 1))
    for example in values:
        for one in jacobians(onward, example, directions, alphas):  # (positions, width), of one position and direction
            for row in one:
                later[:-1, :-1] += np.outer(row, row) / (examples * positions)
    turned = back @ later @ back.T
    importances, rotation = np.linalg.eigh(turned[1:, 1:])
    importances, rotation = importances[::-1], rotation[:, ::-1]
    scale = np.sqrt(np.abs(np.concatenate([[1.0], importances])))
    whole = np.eye(width + 1)
    whole[1:, 1:] = rotation
    return whitening @ whole * scale, (whole / scale).T @ back, importances


def jacobians(onward: Onward, example: torch.Tensor, directions: Array, alphas: list[tuple[float, float]]) -> Array:
    """The mean Jacobian over the path: (positions x directions, positions, width)."""

    def shown(values: torch.Tensor) -> torch.Tensor:
        return (onward(values) @ torch.from_numpy(directions)).flatten()

    total = torch.zeros(1)
    for alpha, weight in alphas:
        total = total + weight * torch.func.jacrev(shown)(alpha * example)
    found: Array = total.detach().numpy()
    return found
