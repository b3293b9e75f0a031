"""Feature visualisation: images made to excite units, many at once."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from weightatlas.branching.pictures.ascent import Ascent
from weightatlas.branching.pictures.normalising import InputNormalization, Normalizing
from weightatlas.branching.pictures.objectives import Objective, aims_at
from weightatlas.branching.pictures.parametrisation import FourierImages
from weightatlas.branching.pictures.tap import At, device_of, image_channels, trunk
from weightatlas.branching.pictures.transforms import Robustness
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    Array = npt.NDArray[np.float64]

BATCH: Final = 64
STANDARD: Final = Robustness()


@dataclass(frozen=True, slots=True, eq=False)
class UnitPictures:
    """Images that excite units, and how much.

    Attributes:
        layer: module path.
        objective: "channel", "neuron" or "direction".
        units: int64 (pictures,): the unit each picture is of; the number of its direction.
        images: uint8 (pictures, n, n, 3); grey ones where the model reads one channel.
        activations: float64 (pictures,): the objective of each picture as it is in `images`, unmoved.
        initial: float64 (pictures,): the same of the nearly grey image that it started from.
        excess: float64 (pictures,): by how many standard deviations a picture excites its unit more than noise images
            do that have the 1/f spectrum and the colours of natural images, and the picture's own contrast; compared
            is `Aims.levels`. What is not well above 0 shows nothing of its unit; infinite where noise never moves the
            unit, NaN where the picture doesn't either.
        steps: of ascent.
        seed: fixes pictures, moves and noise.
        normalization: what was done to images before the model read them; "none", "imagenet", "timm", "given" ...
    """

    layer: str
    objective: Objective
    units: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    activations: Array
    initial: Array
    excess: Array
    steps: int
    seed: int
    normalization: str


def visualize(
    model: nn.Module,
    layer: str,
    units: Any,  # noqa: ANN401 - whole numbers, or directions, of any array
    *,
    size: int = 64,
    steps: int = 128,
    batch: int = BATCH,
    objective: Objective = "channel",
    at: At = "output",
    seed: int = 0,
    learning_rate: float = 0.05,
    transforms: Robustness | None = STANDARD,
    normalize: InputNormalization = "model",
    noise: int = 16,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> UnitPictures:
    r"""Make images that excite units of any layer, by gradient ascent, many units at once.

    $$z_u \leftarrow \text{Adam}\left(z_u, \nabla_{z_u} \sum_v a_v\big(t(x(z_v))\big)\right)$$
    where $x(z)$ is an image written by its spectrum in decorrelated colours (`FourierImages`), $t$ a random move, drawn
    anew for every image and step (`Robustness`), and $a_v$ the objective of image $v$. Images do not touch each other:
    a unit's picture has its own start and its own moves, whichever units are beside it, and differs between batches by
    no more than rounding. Nothing behind the layer is computed, and no gradient of weights. The model, its modes, its
    gradients and torch's random generators are left as they were.

    Objectives:

    - "channel": mean over positions of the unit, positions below 0 counting a tenth (see `Aims.activations`).
    - "neuron": the unit at the position in the middle.
    - "direction": mean over positions of the projection on a vector of length 1 in the space of the layer's units.

    Units lie along the channels of maps and along the last axis of tokens; of what blocks give as (batch, n, n, units)
    along the last as well.

    Args:
        model: reads images (batch, 3 or 1, size, size).
        layer: module path, such as "layer2.0.conv1"; "" is the model's output. Behind a rectifier a unit that does not
            fire has no gradient: its image takes random steps until it fires. Where it never does, the picture is the
            nearly grey image of the start: name the convolution or norm before the rectifier.
        units: whole numbers (pictures,); for "direction" vectors (pictures, units of the layer), of any length.
        size: side of the pictures, in pixels: what the model takes, where it takes one size only.
        steps: of ascent.
        batch: pictures made at once; memory grows with it.
        objective: "channel", "neuron" or "direction".
        at: whether units are those that the layer gives ("output"), or the channels that it reads ("input").
        seed: fixes all that is random.
        learning_rate: of Adam, on the coefficients.
        transforms: how images are moved at each step, or None.
        normalize: what the model wants done to pixels between 0 and 1: "model" (what timm notes with its networks,
            "imagenet" for torchvision's, else nothing), one of `weightatlas.data.NORMALIZATIONS`, or a mean and a
            deviation for each channel.
        noise: images that each picture is compared with, 2 or more.
        device: where to compute; a copy of the model is moved there. None is where the model lies.
        progress: told after every step.

    Returns:
        The pictures. On one machine the same call gives the same bytes (on the CPU; resampling on a GPU adds up in an
        order that varies).

    Raises:
        SourceError: there is no such layer (near names are given), the model does not take such images or never calls
            the layer, or the layer gives nothing with a gradient.
        ValueError: an option is out of range, or a unit is not there.

    **Source:** Olah, Mordvintsev and Schubert, Feature Visualization (2017), written afresh: the method of Distill's
    Circuits articles. Theirs takes the plain mean of rectified layers; the leak lets it work before the rectifier.

    Example:
        >>> from weightatlas.evaluation import open_model
        >>> network = open_model("weightatlas:simplified?groups=small&input_size=24&classes=4")
        >>> pictures = visualize(network, "", [0, 3], size=24, steps=16)  # what its classes look like
        >>> pictures.images.shape, bool((pictures.activations > pictures.initial).all())
        ((2, 24, 24, 3), True)
    """
    if min(steps, batch) < 1 or noise < 2 or not learning_rate > 0:
        given = f"{steps}, {batch}, {noise} and {learning_rate}"
        message = f"steps and batch are 1 or more, noise 2 or more, the learning rate above 0; not {given}"
        raise ValueError(message)
    if device is not None and _elsewhere(torch.device(device), device_of(model)[0]):
        model = copy.deepcopy(model).to(device)
    where, dtype = device_of(model)
    channels = image_channels(model)
    with torch.inference_mode(False), trunk(model, layer, at=at) as run:
        normalizing = Normalizing.of(model, normalize, channels=channels, device=where, dtype=dtype)
        images = FourierImages(size, channels=channels, device=where)
        with torch.no_grad():
            available = run(normalizing(images.pictures(images.noise([0])))).shape[1]
        aims = aims_at(units, objective=objective, available=available, layer=layer).on(where)
        count = _Count(steps * -(-len(aims) // batch), layer, progress)
        made = [
            _made(
                Ascent(run, images, normalizing, aims.part(start, start + batch), seed),
                noise=noise,
                climb={"steps": steps, "learning_rate": learning_rate, "transforms": transforms, "after": count},
            )
            for start in range(0, len(aims), batch)
        ]
    pictures, activations, initial, excess = (np.concatenate(part) for part in zip(*made, strict=True))
    return UnitPictures(
        layer, objective, aims.units, pictures, activations, initial, excess, steps, seed, normalizing.name
    )


def _made(ascent: Ascent, *, noise: int, climb: dict[str, Any]) -> tuple[npt.NDArray[np.uint8], Array, Array, Array]:
    start = ascent.start()
    with torch.enable_grad():
        spectra = ascent.climb(start, **climb)
    with torch.no_grad():
        shown = ascent.bytes_of(spectra)
        before, after = (
            ascent.aims.activations(ascent.responses(pictures)).double().cpu().numpy()
            for pictures in (ascent.images.pictures(start), shown / 255)
        )
        images = shown.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return images, after, before, ascent.excess(spectra, noise=noise)


def _elsewhere(wanted: torch.device, lies: torch.device) -> bool:
    return wanted.type != lies.type or wanted.index not in {None, lies.index}


class _Count:
    """Steps done so far, over all batches."""

    def __init__(self, total: int, label: str, progress: Progress) -> None:
        self._done, self._total, self._label, self._progress = 0, total, label, progress

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._done, self._total, self._label)
