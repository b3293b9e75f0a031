"""Pictures that ask a unit what it is tuned to: gratings, colours, curves, and boundaries between textures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float64

Array = np.ndarray

GREY: Final = (1 / math.sqrt(3),) * 3
"""The direction of luminance in (red, green, blue), unit length."""

RED: Final = (2 / math.sqrt(6), -1 / math.sqrt(6), -1 / math.sqrt(6))
"""Hue 0 of the circle of unit length on which red, green and blue add to zero."""

YELLOW_GREEN: Final = (0.0, 1 / math.sqrt(2), -1 / math.sqrt(2))
"""Hue 90 of that circle."""


@dataclass(frozen=True, slots=True, eq=False)
class Stimuli:
    """A family of pictures, or the controls of one.

    Attributes:
        images: float32 (n, 3, size, size); 0 is mid grey, and every picture fades to it or is it at the border.
        parameters: name to the value of each picture, float64 (n,); angles in degrees, lengths in pixels.
    """

    images: torch.Tensor
    parameters: Mapping[str, Float64[Array, " n"]]

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.images)


def gratings(
    size: int,
    *,
    extent: float,
    orientations: int = 12,
    cycles: tuple[float, ...] = (0.75, 1.5, 3.0),
    phases: int = 4,
    device: torch.device | str = "cpu",
) -> Stimuli:
    """Grey gratings under a round window: `orientation` of the stripes (0 lies, 90 stands), `frequency`, `phase`.

    Args:
        size: of the picture, pixels.
        extent: of the receptive field they are made for, pixels.
        orientations: steps of the half turn.
        cycles: how many of them fit on the extent; frequencies above .4 cycles a pixel are left out.
        phases: steps of the whole turn.
        device: where the pictures are made.

    Example:
        >>> found = gratings(32, extent=8, orientations=4, cycles=(1.0,), phases=2)
        >>> tuple(found.images.shape), found.parameters["orientation"].tolist()
        ((8, 3, 32, 32), [0.0, 0.0, 45.0, 45.0, 90.0, 90.0, 135.0, 135.0])
    """
    x, y = _grid(size, device)
    window = _window(x, y, size)
    images, values = [], []
    for orientation in _turns(orientations, 180.0):
        for frequency in [count / extent for count in cycles if count / extent <= _FINEST] or [_FINEST]:
            for phase in _turns(phases, 360.0):
                wave = _wave(x, y, orientation, frequency, phase)
                images.append(_balanced(wave, window))
                values.append((orientation, frequency, phase))
    return _made(images, values, ("orientation", "frequency", "phase"), GREY)


def colours(size: int, *, extent: float, hues: int = 12, device: torch.device | str = "cpu") -> tuple[Stimuli, Stimuli]:
    """The same patterns in colour and in grey, of equal energy: `hue` (degrees), `pattern`; `polarity`, `pattern`.

    Patterns are discs of four radii, edges of four orientations, and gratings of four orientations, two frequencies and
    two phases. In colour the three channels add to zero in every pixel: luminance, their mean, is flat. Hue 0 is
    red, 120 green, 240 blue, and their opposites lie across. Discs and edges are not balanced: uniform colour is part
    of what is asked.

    Args:
        size: of the picture, pixels.
        extent: of the receptive field, pixels.
        hues: steps of the whole turn.
        device: where the pictures are made.
    """
    patterns = _colour_patterns(size, extent, device)
    turns = [math.radians(turn) for turn in _turns(hues, 360.0)]
    directions = [
        tuple(math.cos(turn) * red + math.sin(turn) * green for red, green in zip(RED, YELLOW_GREEN, strict=True))
        for turn in turns
    ]
    coloured = [
        (pattern, direction, (math.degrees(turn), float(index)))
        for index, pattern in enumerate(patterns)
        for turn, direction in zip(turns, directions, strict=True)
    ]
    grey = [
        (pattern, tuple(sign * part for part in GREY), (sign, float(index)))
        for index, pattern in enumerate(patterns)
        for sign in (1.0, -1.0)
    ]
    return _painted(coloured, ("hue", "pattern")), _painted(grey, ("polarity", "pattern"))


def arcs(
    size: int,
    *,
    extent: float,
    orientations: int = 16,
    radii: tuple[float, ...] = (0.3, 0.5, 0.9),
    device: torch.device | str = "cpu",
) -> tuple[Stimuli, Stimuli]:
    """Thin arcs through the centre, and as controls corners and straight lines of the same length and energy.

    An arc's `orientation` is where its centre of curvature lies from its middle, 0 to 360 (0 right, 90 above); its
    `curvature` is 1 over its radius, 0 for a straight line. For every arc there is a corner: two straight strokes from
    the middle towards the arc's ends. `polarity` is 1 for bright lines and -1 for dark ones; `corner` is 1 for corners.

    Args:
        size: of the picture, pixels.
        extent: of the receptive field, pixels; the arcs are .8 of it long.
        orientations: steps of the whole turn.
        radii: of the arcs, in extents.
        device: where the pictures are made.

    **Source:** the stimuli of Cammarata et al., *Curve Detectors* (Distill, 2020), with lines and angles as controls.
    """
    x, y = _grid(size, device)
    length, width = 0.8 * extent, max(extent / 10, 0.8)
    curved, controls = [], []
    for turn in _turns(orientations, 360.0):
        along, towards = _rotated(x, y, turn)
        for sign in (1.0, -1.0):
            for radius in radii:
                arc = _arc(along, towards, radius * extent, length, width)
                corner = _corner(along, towards, length / (4 * radius * extent), length, width)
                curved.append((arc, (turn, 1 / (radius * extent), sign, 0.0)))
                controls.append((corner, (turn, 1 / (radius * extent), sign, 1.0)))
            if turn < 180.0:
                controls.append((_corner(along, towards, 0.0, length, width), (turn, 0.0, sign, 0.0)))
    names = ("orientation", "curvature", "polarity", "corner")
    return _drawn(curved, names), _drawn(controls, names)


def frequency_boundaries(
    size: int,
    *,
    extent: float,
    orientations: int = 16,
    ratios: tuple[float, ...] = (2.0, 3.5),
    textures: int = 2,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[Stimuli, Stimuli]:
    """One half of a fine, the other of a coarse texture; as controls the two textures alone, of equal contrast.

    Textures are seeded band-pass noise, drawn anew for each picture. `orientation` is where the fine half lies from the
    centre, 0 to 360; `ratio` that of the frequencies; `texture` numbers the draw; in controls `fine` is 1 or 0.

    Args:
        size: of the picture, pixels.
        extent: of the receptive field, pixels; the coarse texture has 1.2 cycles on it.
        orientations: steps of the whole turn.
        ratios: of the frequencies.
        textures: draws for each orientation and ratio.
        seed: of the draws.
        device: where the pictures are made.

    **Source:** the half-and-half pictures of Schubert et al., *High-Low Frequency Detectors* (Distill, 2021).
    """
    x, y = _grid(size, device)
    window = _window(x, y, size)
    generator = np.random.default_rng(seed)
    halves, alone = [], []
    for turn in _turns(orientations, 360.0):
        _, towards = _rotated(x, y, turn)
        side = torch.sigmoid(towards / (0.03 * extent + 0.25))
        for ratio in ratios:
            for texture in range(textures):
                coarse = _texture(size, 1.2 / extent, generator, device)
                fine = _texture(size, min(1.2 * ratio / extent, _FINEST), generator, device)
                halves.append((_even(side * fine + (1 - side) * coarse, window), (turn, ratio, float(texture))))
                for kind, picture in ((1.0, fine), (0.0, coarse)):
                    alone.append((_even(picture, window), (turn, ratio, float(texture), kind)))
    names = ("orientation", "ratio", "texture")
    return _drawn(halves, names), _drawn(alone, (*names, "fine"))


_FINEST: Final = 0.4
_SEEN: Final = 0.25  # mean square of a pattern over what the unit sees
_CONTRAST: Final = 0.5  # root mean square of a texture; sines of amplitude 1 have .7


def _grid(size: int, device: torch.device | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels rightwards and upwards from the centre of the picture."""
    line = torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2
    return line[None, :].expand(size, size), -line[:, None].expand(size, size)


def _turns(steps: int, turn: float) -> list[float]:
    return [turn * step / steps for step in range(steps)]


def _rotated(x: torch.Tensor, y: torch.Tensor, degrees: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates across and along a direction, counter-clockwise from the right."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return cosine * y - sine * x, cosine * x + sine * y


def _window(x: torch.Tensor, y: torch.Tensor, size: int) -> torch.Tensor:
    """1 within .8 of the way to the border, 0 at it, a cosine between."""
    distance = torch.sqrt(x**2 + y**2) / (size / 2)
    return 0.5 + 0.5 * torch.cos(math.pi * ((distance - 0.8) / 0.2).clamp(0, 1))


def _balanced(picture: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """The picture under the window, its mean zero."""
    return window * (picture - (window * picture).sum() / window.sum())


def _even(picture: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """A texture under the window, its mean zero and its contrast that of all textures."""
    flat = _balanced(picture, window)
    return _CONTRAST * flat * torch.sqrt((window**2).sum() / (flat**2).sum())


def _wave(x: torch.Tensor, y: torch.Tensor, orientation: float, frequency: float, phase: float) -> torch.Tensor:
    """A cosine whose stripes lie at an orientation; its wave vector stands 90 degrees before it."""
    _, across = _rotated(x, y, orientation - 90.0)
    return torch.cos(2 * math.pi * frequency * across + math.radians(phase))


def _colour_patterns(size: int, extent: float, device: torch.device | str) -> list[torch.Tensor]:
    """Discs, edges and gratings, each of peak about 1."""
    x, y = _grid(size, device)
    window = _window(x, y, size)
    distance = torch.sqrt(x**2 + y**2)
    discs = [torch.sigmoid((radius * extent - distance) / 0.25) for radius in (0.1, 0.2, 0.35, 0.6)]
    turns = _turns(4, 180.0)
    edges = [window * torch.tanh(_rotated(x, y, turn)[1]) for turn in turns]
    waves = [
        _balanced(_wave(x, y, turn, min(count / extent, _FINEST), phase), window)
        for turn in turns
        for count in (0.75, 1.5)
        for phase in (0.0, 90.0)
    ]
    seen = torch.exp(-0.5 * (distance / (0.29 * extent)) ** 2)  # 4 standard deviations of a uniform field: its side
    patterns = torch.stack([window * disc for disc in discs] + edges + waves)
    return list(patterns * torch.sqrt(_SEEN * (seen**2).sum() / ((seen * patterns) ** 2).sum(dim=(1, 2), keepdim=True)))


def _stroke(distance: torch.Tensor, run: torch.Tensor, length: float, width: float) -> torch.Tensor:
    """A line of Gaussian profile, its ends faded over its width."""
    return torch.exp(-0.5 * (distance / width) ** 2) * torch.sigmoid((length - run) / (0.3 * width))


def _arc(along: torch.Tensor, towards: torch.Tensor, radius: float, length: float, width: float) -> torch.Tensor:
    """An arc through the origin around a centre that lies `radius` towards."""
    from_centre = towards - radius
    run = radius * torch.atan2(along, -from_centre).abs()
    return _stroke(torch.sqrt(along**2 + from_centre**2) - radius, run, length / 2, width)


def _corner(along: torch.Tensor, towards: torch.Tensor, bend: float, length: float, width: float) -> torch.Tensor:
    """Two strokes from the origin, each bent by an angle (radians) out of the straight line."""
    cosine, sine = math.cos(bend), math.sin(bend)
    strokes = []
    for sign in (1.0, -1.0):
        run = sign * cosine * along + sine * towards
        distance = -sign * sine * along + cosine * towards
        before = torch.sqrt(distance**2 + run.clamp(max=0) ** 2)
        strokes.append(_stroke(before, run, length / 2, width))
    return torch.maximum(*strokes)


def _texture(size: int, frequency: float, generator: np.random.Generator, device: torch.device | str) -> torch.Tensor:
    """Gaussian noise of a band around one frequency, a quarter of it wide, root mean square 1."""
    waves = np.fft.rfft2(generator.standard_normal((size, size)))
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    noise = np.fft.irfft2(waves * np.exp(-0.5 * ((radius - frequency) / (0.25 * frequency)) ** 2), s=(size, size))
    return torch.as_tensor(noise / noise.std(), dtype=torch.float32, device=device)


def _drawn(pictures: Sequence[tuple[torch.Tensor, tuple[float, ...]]], names: tuple[str, ...]) -> Stimuli:
    """Grey pictures of equal energy; a `polarity` among the parameters is their sign."""
    stack = torch.stack([picture for picture, _ in pictures])
    energies = (stack**2).sum(dim=(1, 2), keepdim=True)
    stack = stack * torch.sqrt(energies.mean() / energies)
    values = [value for _, value in pictures]
    if "polarity" in names:
        signs = [value[names.index("polarity")] for value in values]
        stack = stack * torch.tensor(signs, dtype=stack.dtype, device=stack.device)[:, None, None]
    return _made(list(stack), values, names, GREY)


def _painted(
    pictures: Sequence[tuple[torch.Tensor, tuple[float, ...], tuple[float, ...]]], names: tuple[str, ...]
) -> Stimuli:
    """Patterns in colours."""
    patterns = torch.stack([pattern for pattern, _, _ in pictures])
    directions = torch.tensor([direction for _, direction, _ in pictures], device=patterns.device)
    images = patterns[:, None] * directions[:, :, None, None] * math.sqrt(3)
    return Stimuli(images, _columns([values for _, _, values in pictures], names))


def _made(
    images: Sequence[torch.Tensor],
    values: Sequence[tuple[float, ...]],
    names: tuple[str, ...],
    direction: tuple[float, ...],
) -> Stimuli:
    """Pictures of one colour direction; an amplitude of 1 is 1 in every channel of grey."""
    stack = torch.stack(list(images))
    colour = math.sqrt(3) * torch.tensor(direction, dtype=stack.dtype, device=stack.device)
    return Stimuli(stack[:, None] * colour[None, :, None, None], _columns(values, names))


def _columns(values: Sequence[tuple[float, ...]], names: tuple[str, ...]) -> dict[str, Float64[Array, " n"]]:
    return dict(zip(names, np.array(values, dtype=np.float64).T.copy(), strict=True))
