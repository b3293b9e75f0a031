"""The networks of the sweep: all of torchvision's, and 200 of timm, from every family."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import torch

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.checkpoints.zoo import zoo_model

COUNT: Final = 200
MOST_PARAMETERS: Final = 100_000_000
"""Larger networks of timm are passed over: the sweep runs on a desk."""
LIST: Final = Path(__file__).with_name("timm_names.txt")

_FAMILIES: Final = {
    "quantisable": ("quantized",),
    "detection": ("rcnn", "retinanet", "fcos", "ssd"),
    "segmentation": ("deeplab", "fcn_", "lraspp"),
    "video": ("r3d", "mc3", "r2plus1d", "s3d", "mvit", "swin3d"),
    "optical flow": ("raft",),
}


def torchvision_networks() -> list[tuple[str, str]]:
    """Source and family of every network that torchvision lists."""
    import_torchvision()
    from torchvision import models

    return [(f"torchvision:{name}", f"torchvision, {_family(name)}") for name in models.list_models()]


def timm_networks() -> list[tuple[str, str]]:
    """Source and family (timm's module) of the networks in the list."""
    import_torchvision()
    import timm

    modules = {name: module for module in timm.list_modules() for name in timm.list_models(module=module)}
    return [(f"timm:{name}", f"timm, {modules[name]}") for name in LIST.read_text(encoding="utf-8").split()]


def chosen_from_timm(*, count: int = COUNT, seed: int = 0) -> list[str]:
    """Choose names of timm: the families take turns, each in an order that the seed draws, without the largest."""
    import_torchvision()
    import timm

    rng = random.Random(seed)  # noqa: S311 - no secret
    orders = {module: rng.sample(names, len(names)) for module in timm.list_modules() if (names := _names(module))}
    chosen: list[str] = []
    while len(chosen) < count and any(orders.values()):
        for names in orders.values():
            while names and len(chosen) < count:
                name = names.pop()
                if _parameters(name) <= MOST_PARAMETERS:
                    chosen.append(name)
                    break
    return sorted(chosen)


def _names(module: str) -> list[str]:
    import timm

    return sorted(timm.list_models(module=module))


def _parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(one.numel() for one in zoo_model(f"timm:{name}?pretrained=false").parameters())


def _family(name: str) -> str:
    known = (family for family, words in _FAMILIES.items() if any(word in name for word in words))
    return next(known, "classification")


if __name__ == "__main__":
    LIST.write_text("\n".join(chosen_from_timm()) + "\n", encoding="utf-8")
