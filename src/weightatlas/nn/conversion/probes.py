"""Inputs to try a network of unknown kind on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIZES: Final = (224, 299, 256, 384, 128, 64, 32)
"""Sides of images to try, in this order, where the network says none."""
FRAMES: Final = 16
CLIP: Final = 112
"""Side of the frames of a film."""
LENGTH: Final = 4096
"""Samples of a signal."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a model is called with.

    Attributes:
        arguments: by position.
        options: by name.
    """

    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Probe:
        """The same with its tensors on a device, those of fractions in a type."""
        return Probe(_moved(self.arguments, device, dtype), _moved(dict(self.options), device, dtype))


def as_probe(inputs: object) -> Probe:
    """Example inputs as a user gives them: a tensor or a list for one argument, a tuple for several, or a mapping."""
    if isinstance(inputs, dict):
        return Probe(options=inputs)
    return Probe(inputs if isinstance(inputs, tuple) else (inputs,))


def probes(model: nn.Module, *, batch: int) -> Iterator[Probe]:
    """Inputs that a model may take, the likeliest first, from what it says of itself and from its first layer.

    A configuration of transformers (images, films, or symbols); else features, signals, images or films by the kind
    of the first layer, with the image size that a module states, then the usual ones; images as a list, as detectors
    take them, and as a pair, as networks of optical flow do.

    Args:
        model: any network.
        batch: number of examples.
    """
    settings = getattr(model, "config", None)
    if hasattr(settings, "model_type"):
        yield from _of_transformers(model, settings, batch)
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding)
    first = next((module for module in model.modules() if isinstance(module, kinds)), None)
    if isinstance(first, nn.Embedding):
        yield Probe((torch.zeros(batch, 16, dtype=torch.long),))
    elif isinstance(first, nn.Conv1d):
        yield from (Probe((torch.zeros(batch, first.in_channels, length),)) for length in (LENGTH, 64))
    elif isinstance(first, nn.Conv3d):
        for side in (CLIP, 224, 64):
            yield Probe((torch.zeros(batch, first.in_channels, FRAMES, side, side),))
    else:
        if isinstance(first, nn.Linear):
            yield Probe((torch.zeros(batch, first.in_features),))
        yield from _images(model, first, batch)


def _images(model: nn.Module, first: nn.Module | None, batch: int) -> Iterator[Probe]:
    channels = [*([first.in_channels] if isinstance(first, nn.Conv2d) else []), 3, 1]
    sizes = dict.fromkeys([*_stated(model), *((side, side) for side in SIZES)])
    for count in dict.fromkeys(channels):
        for height, width in sizes:
            yield Probe((torch.zeros(batch, count, height, width),))
    side = next(iter(sizes))
    yield Probe(([torch.zeros(3, *side) for _ in range(batch)],))
    yield Probe((torch.zeros(batch, 3, 128, 128), torch.zeros(batch, 3, 128, 128)))
    yield Probe((torch.zeros(batch, 3, FRAMES, 224, 224),))


def _stated(model: nn.Module) -> Iterator[tuple[int, int]]:
    """Image sizes that the model or a module of it says it is made for."""
    for module in model.modules():
        settings = getattr(module, "pretrained_cfg", None)
        said = settings.get("input_size") if isinstance(settings, dict) else None
        for size in (getattr(module, "input_size", None), getattr(module, "image_size", None), said):
            if isinstance(size, int) and size > 0:
                yield size, size
            elif isinstance(size, tuple | list) and len(size) in (2, 3) and all(isinstance(one, int) for one in size):
                yield size[-2], size[-1]


def _of_transformers(model: nn.Module, settings: Any, batch: int) -> Iterator[Probe]:  # noqa: ANN401 - untyped
    name = str(getattr(model, "main_input_name", "pixel_values"))
    channels = getattr(settings, "num_channels", 3)
    size = getattr(settings, "image_size", None)
    side = size if isinstance(size, int) else 224
    if name == "input_ids":
        yield Probe(options={name: torch.zeros(batch, 16, dtype=torch.long)})
        return
    if name == "input_values":
        yield Probe(options={name: torch.zeros(batch, 16000)})
        return
    for extent in dict.fromkeys((side, 224, 512)):
        yield Probe(options={name: torch.zeros(batch, channels, extent, extent)})
    frames = getattr(settings, "num_frames", None)
    if isinstance(frames, int):
        yield Probe(options={name: torch.zeros(batch, frames, channels, side, side)})


def _moved(value: Any, device: torch.device | str, dtype: torch.dtype) -> Any:  # noqa: ANN401 - a tree of any kind
    if isinstance(value, Tensor):
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)
    if isinstance(value, list | tuple):
        return type(value)(_moved(one, device, dtype) for one in value)
    if isinstance(value, dict):
        return {key: _moved(one, device, dtype) for key, one in value.items()}
    return value
