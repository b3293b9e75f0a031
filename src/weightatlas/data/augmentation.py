"""What is done to images before a network sees them: drawn for each image, applied to a batch at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch

from weightatlas.data.placing import Placement, copied, sampled

Rotate = Literal["none", "90", "random"]
ROTATIONS: tuple[Rotate, ...] = get_args(Rotate)
ASPECTS: Final = (3 / 4, 4 / 3)

FLIP, DOWN, RIGHT, AREA, ASPECT, TOP, LEFT, ANGLE = range(8)
DRAWS: Final = 8
"""Numbers that are drawn for an image, whatever is done to it: switching one change on leaves the others as drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    r"""Change the images of a batch, each by numbers of its own; the defaults do nothing.

    In this order: a part of the image is cut out (`scale`, `crop`), mirrored (`flip`), moved (`shift`) and turned
    (`rotate`). So flips are left-right in the image as it was, before the turn. What would lie outside the image is its
    reflection about the outermost pixels; there are no black borders, whose direction a network could read.

    Cuts, flips, shifts and quarter turns copy pixels exactly. With `scale` or a random turn the whole change is one map
    of places, $q \mapsto W F S R\, q$ (turn R, shift S, flip F, cut W), and each image is read once, bilinearly, at the
    places it gives; bytes are rounded.

    Attributes:
        flip: mirror left-right with probability 1/2.
        shift: move by a uniform whole number of pixels from -shift to shift, down and to the right independently.
        scale: cut out a part with a share of the area that is uniform between these two, above 0 to 1, of an aspect
            (width over height) log-uniform from 3/4 to 4/3, at a uniform place, and stretch it to the output's size;
            in evaluation nothing is stretched.
        crop: side of the output in pixels; without `scale` cut out at a uniform place in training, and in the middle
            in evaluation. None keeps the size.
        rotate: "90" turns every image a quarter counter-clockwise, in evaluation too; "random" turns each by an angle
            uniform on the circle about its middle, in training only; "none" leaves it upright.

    Raises:
        ValueError: a value has no meaning.

    **Source:** the cut is torchvision's `RandomResizedCrop`, but a part that would stick out is clamped to the image's
    side and not drawn again, its place is not rounded to whole pixels, and there is no anti-aliasing: bring images near
    the output's size first. The turns are those of Weight Banding (Petrov et al., Distill 2021).

    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> Augmentation(rotate="90").fixed(image).tolist()
        [[[[2, 4], [1, 3]]]]
    """

    flip: bool = False
    shift: int = 0
    scale: tuple[float, float] | None = None
    crop: int | None = None
    rotate: Rotate = "none"

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        scale = (1.0, 1.0) if self.scale is None else self.scale
        checks = (
            ("flip", type(self.flip) is bool, "true or false"),
            ("shift", type(self.shift) is int and self.shift >= 0, "a whole number of pixels, 0 or more"),
            (
                "crop",
                self.crop is None or (type(self.crop) is int and self.crop >= 1),
                "a whole number of pixels, 1 or more",
            ),
            (
                "scale",
                len(scale) == 2 and 0 < scale[0] <= scale[-1] <= 1,
                "two rising shares of the area, above 0 to 1",
            ),
            ("rotate", self.rotate in ROTATIONS, f"one of {', '.join(ROTATIONS)}"),
        )
        for name, right, meaning in checks:
            if not right:
                message = f"{name} must be {meaning}, not {getattr(self, name)!r}"
                raise ValueError(message)

    @property
    def identity(self) -> bool:
        """Whether images stay as they are, in training and evaluation."""
        return self == UNCHANGED

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of an output for that of an input (channels, height, width), in training and evaluation.

        Raises:
            ValueError: inputs of that shape are no images, or too small for the crop or the shift.
        """
        if self.identity:
            return shape
        if len(shape) != 3:
            message = f"inputs of shape {list(shape)} are no images (channels, height, width) that could be augmented"
            raise ValueError(message)
        channels, height, width = shape
        side = min(height, width)
        if self.crop is not None and self.crop > side:
            message = f"no crop of {self.crop} pixels can be cut out of images of {height} x {width}"
            raise ValueError(message)
        if self.shift >= side:
            message = f"a shift of {self.shift} pixels needs larger images than {height} x {width}"
            raise ValueError(message)
        cut = self._cut(height, width)
        return (channels, *(cut[::-1] if self.rotate == "90" else cut))

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw the numbers that decide what is done to `count` images: float64 (count, 8), uniform on [0, 1)."""
        return torch.rand(count, DRAWS, generator=generator, dtype=torch.float64)

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Change images for training.

        Args:
            images: bytes or floating point (n, channels, height, width), on any device.
            draws: what `draw` gave for these images (n, 8), on the CPU.

        Returns:
            Images of the same dtype, on the same device; their shape is `shape_of`'s.
        """
        if self.identity:
            return images
        self.shape_of(tuple(images.shape[1:]))
        height, width = images.shape[2:]
        read = copied if self.scale is None and self.rotate != "random" else sampled
        return self._turned(read(images, self._placed(draws, height, width), self._cut(height, width)))

    def fixed(self, images: torch.Tensor) -> torch.Tensor:
        """Change images for evaluation: the crop in the middle and the quarter turn, the same for every image."""
        if self.identity:
            return images
        self.shape_of(tuple(images.shape[1:]))
        height, width = images.shape[2:]
        tall, wide = self._cut(height, width)
        top, left = round((height - tall) / 2), round((width - wide) / 2)
        return self._turned(images[:, :, top : top + tall, left : left + wide])

    def _cut(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output before the quarter turn."""
        return (height, width) if self.crop is None else (self.crop, self.crop)

    def _placed(self, draws: torch.Tensor, height: int, width: int) -> Placement:
        """What the numbers that were drawn mean for images of this size."""
        tall, wide = self._cut(height, width)
        down, right = ((draws[:, place] * (2 * self.shift + 1)).floor() - self.shift for place in (DOWN, RIGHT))
        mirrored = (draws[:, FLIP] < 0.5) & self.flip
        angle = draws[:, ANGLE] * (2 * math.pi if self.rotate == "random" else 0.0)
        if self.scale is None:
            top = (draws[:, TOP] * (height - tall + 1)).floor()
            left = (draws[:, LEFT] * (width - wide + 1)).floor()
            part = torch.full_like(top, tall), torch.full_like(left, wide)
        else:
            low, high = self.scale
            area = height * width * (low + (high - low) * draws[:, AREA])
            narrowest, widest = (math.log(aspect) for aspect in ASPECTS)
            aspect = (narrowest + (widest - narrowest) * draws[:, ASPECT]).exp()
            part = (area / aspect).sqrt().clamp(max=height), (area * aspect).sqrt().clamp(max=width)
            top, left = draws[:, TOP] * (height - part[0]), draws[:, LEFT] * (width - part[1])
        return Placement(top, left, *part, down, right, mirrored, angle)

    def _turned(self, images: torch.Tensor) -> torch.Tensor:
        return torch.rot90(images, dims=(2, 3)) if self.rotate == "90" else images


UNCHANGED: Final = Augmentation()
"""Images as they are."""
