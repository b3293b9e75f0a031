"""From bytes to the numbers a network was trained on: scaled to 0 to 1, less the mean, over the standard deviation."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch

from weightatlas.data.moving import moved

Normalization = Literal["none", "imagenet", "cifar10", "cifar100", "half"]
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)

STATISTICS: Final[dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of red, green and blue, of pixels from 0 to 1.

ImageNet's are those that torchvision's and most of timm's networks were trained with; CIFAR's are those of its 50,000
training images; a half of each is what timm calls Inception's.
"""


def normalised(images: torch.Tensor, normalization: Normalization = "none") -> torch.Tensor:
    r"""Scale bytes to 0 to 1 and, for each channel, take off a mean and divide by a standard deviation.

    $$y_{c} = \frac{x_c / 255 - \mu_c}{\sigma_c}$$

    Args:
        images: uint8 (..., channels, height, width); floating-point inputs are only cast.
        normalization: "none" (stays between 0 and 1), or whose statistics to use; these need three channels.

    Returns:
        float32, contiguous, of the same shape.

    Raises:
        ValueError: the normalisation is unknown, or the inputs are not images of three channels.

    Example:
        >>> normalised(torch.tensor([[[[0]], [[255]], [[51]]]], dtype=torch.uint8), "half").flatten().tolist()
        [-1.0, 1.0, -0.6000000238418579]
    """
    if normalization not in NORMALIZATIONS:
        message = f"no normalisation {normalization!r}; there is {', '.join(NORMALIZATIONS)}"
        raise ValueError(message)
    scaled = images.to(torch.float32, memory_format=torch.contiguous_format)
    if images.dtype == torch.uint8:
        scaled = scaled.div_(255)
    if normalization == "none":
        return scaled
    if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-3] != 3:
        message = f"{normalization!r} is for images of three channels of bytes, not {images.dtype} {list(images.shape)}"
        raise ValueError(message)
    # Of one type whatever torch's default is: that of a network in half precision holds in the feeds' threads too.
    statistics = torch.tensor(STATISTICS[normalization], dtype=torch.float32)
    mean, deviation = moved(statistics, images.device)[:, :, None, None]
    return scaled.sub_(mean).div_(deviation)
