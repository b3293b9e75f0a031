"""Blocks of units that fire together act linearly: each change of their basis, as directions of the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightatlas.degeneracy.wiring.mixing import Mixing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from weightatlas.degeneracy.rectified import RectifiedLayer

    Indices = npt.NDArray[np.int64] | Sequence[int]

Direction = dict[str, torch.Tensor]
"""From a parameter's name to the change of it, of its shape; a parameter that is not there stays as it is."""


def block_directions(
    parameters: Mapping[str, torch.Tensor], layer: RectifiedLayer, block: Indices, model: nn.Module
) -> Iterator[Direction]:
    r"""Give the directions that a block of synchronised units frees, one for each entry of A.

    Units S that are positive on the same data act there as one linear map, times the same number for each of them, so
    that the change \(y_S \to (1 + \varepsilon A) y_S\) of their inputs y is undone by
    \(W'_{:,S} \to W'_{:,S} (1 - \varepsilon A)\) in whatever takes their outputs. To first order:
    \(\delta W_S = A W_S\), \(\delta b_S = A b_S\), \(\delta W'_{:,S} = -W'_{:,S} A\), for each \(A = e_i e_j^\top\).
    With a norm between, \(y = D (W x + b - \mu) + \beta\) with \(D = \gamma / \sigma\): then
    \(\delta W_i = D_j W_j / D_i\), and the constants go into \(\beta\), or into b where there is none.
    i = j is the scaling of one unit, which is free on any data.

    Left out are what no parameter can bring about: units that lie in different groups of a convolution, or whose
    outputs part ways, or are taken each by itself (max pooling); a scale \(\gamma_i = 0\); a constant without a bias.

    Args:
        parameters: by the model's names; what is not among them is held.
        layer: as `rectified_layers` gives it.
        block: units, of which any two fire on the same data; elsewhere the directions are not free.
        model: for the statistics of its norms.

    Yields:
        For each such (i, j), the changes of the parameters, in the parameters' dtype.

    Example:
        >>> from torch import nn
        >>> from weightatlas.degeneracy.rectified import rectified_layers
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> layer, = rectified_layers(model, torch.zeros(1, 2))
        >>> [sorted(one) for one in block_directions(dict(model.named_parameters()), layer, [1], model)]
        [['0.bias', '0.weight', '2.weight']]
    """
    mixing = Mixing.of(parameters, layer, model)
    if mixing is None:
        return
    for unit, other in movable_pairs(parameters, layer, block, model):
        yield mixing.direction(unit, other)


def movable_pairs(
    parameters: Mapping[str, torch.Tensor], layer: RectifiedLayer, block: Indices, model: nn.Module
) -> list[tuple[int, int]]:
    """The pairs (i, j) of units of a block for which `block_directions` gives a direction, in its order."""
    mixing = Mixing.of(parameters, layer, model)
    if mixing is None:
        return []
    units = [int(one) for one in block]
    return [(one, other) for one in units for other in units if mixing.reaches(one, other)]
