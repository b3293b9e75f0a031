"""Which tensor a network's answer is, among what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

NAMES: Final = ("logits", "out")
"""Of the answer in a mapping: of transformers, of torchvision's networks of segmentation."""


def output_tensor(output: Any) -> torch.Tensor | None:  # noqa: ANN401 - what a network gives
    """The answer: what a network gives if that is a tensor, its `logits`, or a mapping's "logits" or "out".

    Returns:
        None where there is no such tensor.

    Example:
        >>> output_tensor({"aux": torch.zeros(1), "out": torch.ones(2)})
        tensor([1., 1.])
    """
    if isinstance(output, torch.Tensor):
        return output
    named = [output.get(name) for name in NAMES] if isinstance(output, Mapping) else [getattr(output, "logits", None)]
    return next((one for one in named if isinstance(one, torch.Tensor)), None)
