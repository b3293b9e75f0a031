"""Change one thing of a network and nothing else: its pooling, its strides, or what its last layers are told."""

from __future__ import annotations

import copy
import difflib
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.lab.calls import Call, Trace, trace
from weightatlas.lab.extent import keep_extent
from weightatlas.lab.last_map import LastMap, find_last_map, is_covering
from weightatlas.lab.replacing import add_coordinates, put_head
from weightatlas.lab.sample_images import trace_images
from weightatlas.nn import HEADS, MapHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.nn import HeadName

COORDCONV: Final = "coordconv"
SMALL_IMAGES: Final = "small-images"
INTERVENTIONS: Final[tuple[str, ...]] = (*HEADS, COORDCONV, SMALL_IMAGES)
OF_THE_DATA: Final = {"rotated-90": "90", "random-rotation": "random"}
"""Interventions of the article on the images, and the `rotate` of `Augmentation` that makes each."""


def intervene(
    model: nn.Module,
    name: str,
    *,
    input_size: int | tuple[int, int] | None = None,
    layers: Sequence[str] = (),
    seed: int = 0,
) -> nn.Module:
    r"""Give a copy of a network in which one thing is changed: its head, its strides, or CoordConv.

    A head, one of `weightatlas.nn.HEADS`, takes the place of the first module that pools the last map, (C, H, W); what
    else pools on the way to the classifier becomes the identity. The first fully connected layer after it is replaced
    by a new one with the head's features as inputs, and normalisations between the two are made anew for so many
    features (they stay as they are if the number is the same). The modules are found from the calls of one forward
    pass; see `find_last_map`.

    "coordconv" replaces convolutions by `CoordConv2d`: kernels and biases stay, and the weights of the two coordinates
    are drawn. Without `layers` these are the last two convolutions that read a map with kernels larger than 1 x 1, in
    the order of their calls, fully connected layers in disguise left out.

    "small-images" drops the first strides and pools of a network, so that images of `input_size` leave a last map of
    6 x 6 to 8 x 8; all weights stay. See `keep_extent`. Heads follow it, they do not come before.

    All other weights are carried over bit for bit. The changed network is run once without values: it must give an
    answer of the same shape, its head must read the last map, and gradient must reach every parameter that it reached
    before and every new one.

    Args:
        model: a network of images (batch, channels, height, width); it is left as it was.
        name: one of `INTERVENTIONS`.
        input_size: side of the images, or (height, width); heads with a weight for each position work at this size
            only. None is the model's own (`input_size`, timm's `pretrained_cfg`), else 224.
        layers: paths of the convolutions that "coordconv" changes.
        seed: fixes the new weights (PyTorch's own initialisation, drawn on the CPU); the global generator is left as it
            was.

    Returns:
        The changed copy, in the mode, on the device and of the type of the original; all that is new is trainable.

    Raises:
        SourceError: there is no such intervention, it changes the data and not the network, or it cannot be done to
            this model: the message names the module after which it lost track and says what to do.
        ValueError: `layers` are given to another intervention than "coordconv".

    **Source:** Weight Banding (Petrov, Voss, Schubert, Cammarata, Goh, Olah; Distill 2021), which changes the pooling
    of its simplified network, InceptionV1, ResNet50 and VGG19. In VGG19 and AlexNet the pooling before the fully
    connected layers is the last max pool (and torchvision's adaptive one, the identity at 224); that "no pooling"
    removes it is our reading. Which weights CoordConv starts from is ours.

    Example:
        >>> from weightatlas.nn import SMALL, SimplifiedNetwork
        >>> network = SimplifiedNetwork(SMALL, input_size=24, classes=4)
        >>> changed = intervene(network, "no-pooling", input_size=24)
        >>> changed.get_submodule("classifier").weight.shape, network.get_submodule("classifier").weight.shape
        (torch.Size([4, 2304]), torch.Size([4, 64]))
    """
    _check_name(name)
    if layers and name != COORDCONV:
        message = f"layers are for coordconv only, not for {name!r}"
        raise ValueError(message)
    source = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule) or "_orig_mod" in dict(model.named_children()):
        raise SourceError(source, "it is compiled", "intervene first, and compile the changed copy")
    if name == SMALL_IMAGES:
        return keep_extent(model, source, input_size)
    before = trace_images(model, source, input_size)
    if not isinstance(before.answer, torch.Tensor) or before.answer.ndim != 2:
        raise SourceError(source, "its answer is not one row of logits an image", "name a classifier of images")
    last = None if name == COORDCONV else find_last_map(source, before)
    new = tuple(layers) or _last_convolutions(source, before.calls) if last is None else ()
    changed = copy.deepcopy(model)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        if last is None:
            for layer in new:
                add_coordinates(changed, source, layer)
        else:
            new = put_head(changed, cast("HeadName", name), last)
    _check(changed, name, before, new=new, last=last)
    return changed


def _last_convolutions(source: str, calls: Sequence[Call]) -> tuple[str, ...]:
    """The last two convolutions that look at neighbours, first call first."""
    names = [
        call.name
        for call in calls
        if isinstance(call.module, nn.Conv2d)
        and call.map_shape is not None
        and call.module.kernel_size != (1, 1)
        and not is_covering(call)
    ]
    found = tuple(dict.fromkeys(names))[-2:]
    if not found:
        raise SourceError(
            source, "no convolution larger than 1 x 1 reads a map", "name the layers that coordconv changes"
        )
    return found


def _check_name(name: str) -> None:
    if name in OF_THE_DATA:
        option = OF_THE_DATA[name]
        remedy = f"train the network on other images: Augmentation(rotate={option!r}), or --rotate {option}"
        raise SourceError(name, "it changes the data and not the network", remedy)
    if name not in INTERVENTIONS:
        near = difflib.get_close_matches(name, INTERVENTIONS, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"there is {', '.join(INTERVENTIONS)}"
        raise SourceError(name, "no such intervention", remedy)


def _check(changed: nn.Module, name: str, before: Trace, *, new: Sequence[str], last: LastMap | None) -> None:
    """Run the changed network once, without values, and refuse it if it does not do what was meant."""
    source = type(changed).__name__
    places = ", ".join(new)
    remedy = "write its pooling, flattening and classifier as modules, each called once, or name another model"
    try:
        after = trace(changed, tuple(before.images.shape), whole=(MapHead,))
    except SourceError as error:
        raise SourceError(source, f"does not run with {name} at {places}: {error.problem}", remedy) from error
    if after.answer.shape != before.answer.shape:
        was, now = (tuple(one.answer.shape) for one in (before, after))
        raise SourceError(source, f"with {name} at {places} it gives {now}, not {was}", remedy)
    if last is not None:
        read = [call.map_shape for call in after.calls if isinstance(call.module, MapHead)]
        if read != [(last.channels, last.height, last.width)]:
            raise SourceError(source, f"with {name} at {places} its head reads {read}, not its last map", remedy)
    unused_before = {key for key, _ in _unchanged(changed, new)} - before.used
    unused = sorted({key for key, _ in changed.named_parameters()} - after.used - unused_before)
    if unused:
        raise SourceError(source, f"with {name} at {places} no gradient reaches {', '.join(unused[:4])}", remedy)


def _unchanged(network: nn.Module, new: Sequence[str]) -> list[tuple[str, nn.Parameter]]:
    """The parameters outside the modules that are new."""
    inside = tuple(f"{place}." for place in new)
    return [(key, one) for key, one in network.named_parameters() if not key.startswith(inside)]
