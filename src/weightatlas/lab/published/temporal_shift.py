"""A ResNet for clips: its blocks see the frame before and the frame after, by shifting channels along time."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from weightatlas.checkpoints.torchvision_operators import import_torchvision

FRAMES: Final = 8
SHIFTED: Final = 8
"""One channel in so many comes from the next frame, one from the frame before."""


class TemporalShift(nn.Module):
    r"""Shift an eighth of the channels one frame back, an eighth one frame on; what comes from outside is 0.

    $$y_{t,c} = x_{t+1,c} \; (c < C/8), \qquad y_{t,c} = x_{t-1,c} \; (C/8 \le c < C/4), \qquad y_{t,c} = x_{t,c}$$

    Args:
        frames: of a clip; the frames of the clips of a batch follow each other: (batch * frames, channels, h, w).

    Raises:
        ValueError: from the call, the images do not make whole clips.

    **Source:** Lin, Gan and Han, TSM: Temporal Shift Module for Efficient Video Understanding, 2019, the residual form
    with a shift of 1/8 each way.

    Example:
        >>> clip = torch.arange(1.0, 4.0)[:, None, None, None].expand(3, 8, 1, 1)
        >>> shifted = TemporalShift(3)(clip)
        >>> shifted[:, 0].flatten().tolist(), shifted[:, 1].flatten().tolist(), shifted[:, 2].flatten().tolist()
        ([2.0, 3.0, 0.0], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    """

    def __init__(self, frames: int = FRAMES) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, images: Tensor) -> Tensor:
        """Shift the channels of clips."""
        if len(images) % self.frames:
            message = f"{len(images)} images are no whole clips of {self.frames} frames"
            raise ValueError(message)
        clips = images.reshape(-1, self.frames, *images.shape[1:])
        part = images.shape[1] // SHIFTED
        nothing = torch.zeros_like(clips[:, :1, :part])
        later = torch.cat([clips[:, 1:, :part], nothing], dim=1)
        earlier = torch.cat([nothing, clips[:, :-1, part : 2 * part]], dim=1)
        return torch.cat([later, earlier, clips[:, :, 2 * part :]], dim=2).flatten(0, 1)

    def extra_repr(self) -> str:
        """What stands in brackets where the network is printed."""
        return f"frames={self.frames}"


class ShiftedResNet50(nn.Module):
    """torchvision's ResNet-50 with a temporal shift before the first convolution of every block.

    Clips (batch, 3, frames, height, width) to logits (batch, classes): those of the frames, averaged. Weights of an
    image network fit: the shift has none, and `resnet.layer1.0.conv1` is found under `resnet.layer1.0.conv1.1`.

    Args:
        num_classes: how many there are; 174 in Something-Something.
        frames: of a clip.
        dropout: share of the features that is dropped before the classifier in training.

    Raises:
        MissingDependencyError: torchvision is not installed.
    """

    def __init__(self, num_classes: int = 174, *, frames: int = FRAMES, dropout: float = 0.5) -> None:
        super().__init__()
        import_torchvision()
        from torchvision.models import resnet50

        self.frames = frames
        self.resnet = resnet50(weights=None)
        self.resnet.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.resnet.fc.in_features, num_classes))
        for layer in (self.resnet.layer1, self.resnet.layer2, self.resnet.layer3, self.resnet.layer4):
            for block in layer:
                block.conv1 = nn.Sequential(TemporalShift(frames), block.conv1)

    def forward(self, clips: Tensor) -> Tensor:
        """Classify clips.

        Raises:
            ValueError: they have another number of frames.
        """
        if clips.ndim != 5 or clips.shape[2] != self.frames:
            message = f"clips are (batch, 3, {self.frames}, height, width), not {tuple(clips.shape)}"
            raise ValueError(message)
        logits: Tensor = self.resnet(clips.transpose(1, 2).flatten(0, 1))
        return logits.reshape(len(clips), self.frames, -1).mean(dim=1)
