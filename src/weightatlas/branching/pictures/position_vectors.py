"""What a kernel wants at each of its positions, shown as pictures of its vectors over the channels it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from weightatlas.branching.pictures.objectives import checked_units
from weightatlas.branching.pictures.tap import At, find_layer
from weightatlas.branching.pictures.visualization import visualize
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import numpy.typing as npt

LIGHT: Final = 0.9 * 255
"""The grey that weak positions fade to."""


@dataclass(frozen=True, slots=True, eq=False)
class PositionVectors:
    """A picture for each unit and position of its kernel.

    Attributes:
        layer: module path.
        units: int64 (units,).
        images: uint8 (units, kh, kw, n, n, 3): faded to light grey by `norms`; plain grey where a vector is zero.
        pictures: uint8, the same without fading.
        norms: float64 (units, kh, kw): length of each vector over that unit's longest, 0 to 1.
        excess: float64 (units, kh, kw), as of `UnitPictures`; NaN where a vector is zero.
    """

    layer: str
    units: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    pictures: npt.NDArray[np.uint8]
    norms: npt.NDArray[np.float64]
    excess: npt.NDArray[np.float64]


def position_vectors(
    model: nn.Module,
    layer: str,
    units: Any,  # noqa: ANN401 - whole numbers of any array
    *,
    weight: Any = None,  # noqa: ANN401 - any array
    size: int = 64,
    **options: Any,  # noqa: ANN401 - those of `visualize`
) -> PositionVectors:
    r"""Feature-visualise the vectors over input channels at each position of a unit's kernel.

    For position (y, x) of unit u the picture p is that of the direction $w_{u \cdot y x}$ in what the layer reads,
    faded to $p r + .9 (1 - r)$, where
    $$r = \lVert w_{u \cdot y x} \rVert / \max_{y' x'} \lVert w_{u \cdot y' x'} \rVert$$

    Args:
        model: reads images.
        layer: module path of a two-dimensional convolution (transposed or not) or a linear layer; with `weight`, of the
            layer whose units are the weight's channels.
        units: whole numbers (units,), rows of the weight.
        weight: (rows, channels, kh, kw), such as expanded weights, or None for the layer's own.
        size: side of the pictures, in pixels.
        options: as of `visualize`, such as `steps`, `seed` and `normalize`.

    Returns:
        The pictures. Channels that a unit's group does not read count 0.

    Raises:
        SourceError: there is no such layer, it has no such weight, or the model cannot be run up to it.
        ValueError: a unit is not there, the weight has another shape or is not finite, or an option is out of range.

    **Source:** Voss et al., Visualizing Weights (2021), "position vectors"; the fade is the article's.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, (1, 2)))
        >>> position_vectors(network, "2", [1], size=16, steps=4).images.shape
        (1, 1, 2, 16, 16, 3)
    """
    at: At = "input" if weight is None else "output"
    module = find_layer(model, layer)
    values = _weight_of(module, layer) if weight is None else _array(weight)
    if values.ndim != 4 or not np.isfinite(values).all():
        message = f"a weight is (rows, channels, kh, kw) and finite; not so that of shape {values.shape}"
        raise ValueError(message)
    rows = checked_units(units, len(values), layer)
    vectors = values[rows].transpose(0, 2, 3, 1)
    lengths = np.linalg.norm(vectors, axis=-1)
    present = lengths > 0
    longest = lengths.max(axis=(1, 2), keepdims=True, initial=0)
    norms = np.divide(lengths, longest, out=np.zeros_like(lengths), where=longest > 0)
    pictures = np.full((*present.shape, size, size, 3), round(LIGHT), dtype=np.uint8)
    excess = np.full(present.shape, np.nan)
    if present.any():
        made = visualize(model, layer, vectors[present], objective="direction", at=at, size=size, **options)
        pictures[present], excess[present] = made.images, made.excess
    share = norms[..., None, None, None]
    images = np.round(pictures * share + LIGHT * (1 - share)).astype(np.uint8)
    return PositionVectors(layer, rows, images, pictures, norms, excess)


def _weight_of(module: nn.Module, layer: str) -> npt.NDArray[np.float64]:
    """A layer's weight over all channels that it reads, (rows, channels, kh, kw)."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.Linear) and weight is not None:
        return _array(weight)[:, :, None, None]
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or weight is None:
        what = type(module).__name__
        raise SourceError(layer, f"a {what} has no kernels over an image", "name a Conv2d, ConvTranspose2d or Linear")
    groups = module.groups
    values = _array(weight)
    if isinstance(module, nn.ConvTranspose2d):
        parts = [part.swapaxes(0, 1) for part in np.split(values, groups)]
    else:
        parts = np.split(values, groups)
    full = np.zeros((module.out_channels, module.in_channels, *values.shape[2:]))
    for group, part in enumerate(parts):
        out, read = part.shape[:2]
        full[group * out : (group + 1) * out, group * read : (group + 1) * read] = part
    return full


def _array(weight: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401
    return np.asarray(
        weight.detach().cpu().double().numpy() if isinstance(weight, torch.Tensor) else weight, dtype=np.float64
    )
