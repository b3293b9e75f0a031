"""Tissue slides: every unit's kernels reduced to a few non-negative spatial factors, drawn as colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from weightatlas.banding.kernels import as_kernels
from weightatlas.banding.matching import match_factors
from weightatlas.banding.nmf import one_sided_nmf
from weightatlas.result import Result, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import altair as alt
    import numpy.typing as npt
    import torch

    from weightatlas.plate import Plate

Array = np.ndarray

COLOURS: Final = 3
"""Factors that a picture can show."""


@dataclass(frozen=True, slots=True, eq=False)
class TissueSlides(Result):
    """One layer's tissue slide: a small picture of each unit.

    Attributes:
        factors: spatial factors W, at the scale scikit-learn's NMF gives them, in an order that means the same in
            every unit.
        images: the first three factors as red, green and blue, each unit scaled by its own maximum: 0 to 255. With
            fewer factors the colours left over are 0; a unit without weights is black.
        order: units by similarity, a permutation.
        error: ||X - WH|| / ||X|| of each unit, 0 to 1; 0 for a unit without weights.
        source: what was reduced, for the atlas.
    """

    tables: ClassVar[Mapping[str, tuple[str, ...]]] = {"units": ("unit", "place", "error", "skipped")}

    factors: Float32[Array, "units h w k"]
    images: UInt8[Array, "units h w 3"]
    order: Int64[Array, " units"]
    error: Float[Array, " units"]
    source: str = "weight"

    def rows(self, table: str | None = None) -> list[Row]:
        """One row a unit: its place in the order of similarity, and what the factors leave of its weights."""
        columns = self.columns(table)
        places = np.argsort(self.order).tolist()
        return [
            dict(zip(columns, (unit, place, error, None), strict=True))
            for unit, (place, error) in enumerate(zip(places, self.error.tolist(), strict=True))
        ]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Factors, images, order and error."""
        return {"factors": self.factors, "images": self.images, "order": self.order, "error": self.error}

    def picture(self, path: Path) -> None:
        """A contact sheet of all units."""
        from weightatlas.atlas.contact_sheet import save_contact_sheet
        from weightatlas.banding.single_plates import slides_plate

        save_contact_sheet(slides_plate(self), path)

    def chart(self) -> alt.Chart:
        """How much of each unit's weights the factors leave unexplained."""
        from weightatlas.banding.single_plates import error_chart

        return error_chart(self)

    def plates(self) -> Sequence[Plate]:
        """The slides, as they stand in an atlas."""
        from weightatlas.banding.single_plates import slides_plate

        return [slides_plate(self)]


def slides(weight: torch.Tensor | npt.ArrayLike, *, factors: int = 3, jobs: int | None = None) -> TissueSlides:
    r"""Reduce each unit's kernels to a few spatial factors, in one colour order for the layer, units side by side.

    For unit u with kernels w (channels, h, w), \(X = [\text{relu}(w), \text{relu}(-w)]\) is (h w, 2 channels),
    and \(X \approx W H\) with non-negative factors: W holds `factors` maps over the kernel, the same for positive and
    negative weights. Which factor is which is arbitrary, so they are permuted, unit by unit, to resemble one layout
    of the layer: the mean of all units' factors, estimated in turn with the permutations. The layout's factors stand
    from top to bottom, or from left to right if they differ more along x; so red is top (or left) in every layer.
    Units are ordered by the first principal component of their maps, each of unit length. Nothing is random.

    Args:
        weight: (out, in, h, w), any floating dtype; computed in float32.
        factors: at most min(h w, 2 in).
        jobs: threads; None is one a core.

    Raises:
        ValueError: another shape, no elements, values that are not finite, or more factors than a kernel can have
            (a 1 x 1 kernel has one).

    **Source:** Petrov et al., *Weight Banding* (Distill, 2021), and Voss et al., *Visualizing Weights* (Distill,
    2021): NMF, one-sided, fitted unit by unit. How the factors were matched is not told there; ours gives the order
    of the published images.

    Example:
        >>> kernels = np.random.default_rng(0).standard_normal((16, 8, 3, 3))
        >>> slide = slides(kernels)
        >>> slide.images.shape, slide.images.dtype, int(slide.images.max())
        ((16, 3, 3, 3), dtype('uint8'), 255)
    """
    kernels = as_kernels(weight)
    units, channels, height, width = kernels.shape
    most = min(height * width, 2 * channels)
    if not 1 <= factors <= most:
        message = (
            f"{height} x {width} kernels of {channels} channels have {most} factors at most, not {factors}; "
            f"ask for 1 to {most}"
        )
        raise ValueError(message)
    factorization = one_sided_nmf(kernels.reshape(units, channels, height * width), factors, jobs=jobs)
    matched = match_factors(factorization.spatial.reshape(units, height, width, factors))
    norms = np.sqrt(np.einsum("uchw,uchw->u", kernels, kernels, dtype=np.float64))
    return TissueSlides(
        factors=matched,
        images=_images(matched),
        order=similarity_order(matched),
        error=np.divide(factorization.error, norms, out=np.zeros(units), where=norms > 0),
    )


def similarity_order(factors: npt.ArrayLike) -> Int64[Array, " units"]:
    """Units by similarity: the order of the first principal component of their maps, each of unit length.

    The component's largest coefficient is positive, so that the order does not hang on an arbitrary sign.

    Args:
        factors: (units, h, w, k), the factors or the images of slides.

    **Source:** the article's "sorted by similarity of their reduced forms"; its published order is this one (absolute
    rank correlation .95 and more in most layers).

    Example:
        >>> similarity_order(np.array([[1, 0], [0, 1], [3, 1]]).reshape(3, 1, 1, 2))
        array([1, 2, 0])
    """
    maps = unit_length(np.asarray(factors, np.float64))
    flat = maps.reshape(len(maps), -1)
    flat = flat - flat.mean(axis=0)
    _, components = np.linalg.eigh(flat.T @ flat)
    first = components[:, -1]
    first = first * np.sign(first[np.argmax(np.abs(first))])
    return np.argsort(flat @ first, kind="stable")


def unit_length(maps: Float[Array, "units ..."]) -> Float[Array, "units ..."]:
    """Maps scaled to Euclidean length 1 each; zero maps stay zero."""
    axes = tuple(range(1, maps.ndim))
    norms = np.sqrt(np.sum(maps * maps, axis=axes, keepdims=True))
    scaled: Array = np.divide(maps, norms, out=np.zeros_like(maps), where=norms > 0)
    return scaled


def _images(factors: Float32[Array, "units h w k"]) -> UInt8[Array, "units h w 3"]:
    shown = factors[..., :COLOURS]
    peaks = shown.max(axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(shown, peaks, out=np.zeros_like(shown), where=peaks > 0)
    images = np.zeros((*factors.shape[:3], COLOURS), np.uint8)
    images[..., : shown.shape[-1]] = np.rint(255 * scaled)
    return images
