"""What a run is, in words that its folder keeps: all that decides its numbers, and the machine it began on."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import weightatlas

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

    from weightatlas.data import Feed
    from weightatlas.lab.configuration import Configuration

PACKAGES: Final = ("torch", "lightning-fabric", "numpy")


def manifest(
    configuration: Configuration, model: torch.nn.Module, feed: Feed, held_out: Feed | None, fabric: Fabric
) -> dict[str, Any]:
    """Say what a run is: all that decides its numbers, and the machine it began on."""
    return {
        "configuration": configuration.to_dict(),
        "data": {
            "train": _described(feed),
            "held_out": None if held_out is None else _described(held_out),
        },
        "network": {
            "class": type(model).__name__,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "trainable": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
            "pools": [list(pool) for pool in getattr(model, "pools", ())],
            "dropped_pools": list(getattr(model, "dropped_pools", ())),
            "map_size": getattr(model, "map_size", None),
        },
        "versions": {"weightatlas": weightatlas.__version__, "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "device": str(fabric.device),
            "processes": fabric.world_size,
        },
    }


def _described(feed: Feed) -> dict[str, Any]:
    return {
        "name": feed.name,
        "examples": feed.examples,
        "shape": list(feed.shape),
        "classes": feed.classes,
        "fingerprint": feed.fingerprint(),
        "skipped": len(feed.skipped),
        "notes": list(feed.notes),
    }
