"""One input that a model takes: what it says of itself, or the first example of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.modes import in_mode

if TYPE_CHECKING:
    from weightatlas.evaluation.batches import Data

IMAGE_SIZE: Final = 224
LARGE_SIZE: Final = 299
"""Of Inception-v3, which its authors made for images of this size; its torchvision module does not say so."""
COLOURS: Final = 3
SYMBOLS: Final = 16
"""Length of a text to call a language model with."""

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_REMEDY: Final = "give example inputs, or data whose first example it runs on"


def example_inputs(
    model: nn.Module, *, name: str | None = None, data: Data | None = None
) -> torch.Tensor | dict[str, Any]:
    """Give one input that a model takes, from what it says of itself.

    In this order: the first example of `data`; a configuration of transformers (`pixel_values` of its image size, or
    `input_ids`, 16 symbols at most); tokens for a model that embeds symbols; images of the size that the model or a
    module of it says (see `image_size`), with as many channels as the first convolution reads, or three where that one
    reads rearranged pixels; features for a model that begins with a linear layer.

    Args:
        model: any module.
        name: what the user called it, for errors; "torchvision:inception_v3" has images of 299.
        data: what `open_data` gives.

    Returns:
        float32 (1, ...), the values that a seed of 0 draws for images and features, on the model's device; whole
        numbers for symbols; for transformers a mapping of argument to value, for `model(**inputs)`. One example is
        enough for any model in evaluation mode.

    Raises:
        SourceError: the model says nothing, or the data has no example.

    Example:
        >>> tuple(example_inputs(nn.Sequential(nn.Conv2d(1, 4, 3))).shape)
        (1, 1, 224, 224)
    """
    source = name or type(model).__name__
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    if data is not None:
        return _first(data).to(device)
    settings = getattr(model, "config", None)
    if hasattr(settings, "model_type"):
        inputs = _for_transformers(settings)
        return {key: one.to(device) if isinstance(one, torch.Tensor) else one for key, one in inputs.items()}
    return _by_first_layer(model, source).to(device)


def image_size(model: nn.Module, size: int | tuple[int, int] | None = None) -> tuple[int, int]:
    """Give the height and width of a network's images.

    Args:
        model: any network of images.
        size: side of the images, or (height, width); None is what the model, or else the first module of it that
            knows, says in an attribute `input_size` or in timm's `pretrained_cfg`, and 224 where none does (299 for
            torchvision's Inception-v3).

    Example:
        >>> image_size(nn.Linear(3, 4), None), image_size(nn.Linear(3, 4), 32)
        ((224, 224), (32, 32))
    """
    if size is None:
        own = (_own_size(module) for module in model.modules())
        default = LARGE_SIZE if type(model).__name__ == "Inception3" else IMAGE_SIZE
        size = next((one for one in own if one is not None), default)
    return (size, size) if isinstance(size, int) else size


def _own_size(module: nn.Module) -> tuple[int, int] | None:
    """The image size that a module says it is made for; what it says itself comes before what it was trained with."""
    settings = getattr(module, "pretrained_cfg", None)
    named_there = settings.get("input_size") if isinstance(settings, dict) else None
    for named in (getattr(module, "input_size", None), named_there):
        if isinstance(named, int) and named > 0:
            return named, named
        if isinstance(named, tuple | list) and len(named) in (2, 3) and all(isinstance(one, int) for one in named):
            return named[-2], named[-1]
    return None


def _first(data: Data) -> torch.Tensor:
    epoch = data.epoch
    batch = next(iter(data), None)
    data.epoch = epoch  # the pass that was begun here is none of the user's
    if batch is None or not len(batch[0]):
        raise SourceError(data.name, "it has no example", "give data with one or more")
    inputs = batch[0][:1]
    return inputs.float() if inputs.is_floating_point() else inputs


def _for_transformers(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - a configuration of an untyped library
    """The arguments that a network of transformers is called with."""
    size = getattr(settings, "image_size", None)
    if size is not None and getattr(settings, "vocab_size", None) is None:
        height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
        return {"pixel_values": _noise(1, getattr(settings, "num_channels", COLOURS), height, width)}
    length = min(SYMBOLS, getattr(settings, "max_position_embeddings", None) or SYMBOLS)
    symbols = torch.arange(length)[None] % max(int(getattr(settings, "vocab_size", None) or length), 1)
    inputs: dict[str, Any] = {"input_ids": symbols}
    if getattr(settings, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = symbols
    if hasattr(settings, "use_cache"):
        inputs["use_cache"] = False  # keys and values to go on from are no part of the network
    return inputs


def _by_first_layer(model: nn.Module, source: str) -> torch.Tensor:
    kinds = (*_CONVOLUTIONS, nn.Linear, nn.Embedding)
    first = next((module for module in model.modules() if isinstance(module, kinds)), None)
    said = getattr(model, "input_size", None) or (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    if isinstance(first, nn.Embedding):
        length = int(getattr(model, "context", None) or SYMBOLS)
        return torch.arange(min(length, SYMBOLS))[None] % first.num_embeddings
    if isinstance(first, nn.Linear) and said is None:
        return _noise(1, first.in_features)
    if isinstance(first, nn.Conv2d) or said is not None:
        height, width = image_size(model)
        channels = first.in_channels if isinstance(first, _CONVOLUTIONS) else COLOURS
        if isinstance(said, list | tuple) and len(said) == 3:
            channels = int(said[0])
        for count in dict.fromkeys((channels, COLOURS)):
            images = _noise(1, count, height, width)
            if count == channels <= COLOURS or _runs(model, images):
                return images
    problem = "it does not say what inputs it takes"
    raise SourceError(source, problem, _REMEDY)


def _runs(model: nn.Module, images: torch.Tensor) -> bool:
    """Whether a model takes such images, in evaluation mode; it is left in its own."""
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    try:
        with in_mode(model, training=False), torch.no_grad():
            model(images.to(device))
    except Exception:  # noqa: BLE001 - the model's own code may fail in any way
        return False
    return True


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
