"""What a model wants done to pixels before it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from weightatlas.data.normalisation import NORMALIZATIONS, STATISTICS, Normalization

if TYPE_CHECKING:
    from torch import nn

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
InputNormalization = Normalization | Literal["model"] | Statistics


@dataclass(frozen=True, slots=True, eq=False)
class Normalizing:
    """Pixels from 0 to 1, less a mean, over a deviation, in the type that the model computes in.

    Attributes:
        name: whose statistics: one of `data.NORMALIZATIONS`, "timm" for those that timm notes with a network, "given".
    """

    name: str
    _dtype: torch.dtype
    _format: torch.memory_format
    _statistics: torch.Tensor | None

    @classmethod
    def of(
        cls, model: nn.Module, name: InputNormalization, *, channels: int, device: torch.device, dtype: torch.dtype
    ) -> Normalizing:
        """Choose the statistics; "model" are timm's own for a network of timm, ImageNet's for torchvision's, else none.

        Raises:
            ValueError: the name is unknown, or the statistics are for another number of channels than the model reads.
        """
        if isinstance(name, str) and name != "model" and name not in NORMALIZATIONS:
            message = f"no normalisation {name!r}; there is model, {', '.join(NORMALIZATIONS)}, or a mean and deviation"
            raise ValueError(message)
        chosen, statistics = _chosen(model, name, channels)
        # Convolutions on the CPU are a quarter faster with channels last.
        layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
        if statistics is None:
            return cls(chosen, dtype, layout, None)
        if len(statistics) != 2 or any(len(part) != channels for part in statistics):
            message = f"a mean and a deviation for each of the {channels} channels that the model reads, not {name!r}"
            raise ValueError(message)
        values = torch.tensor(statistics, dtype=torch.float32, device=device)
        return cls(chosen, dtype, layout, values[..., None, None])

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise float32 images (count, channels, h, w)."""
        if self._statistics is not None:
            images = (images - self._statistics[0]) / self._statistics[1]
        return images.to(self._dtype, memory_format=self._format)


def _chosen(model: nn.Module, name: InputNormalization, channels: int) -> tuple[str, Statistics | None]:
    if not isinstance(name, str):
        return "given", name
    if name != "model":
        return name, STATISTICS.get(name)
    noted = getattr(model, "pretrained_cfg", None)
    if isinstance(noted, dict) and len(noted.get("mean", ())) == len(noted.get("std", ())) == channels:
        return "timm", (tuple(noted["mean"]), tuple(noted["std"]))
    if type(model).__module__.startswith("torchvision.") and channels == 3:
        return "imagenet", STATISTICS["imagenet"]
    return "none", None
