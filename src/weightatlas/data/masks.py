"""Augmentation of images together with their masks: what moves a pixel moves its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.data.augmentation import Augmentation


def augmented(
    name: str,
    augmentation: Augmentation,
    images: torch.Tensor,
    targets: torch.Tensor,
    draws: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change images for training or evaluation, and their masks alike.

    Targets of one number an image stay as they are. Masks are cut out, mirrored, moved and turned with their images,
    by the same numbers: every pixel keeps its class exactly, and what is reflected at the border brings its class with
    it. A stretched part (`scale`) or a turn by any angle falls between pixels, where a class has no mean: refused.

    Args:
        name: of the data, for errors.
        augmentation: what is done.
        images: (n, channels, height, width).
        targets: (n,), or masks (n, height, width).
        draws: what `Augmentation.draw` gave for these images; None is the fixed part, for evaluation.

    Returns:
        The images and their targets.

    Raises:
        SourceError: the targets have positions and cannot be moved with the images.

    Example:
        >>> import torch
        >>> from weightatlas.data import Augmentation
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]])
        >>> turned, mask = augmented("one", Augmentation(rotate="90"), image, image[:, 0])
        >>> mask.tolist() == turned[:, 0].tolist() == [[[2, 4], [1, 3]]]
        True
    """
    moving = targets.ndim > 1 and not augmentation.identity
    if moving and targets.shape[1:] != images.shape[-2:]:
        problem = f"its targets {list(targets.shape[1:])} have positions that are not those of the images"
        raise SourceError(name, problem, "drop the augmentation")
    if moving and (augmentation.scale is not None or augmentation.rotate == "random"):
        problem = "masks cannot be stretched or turned by any angle: classes have no means"
        raise SourceError(name, problem, "augment with flip, shift, crop or quarter turns, or not at all")

    def change(pixels: torch.Tensor) -> torch.Tensor:
        return augmentation.fixed(pixels) if draws is None else augmentation.apply(pixels, draws)

    return change(images), change(targets[:, None])[:, 0] if moving else targets
