"""One step forward and backward at the smallest input that a network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from weightatlas.nn.conversion.weight_replacement import is_standardized

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES: Final = (32, 64, 96, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 512)
BATCH: Final = 2
LARGER: Final = 2
"""How many larger inputs are tried where a step on the smallest is not whole: its last maps may have one position, over
which attention has nothing to choose from, and a batch norm of two images sees two values."""


def step(model: nn.Module, family: str) -> dict[str, Any]:
    """Run a network forward and backward in training mode on the smallest input that it takes.

    What leaves branches out by chance (dropout, drop path) is off, and branches that begin at zero begin at one: every
    convolution has an answer to give.

    Returns:
        The input's shape, how many standardised convolutions there are, and those that no gradient reached, or whose
        gradient is all zero or not finite; where no input was taken, the last error. If only a larger input gives a
        finite gradient other than zero everywhere, it is that one's, and `smaller` has those of the smaller ones.
    """
    model.train()
    for module in model.modules():
        if "drop" in type(module).__name__.lower() or type(module).__name__ == "StochasticDepth":
            module.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight") and parameter.ndim == 1 and not parameter.any():
                parameter.fill_(1)
    failure, found = "no input", []
    for inputs in _inputs(model, family):
        try:
            found.append(_stepped(model, inputs))
        except (RuntimeError, ValueError, AssertionError, TypeError, IndexError, ZeroDivisionError) as error:
            failure = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            continue
        if not (found[-1]["zero"] or found[-1]["not_finite"]):
            return found[-1] | ({"smaller": found[:-1]} if found[:-1] else {})
        if len(found) > LARGER:
            break
    return found[0] if found else {"outcome": "failed", "reason": failure}


def _stepped(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
    torch.manual_seed(0)
    model.zero_grad(set_to_none=True)
    loss = _loss(model(*inputs))
    loss.backward()  # type: ignore[no-untyped-call]
    return {"input": _shape(inputs), "loss": loss.item()} | _gradients(model)


def _inputs(model: nn.Module, family: str) -> Iterator[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(0)
    if family.endswith("detection"):
        for size in (96, 320):
            images = [torch.rand(3, size, size, generator=generator) for _ in range(BATCH)]
            yield images, [_target(size, model) for _ in images]
    elif family.endswith("video"):
        for size in (32, 64, 112, 224):
            yield (torch.randn(BATCH, 3, 16, size, size, generator=generator),)
    elif family.endswith("optical flow"):
        yield tuple(torch.randn(BATCH, 3, 128, 128, generator=generator) for _ in range(2))
    else:
        first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
        for size in SIZES:
            for channels in dict.fromkeys((first.in_channels if first else 3, 3)):
                yield (torch.randn(BATCH, channels, size, size, generator=generator),)


def _target(size: int, model: nn.Module) -> dict[str, Tensor]:
    """Boxes of every size: each level of a pyramid has something to find."""
    corners = [[0.0, 0.0, 0.98, 0.97], [0.1, 0.1, 0.6, 0.55], [0.4, 0.35, 0.65, 0.6], [0.7, 0.7, 0.83, 0.84]]
    boxes = torch.tensor(corners) * size
    count = len(boxes)
    target = {"boxes": boxes, "labels": torch.ones(count, dtype=torch.long)}
    name = type(model).__name__
    if name == "MaskRCNN":
        target["masks"] = torch.ones(count, size, size, dtype=torch.uint8)
    if name == "KeypointRCNN":
        middles = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        target["keypoints"] = torch.cat((middles.expand(-1, 17, -1), torch.ones(count, 17, 1)), dim=2)
    return target


def _loss(answer: object) -> Tensor:
    """The losses that a detector gives, or a random projection of all outputs: no norm is blind to that."""
    leaves = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor) and leaf.requires_grad]
    if leaves and all(leaf.ndim == 0 for leaf in leaves):
        return torch.stack(leaves).sum()
    if not leaves:
        message = "the model gives nothing that has a gradient"
        raise ValueError(message)
    generator = torch.Generator().manual_seed(1)
    return torch.stack([(leaf * torch.randn(leaf.shape, generator=generator)).mean() for leaf in leaves]).sum()


def _gradients(model: nn.Module) -> dict[str, Any]:
    unreached, zero, broken = [], [], []
    standardized = {name: module for name, module in model.named_modules() if is_standardized(module)}
    for name, module in standardized.items():
        gradients = [one.grad for one in module.parameters() if one.ndim > 2 and one.requires_grad]
        if not gradients or gradients[0] is None:
            unreached.append(name)
        elif not gradients[0].isfinite().all():
            broken.append(name)
        elif not gradients[0].any():
            zero.append(name)
    broken += [name for name, one in model.named_parameters() if not one.isfinite().all()]
    return {"convolutions": len(standardized), "unreached": unreached, "zero": zero, "not_finite": broken}


def _shape(inputs: tuple[Any, ...]) -> list[int]:
    first = inputs[0]
    return [len(first), *first[0].shape] if isinstance(first, list) else list(first.shape)
