"""Small tensors brought to a device without waiting for it."""

from __future__ import annotations

import torch


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Give a tensor on a device; a copy to a GPU goes through pinned memory, so that the caller need not wait for it.

    A copy from ordinary memory would wait until the GPU has done all that was asked of it before.

    Example:
        >>> moved(torch.arange(3), torch.device("cpu"))
        tensor([0, 1, 2])
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
