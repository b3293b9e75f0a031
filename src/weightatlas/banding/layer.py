"""One layer's banding: everything that is measured from one read of its weight, before layers are tested together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from weightatlas.banding.flips import mean_of_finite
from weightatlas.banding.kernels import as_kernels, kernel_energies, kernel_symmetry
from weightatlas.banding.score import (
    BANDED_SLIDES,
    Average,
    BandingScore,
    direction_of,
    shares,
    untested_score,
)
from weightatlas.banding.slides import TissueSlides, slides
from weightatlas.banding.symmetries import SymmetryTest, untested_symmetries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt
    import torch

    from weightatlas.anatomy.layers import Layer

FeatureMap = tuple[int, int, int]

BANDED_UNIT: Final = 0.6
"""A unit counts as banded where its slide's b has the layer's sign and at least this size: the article's figure 12
calls clusters whose centre scores more than .6 banded."""

FLOATING: Final = ("float", "bfloat")


@dataclass(frozen=True, slots=True, eq=False)
class LayerBanding:
    """One layer of a survey; a skipped one has its name, its shape and the reason, and nothing else.

    Attributes:
        layer: module path.
        tensor: full name in the file.
        shape: of the tensor.
        skipped: why the layer was not scored, or None.
        kernel_shape: (in, h, w) of the kernels that were scored.
        reads_map: whether it is a fully connected layer read over the map it sees.
        score: its banding, tested.
        q_value: Benjamini-Hochberg over the layers scored in this source.
        symmetries: the three symmetry tests.
        symmetry_q_values: Benjamini-Hochberg over layers and symmetries, one for each.
        kernel_symmetry: mean over single kernels of Alsallakh et al.'s S.
        mean_kernel_symmetry: S of the layer's mean kernel, as they use it.
        norms: each unit's L2 norm, (units,).
        slides: the layer's tissue slides, or None where they were not asked for.
        slide_scores: b of each unit's slide, (units,).
        random_share: share of random units of this shape that would count as banded with a given sign.
    """

    layer: str
    tensor: str
    shape: tuple[int, ...]
    skipped: str | None = None
    kernel_shape: tuple[int, ...] = ()
    reads_map: bool = False
    score: BandingScore | None = None
    q_value: float = float("nan")
    symmetries: tuple[SymmetryTest, ...] = ()
    symmetry_q_values: tuple[float, ...] = ()
    kernel_symmetry: float = float("nan")
    mean_kernel_symmetry: float = float("nan")
    norms: npt.NDArray[np.float64] | None = None
    slides: TissueSlides | None = None
    slide_scores: npt.NDArray[np.float64] | None = None
    random_share: float = float("nan")

    @property
    def direction(self) -> str:
        """Which way the bands run, judged by q."""
        return "none" if self.score is None else direction_of(self.score.score, self.q_value)

    @property
    def banded(self) -> bool:
        """Whether the layer has a direction and |B| reaches the cut for raw kernels."""
        return self.score is not None and self.direction != "none" and abs(self.score.score) >= self.score.threshold

    @property
    def slide_score(self) -> float:
        """Mean b of the units' slides; NaN without slides."""
        return float("nan") if self.slide_scores is None else mean_of_finite(self.slide_scores)

    @property
    def slide_banded(self) -> bool:
        """Whether the layer has a direction and its slides reach the cut that gives the article's verdicts."""
        return self.direction != "none" and abs(self.slide_score) >= BANDED_SLIDES

    @property
    def banded_slides(self) -> npt.NDArray[np.bool_]:
        """For each unit, whether its slide has the layer's sign and |b| of at least .6."""
        if self.slide_scores is None or self.score is None:
            return np.zeros(0, dtype=bool)
        banded: npt.NDArray[np.bool_] = np.nan_to_num(self.slide_scores) * np.sign(self.score.score) >= BANDED_UNIT
        return banded


LARGEST_KERNEL: Final = 256
"""The longest side of a kernel or of the map that a fully connected layer reads; published ones end at 64."""


def is_weight(layer: Layer) -> bool:
    """Whether a tensor connects units, and so is worth a row: a kernel or a matrix, no vector, no counter."""
    return len(layer.shape) >= 2 and layer.kind in ("convolution", "linear", "embedding", "other")


def reason_to_skip(layer: Layer, feature_map: FeatureMap | None) -> str | None:
    """Why a weight has no bands to measure, told from its header; None where it has.

    A grouped convolution is scored: each of its units is what a dense one's is. Its kernel's input axis mixes groups,
    so the flips over inputs have few values and the test is conservative.
    """
    kernel = layer.shape[2:] if feature_map is None else feature_map[1:]
    reason = None
    if layer.skipped is not None:
        reason = layer.skipped
    elif not layer.dtype.startswith(FLOATING):
        reason = f"its numbers are {layer.dtype}, not floating point"
    elif layer.parameters == 0:
        reason = "it has no elements"
    elif feature_map is None and len(layer.shape) == 2:
        reason = "a matrix has no kernels; if it reads a flattened map, name the map with --feature-map"
    elif len(kernel) != 2:
        reason = f"its kernels are {len(kernel)}-dimensional; bands need rows and columns"
    elif kernel == (1, 1):
        reason = "a 1x1 kernel has no rows or columns"
    elif kernel[0] != kernel[1]:
        reason = f"its kernels are {kernel[0]}x{kernel[1]}: shares of rows and of columns compare only on a square"
    elif max(kernel) > LARGEST_KERNEL:
        reason = (
            f"kernels of {kernel[0]}x{kernel[1]} are images, no kernels; {LARGEST_KERNEL} is the largest side measured"
        )
    elif layer.role == "depthwise":
        reason = "a depthwise convolution: bands are claimed for dense convolutions only"
    return reason


def measure_layer(
    layer: Layer,
    *,
    read: Callable[[str], torch.Tensor | npt.NDArray[Any]],
    feature_maps: Mapping[str, FeatureMap],
    average: Average,
    with_slides: bool,
) -> LayerBanding:
    """Read one weight and measure all of it that needs no other layer; p and q values are still open."""
    try:
        kernels = as_kernels(read(layer.tensor), feature_map=feature_maps.get(layer.layer))
        energies = kernel_energies(kernels)
        untested = untested_score(energies, average=average)
    except ValueError as error:
        return LayerBanding(layer.layer, layer.tensor, layer.shape, skipped=str(error))
    found = slides(kernels, factors=factors_of(kernels.shape[1:]), jobs=1) if with_slides else None
    return LayerBanding(
        layer=layer.layer,
        tensor=layer.tensor,
        shape=layer.shape,
        kernel_shape=kernels.shape[1:],
        reads_map=layer.layer in feature_maps,
        score=untested,
        symmetries=untested_symmetries(energies),
        kernel_symmetry=mean_of_finite(energies.symmetry),
        mean_kernel_symmetry=kernel_symmetry(kernels.mean(axis=(0, 1), dtype=np.float64)),
        norms=np.sqrt(energies.raw.sum(axis=1)),
        slides=found,
        slide_scores=None if found is None else slide_unit_scores(found),
    )


def factors_of(kernel_shape: tuple[int, ...]) -> int:
    """How many factors a slide of kernels (in, h, w) has: three, or as many as so small a kernel can have."""
    channels, height, width = kernel_shape
    return min(3, height * width, 2 * channels)


def slide_unit_scores(found: TissueSlides) -> npt.NDArray[np.float64]:
    """Score of every unit's slide, its factors in the channels' place."""
    energies = kernel_energies(np.moveaxis(found.factors, 3, 1))
    return shares(energies.rows - energies.columns, energies.total, axis=1, average="unit")
