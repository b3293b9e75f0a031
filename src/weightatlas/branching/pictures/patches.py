"""The patches of data that excite each unit most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.branching.pictures.objectives import checked_units
from weightatlas.branching.pictures.receptive_field import ReceptiveField, receptive_field
from weightatlas.branching.pictures.tap import At, device_of, trunk
from weightatlas.data.normalisation import STATISTICS
from weightatlas.errors import SourceError
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from torch import nn

GREY: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class ExcitingPatches:
    """What of a data set excites units most.

    Attributes:
        layer: module path.
        units: int64 (units,).
        images: uint8 (units, count, h, w, 3): what the unit sees at its strongest position, in order of response; grey
            where that is beyond the image, or where there are fewer examples than `count`.
        activations: float64 (units, count): the response there; NaN where there is none.
        examples: int64 (units, count): number of the example within the pass; -1 where there is none.
        positions: int64 (units, count, 2): row and column in the layer's map.
        seen: how many examples were looked at.
        note: how pixels were found from what the model reads; empty where the data say it.
    """

    layer: str
    units: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    activations: npt.NDArray[np.float64]
    examples: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    seen: int
    note: str


def exciting_patches(
    model: nn.Module,
    layer: str,
    units: Any,  # noqa: ANN401 - whole numbers of any array
    data: Iterable[tuple[torch.Tensor, torch.Tensor]],
    *,
    count: int = 9,
    limit: int | None = None,
    at: At = "output",
    progress: Progress = silent,
) -> ExcitingPatches:
    """Find the patches of images that excite units most, in one pass, at most one of each image.

    A unit's response to an image is its largest value over positions; its patch the receptive field of that position,
    measured by gradients (`receptive_field`), which is the whole image for layers that see all of it. The best are kept
    as they come; what ties keeps its order. Values that are not finite are passed over.

    Args:
        model: reads images as the data give them.
        layer: module path.
        units: whole numbers (units,).
        data: an `evaluation.Data` of images, or batches of (images, anything) that can be gone through.
        count: patches of each unit.
        limit: examples at most, the first ones.
        at: whether units are those that the layer gives, or the channels that it reads.
        progress: told after every batch how many examples are done; where their number is not known, of as many.

    Returns:
        The patches. Pixels are found by undoing the data's normalisation; images of other ranges than 0 to 1 without a
        known one are scaled from the least to the largest value of the first batch, and the note says so.

    Raises:
        SourceError: there is no such layer, the model cannot take the images, or the data have none.
        ValueError: a unit is not there, or `count` or `limit` is less than 1.

    **Source:** Zeiler and Fergus, Visualizing and Understanding Convolutional Networks (2014), section 3, figure 2.

    Example:
        >>> from weightatlas.evaluation import open_data
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU())
        >>> patches = exciting_patches(network, "0", [0, 3], open_data("scenes", limit=64), count=2)
        >>> patches.images.shape, patches.seen
        ((2, 2, 5, 5, 3), 64)
    """
    if count < 1 or (limit is not None and limit < 1):
        message = f"count and limit are 1 or more, not {count} and {limit}"
        raise ValueError(message)
    best: _Best | None = None
    bounds = [bound for bound in (limit, getattr(data, "examples", None)) if bound is not None]
    with torch.inference_mode(False), torch.no_grad(), trunk(model, layer, at=at) as run:
        where, dtype = device_of(model)
        for images, _ in data:
            taken = images if limit is None else images[: limit - (best.seen if best else 0)]
            inputs = taken.to(where, dtype)
            if best is None:
                _check_images(data, inputs)
                available = run(inputs[:1]).shape[1]
                wanted = checked_units(units, available, layer)
                best = _Best(wanted, count, receptive_field(run, inputs), _Pixels.of(data, taken))
            best.add(taken, run(inputs))
            progress(best.seen, max(best.seen, min(bounds, default=0)), layer)
            if limit is not None and best.seen >= limit:
                break
    if best is None:
        raise SourceError(getattr(data, "name", "data"), "there is no batch", "give one or more")
    return ExcitingPatches(
        layer, best.units, best.images, best.activations, best.examples, best.positions, best.seen, best.pixels.note
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pixels:
    """How the numbers that a model reads become bytes: scaled and shifted, channel by channel."""

    scale: torch.Tensor
    shift: torch.Tensor
    note: str = ""

    @classmethod
    def of(cls, data: object, images: torch.Tensor) -> _Pixels:
        statistics = STATISTICS.get(getattr(data, "normalization", "none"))
        if statistics is not None:
            mean, deviation = torch.tensor(statistics)[..., None, None]
            return cls(deviation * 255, mean * 255)
        low, high = (0.0, 255.0) if images.dtype == torch.uint8 else (float(images.min()), float(images.max()))
        if low >= 0 and high <= 1:
            return cls(torch.tensor(255.0), torch.tensor(0.0))
        scale = 255 / max(high - low, 1e-30)
        note = (
            "" if images.dtype == torch.uint8 else f"pixels are scaled from {low:.3g} to {high:.3g}, of the first batch"
        )
        return cls(torch.tensor(scale), torch.tensor(-low * scale), note)

    def __call__(self, image: torch.Tensor) -> npt.NDArray[np.uint8]:
        """Bytes (h, w, 3) of one image (channels, h, w)."""
        values = (image.float().cpu() * self.scale + self.shift).round().clamp(0, 255).to(torch.uint8)
        return values.expand(3, -1, -1).permute(1, 2, 0).numpy()


class _Best:
    """The best patches so far."""

    def __init__(self, units: npt.NDArray[np.int64], count: int, field: ReceptiveField, pixels: _Pixels) -> None:
        shape = (len(units), count)
        self.units, self.field, self.pixels, self.seen = units, field, pixels, 0
        self.images = np.full((*shape, *field.size, 3), GREY, dtype=np.uint8)
        self.activations = np.full(shape, np.nan)
        self.examples = np.full(shape, -1, dtype=np.int64)
        self.positions = np.full((*shape, 2), -1, dtype=np.int64)

    def add(self, images: torch.Tensor, activation: torch.Tensor) -> None:
        """Take in a batch: what beats the kept ones takes their place."""
        maps = activation[:, torch.from_numpy(self.units).to(activation.device)].float()
        maps = maps.reshape(*maps.shape[:2], -1)
        strongest, place = maps.nan_to_num(-torch.inf, -torch.inf, -torch.inf).max(dim=2)
        values, places = strongest.double().cpu().numpy().T, place.cpu().numpy().T
        columns = activation.shape[3] if activation.ndim == 4 else 1
        count = self.activations.shape[1]
        kept = np.nan_to_num(self.activations, nan=-np.inf)
        order = np.argsort(-np.concatenate([kept, values], axis=1), axis=1, kind="stable")[:, :count]
        for row in np.flatnonzero((order >= count).any(axis=1)).tolist():
            self._place(row, order[row], images, values[row], np.stack(np.divmod(places[row], columns), axis=1))
        self.seen += len(images)

    def _place(
        self,
        row: int,
        order: npt.NDArray[np.int64],
        images: torch.Tensor,
        values: npt.NDArray[np.float64],
        places: npt.NDArray[np.int64],
    ) -> None:
        """Put one unit's patches into their new order; numbers from `count` on are images of the batch."""
        count = len(order)
        old = np.minimum(order, count - 1)
        self.images[row] = self.images[row, old]
        self.activations[row], self.examples[row] = self.activations[row, old], self.examples[row, old]
        self.positions[row] = self.positions[row, old]
        for slot in np.flatnonzero(order >= count):
            number = int(order[slot]) - count
            if not np.isfinite(values[number]):
                continue
            self.images[row, slot] = self._cropped(images[number], *places[number])
            self.activations[row, slot] = values[number]
            self.examples[row, slot] = self.seen + number
            self.positions[row, slot] = places[number]

    def _cropped(self, image: torch.Tensor, row: int, column: int) -> npt.NDArray[np.uint8]:
        height, width = self.field.size
        top, left = int(self.field.tops[row]), int(self.field.lefts[column])
        patch = np.full((height, width, 3), GREY, dtype=np.uint8)
        rows = slice(max(top, 0), min(top + height, image.shape[1]))
        columns = slice(max(left, 0), min(left + width, image.shape[2]))
        patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = self.pixels(
            image[:, rows, columns]
        )
        return patch


def _check_images(data: object, images: torch.Tensor) -> None:
    if images.ndim != 4 or images.shape[1] not in {1, 3}:
        problem = f"its inputs are {list(images.shape)}, no images of one or three channels"
        raise SourceError(getattr(data, "name", "data"), problem, "give images (batch, 3, h, w)")
