"""What a recipe trains a network for: the loss of a batch, and made-up batches in the right format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import torch
from torch.nn import functional

from weightatlas.evaluation.scoring import in_full, logits_of

if TYPE_CHECKING:
    from torch import Tensor, nn

IGNORED: Final = 255
"""The class of pixels that nobody labelled, in PASCAL VOC: they have no part in the loss."""

AUXILIARY: Final = 0.5
"""What the loss of an auxiliary head counts for, as in torchvision's reference training of segmentation."""

RECTANGLES: Final = 3
"""Made-up objects in a made-up image."""

Kind = Literal["images", "clips", "segmentation", "detection"]


class Task(Protocol):
    """A kind of training.

    Attributes:
        kind: its name.
        classes: how many there are; of detection, the background is one of them.
    """

    @property
    def kind(self) -> Kind: ...  # noqa: D102 - see above
    @property
    def classes(self) -> int: ...  # noqa: D102

    def loss(self, model: nn.Module, batch: Any) -> Tensor:  # noqa: ANN401 - a batch of the task
        """The loss that training makes smaller: a scalar, on the network's device, with its gradient."""
        ...

    def example(self, batch_size: int, seed: int = 0, *, size: int | None = None) -> Any:  # noqa: ANN401
        """A made-up batch in the format of the real ones; it says nothing about them.

        Args:
            batch_size: images or clips.
            seed: what they are drawn from.
            size: side of the images in pixels; None is the task's own.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    r"""One class for each image or clip: cross-entropy, the mean over the batch, in nats.

    A batch is (inputs, targets): float32 (batch, 3, height, width), of clips (batch, 3, frames, height, width), and
    int64 (batch,).

    Attributes:
        classes: how many there are.
        size: side of the images, in pixels.
        frames: of a clip; None where the inputs are images.
    """

    classes: int
    size: int
    frames: int | None = None

    @property
    def kind(self) -> Kind:
        """Images or clips."""
        return "images" if self.frames is None else "clips"

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy, in nats.

        Raises:
            ClassesError: the logits do not fit the targets.
        """
        inputs, targets = batch
        return functional.cross_entropy(in_full(logits_of(model(inputs), targets)), targets)

    def example(self, batch_size: int, seed: int = 0, *, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Noise, and classes drawn evenly."""
        generator = torch.Generator().manual_seed(seed)
        side = self.size if size is None else size
        shape = (batch_size, 3, *(() if self.frames is None else (self.frames,)), side, side)
        return (
            torch.randn(shape, generator=generator, device="cpu"),
            torch.randint(self.classes, (batch_size,), generator=generator, device="cpu"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    r"""One class for each pixel: mean cross-entropy of the labelled pixels, in nats.

    A batch is (inputs, targets): float32 (batch, 3, height, width) and int64 (batch, height, width), with
    `IGNORED` where a pixel has no label. Networks give a tensor (batch, classes, height, width), or a mapping with
    "out" and perhaps "aux" as torchvision's do: then the loss is that of "out" and `auxiliary` times that of "aux". A
    batch without one labelled pixel has loss 0 and no gradient, where a mean of nothing would be NaN.

    Attributes:
        classes: how many there are, background included.
        size: side of the crops, in pixels.
        auxiliary: what the loss of "aux" counts for.
    """

    classes: int = 21
    size: int = 513
    auxiliary: float = AUXILIARY

    @property
    def kind(self) -> Kind:
        """Segmentation."""
        return "segmentation"

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy of the labelled pixels, in nats.

        Raises:
            ClassesError: the logits do not fit the targets.
        """
        inputs, targets = batch
        output = model(inputs)
        loss = _of_labelled(output, targets)
        if isinstance(output, dict) and "aux" in output:
            loss = loss + self.auxiliary * _of_labelled(output["aux"], targets)
        return loss

    def example(self, batch_size: int, seed: int = 0, *, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Noise, with maps of classes drawn evenly whose outermost pixels have no label."""
        generator = torch.Generator().manual_seed(seed)
        side = self.size if size is None else size
        targets = torch.full((batch_size, side, side), IGNORED, dtype=torch.int64, device="cpu")
        inner = (batch_size, side - 2, side - 2)
        targets[:, 1:-1, 1:-1] = torch.randint(self.classes, inner, generator=generator, device="cpu")
        return torch.randn((batch_size, 3, side, side), generator=generator, device="cpu"), targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Boxes, and masks where asked for: the sum of the losses that torchvision's R-CNNs give in training.

    A batch is (images, targets), two lists: float32 (3, height, width) between 0 and 1, and for each a mapping with
    "boxes", float32 (objects, 4) as x1, y1, x2, y2 in pixels, "labels", int64 (objects,) from 1, and "masks", uint8
    (objects, height, width).

    Attributes:
        classes: how many there are; 0 is the background.
        size: shorter side of the images, in pixels.
        masks: whether the network gives masks too.
    """

    classes: int = 91
    size: int = 800
    masks: bool = False

    @property
    def kind(self) -> Kind:
        """Detection."""
        return "detection"

    def loss(self, model: nn.Module, batch: tuple[list[Tensor], list[dict[str, Tensor]]]) -> Tensor:
        """Sum of the losses of region proposals, classes, boxes and masks.

        Raises:
            ValueError: the network is in evaluation mode, in which it gives boxes and no losses.
        """
        if not model.training:
            message = "a network that detects gives its losses in training mode only: call model.train() first"
            raise ValueError(message)
        losses: dict[str, Tensor] = model(*batch)
        return torch.stack(list(losses.values())).sum()

    def example(
        self, batch_size: int, seed: int = 0, *, size: int | None = None
    ) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        """Noise with filled rectangles, three an image, which are its objects."""
        generator = torch.Generator().manual_seed(seed)
        side = self.size if size is None else size
        drawn = [self._image(side, generator) for _ in range(batch_size)]
        return [image for image, _ in drawn], [target for _, target in drawn]

    def _image(self, side: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        image = torch.rand((3, side, side), generator=generator, device="cpu") / 2
        lengths = torch.randint(side // 4, side // 2 + 1, (RECTANGLES, 2), generator=generator, device="cpu")
        corners = (torch.rand((RECTANGLES, 2), generator=generator, device="cpu") * (side - lengths)).floor().long()
        masks = torch.zeros((RECTANGLES, side, side), dtype=torch.uint8, device="cpu")
        for mask, (x, y), (width, height) in zip(masks, corners.tolist(), lengths.tolist(), strict=True):
            mask[y : y + height, x : x + width] = 1
            image[:, y : y + height, x : x + width] += torch.rand((3, 1, 1), generator=generator, device="cpu") / 2
        target = {
            "boxes": torch.cat([corners, corners + lengths], dim=1).to(torch.float32),
            "labels": torch.randint(1, self.classes, (RECTANGLES,), generator=generator, device="cpu"),
        }
        return image, target | ({"masks": masks} if self.masks else {})


def _of_labelled(output: Any, targets: Tensor) -> Tensor:  # noqa: ANN401 - what a network gives
    unlabelled = targets == IGNORED
    logits = in_full(logits_of(output, targets.masked_fill(unlabelled, 0)))
    total = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    return total / (~unlabelled).sum().clamp(min=1)
