"""Procedural scenes: images in which nothing knows up from left, and labels that do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from typing import Final, Literal, get_args

import torch

from weightatlas.data.seeds import derived_seed

Label = Literal["top", "left", "set", "order", "mask"]
Split = Literal["train", "held-out"]
Difficulty = Literal["easy", "medium", "hard"]
LABELS: tuple[Label, ...] = get_args(Label)
SPLITS: tuple[Split, ...] = get_args(Split)
SMALLEST: Final = 12

COLOURS: Final = ((2.0, -1.0, -1.0), (-1.0, 2.0, -1.0), (-1.0, -1.0, 2.0), (1.4, 1.4, -1.4))
"""The four kinds of object: red, green, blue and yellow on a background of zero mean."""

NAMES: Final = ("red", "green", "blue", "yellow")
"""What the kinds are called."""

ORDERS: Final = tuple(permutations(range(len(COLOURS)), 3))
"""The kinds of the three discs from top to bottom: the 24 answers of "order", in their order."""

BACKGROUND: Final = "background"
"""What a pixel of a mask is called that no disc owns: class 0; the kinds follow."""

OWNED: Final = 0.5
"""A pixel belongs to the disc that has more than this share of it: to one at most."""


@dataclass(frozen=True, slots=True)
class Law:
    """The figures in which difficulties differ.

    Attributes:
        jitter: how far a disc moves within its third, as a share of the side; at 1/3 the thirds touch.
        radius: the smallest radius and by how much the largest exceeds it, as shares of the side.
        strength: the faintest colour and by how much the strongest exceeds it.
    """

    jitter: float
    radius: tuple[float, float]
    strength: tuple[float, float]


LAWS: Final[dict[Difficulty, Law]] = {
    "easy": Law(0.16, (0.10, 0.04), (0.6, 0.6)),
    "medium": Law(0.25, (0.09, 0.03), (0.5, 0.5)),
    "hard": Law(1 / 3, (0.07, 0.03), (0.4, 0.4)),
}


@dataclass(frozen=True, slots=True)
class Scenes:
    r"""Draw batches of scenes on the fly: three coloured discs on a noise background, one in each third of each axis.

    With S the side, u uniform on (0, 1) and e standard normal, fresh at every mention:

    1. Background: I = .7 b + .2 e, where b is white noise of each channel times 1 / f in Fourier space,
       $f = \sqrt{f_x^2 + f_y^2}$, without its mean, divided by the image's standard deviation.
    2. Kinds (P_0, P_1, P_2): ordered and distinct, uniform over the four of `COLOURS`; s: a uniform permutation of
       (0, 1, 2).
    3. For j = 0, 1, 2, in random order: $y_j = S((j + .5)/3 + a(u - .5))$, $x_j = S((s_j + .5)/3 + a(u - .5))$,
       $r_j = S(r + \rho u)$; with d the distance of a pixel's indices from (y_j, x_j), the mask is
       $m = \sigma(2(r_j - d))$ and $I \leftarrow I (1 - m) + m (\text{colour}_{P_j} (c + \gamma u) + .4 e)$.
    4. Label: "top", the kind of the topmost disc, P_0; "left", x_j and y_j exchanged, so that P_0 is the leftmost;
       "set", the kind that is missing, which no position tells: the control; "order", which of the 24 triples
       (P_0, P_1, P_2) it is, in lexicographic order: the same images with more to tell; "mask", for every pixel 1 + the
       kind of the disc whose share of it, what is left of its m under the discs above, exceeds 1/2, and 0, background,
       where there is none.

    | difficulty | a | r | rho | c | gamma |
    |---|---|---|---|---|---|
    | easy | .16 | .10 | .04 | .6 | .6 |
    | medium | .25 | .09 | .03 | .5 | .5 |
    | hard | 1/3 | .07 | .03 | .4 | .4 |

    Harder scenes have less room between the thirds (a; when hard they touch, and a disc may stand anywhere), smaller
    and fainter discs on the same background. The topmost disc lies in the upper third in all of them.

    The law of the images is exactly invariant under exchange of x and y (s goes to its inverse, which is as uniform);
    only the label knows up from left. So a network that bands horizontally on "top" and vertically on "left" took the
    direction from its task. Discs are painted in random order for that: where the soft edges of two meet, which is
    rare in easy scenes, neither the lower nor the upper covers the other more often. "top", "set", "order" and
    "mask" draw the same images from the same seed.

    Going through it again gives the same batches, and each has a generator of its own: `drawn(number)` gives any of
    them. It holds no data: batches are made on `device` as they are asked for.

    Attributes:
        label: which question the targets answer: "top", "left", "set", "order" or "mask".
        size: side S of the images, 12 or more.
        batch: images in a batch.
        steps: batches in one pass.
        seed: fixes every batch, on one device and version of PyTorch.
        split: "train", or "held-out": a stream of its own, independent of the first.
        device: where the batches are made and lie.
        difficulty: "easy", "medium" or "hard".

    Yields:
        Pairs: float32 images (batch, 3, size, size), of about zero mean and unit size, and int64 targets (batch,) from
        0 to 3, of "order" from 0 to 23; of "mask" (batch, size, size) from 0 to 4.

    Raises:
        ValueError: the label, split or difficulty is unknown, or a size, batch or number of steps is too small.

    **Source:** our own; a minimal task in which where a thing stands decides the answer, made to test the claim of
    Weight Banding (Petrov et al., Distill 2021) that networks band to keep position through global average pooling.

    Example:
        >>> scenes = Scenes("top", batch=8, steps=2)
        >>> [(tuple(images.shape), tuple(targets.shape)) for images, targets in scenes]
        [((8, 3, 24, 24), (8,)), ((8, 3, 24, 24), (8,))]
    """

    label: Label = "top"
    size: int = 24
    batch: int = 64
    steps: int = 400
    seed: int = 0
    split: Split = "train"
    device: str = "cpu"
    difficulty: Difficulty = "easy"

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name, choices in (("label", LABELS), ("split", SPLITS), ("difficulty", tuple(LAWS))):
            if getattr(self, name) not in choices:
                message = f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}"
                raise ValueError(message)
        if self.size < SMALLEST or self.batch < 1 or self.steps < 1:
            message = (
                f"scenes need size >= {SMALLEST}, batch >= 1 and steps >= 1, "
                f"not size {self.size}, batch {self.batch} and steps {self.steps}"
            )
            raise ValueError(message)

    @property
    def classes(self) -> int:
        """How many answers there are."""
        return len(self.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The answers in words."""
        if self.label == "mask":
            return (BACKGROUND, *NAMES)
        if self.label != "order":
            return NAMES
        return tuple(" over ".join(NAMES[kind] for kind in order) for order in ORDERS)

    def held_out(self, *, steps: int = 32) -> Scenes:
        """Give the fixed set to measure accuracy on: `steps` batches that no training pass contains."""
        return replace(self, split="held-out", steps=steps)

    def __len__(self) -> int:
        """Count the batches of one pass."""
        return self.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Start a pass: the same batches every time."""
        return (self.drawn(number) for number in range(self.steps))

    def drawn(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the batch of a number, 0 or more, from a generator of its own: none before it is drawn.

        Raises:
            ValueError: the number is negative.
        """
        if number < 0:
            message = f"batches are numbered from 0, not {number}"
            raise ValueError(message)
        seed = derived_seed(self.seed, SPLITS.index(self.split), number)
        generator = torch.Generator(self.device).manual_seed(seed)
        falloff = _falloff(self.size, self.device)

        def uniform(*shape: int) -> torch.Tensor:
            return torch.rand(self.batch, *shape, generator=generator, dtype=torch.float32, device=self.device)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(self.batch, *shape, generator=generator, dtype=torch.float32, device=self.device)

        size = self.size
        law = LAWS[self.difficulty]
        kinds = uniform(4).argsort(dim=1)  # the three that are shown, then the one that is missing
        thirds = torch.stack([torch.arange(3, device=self.device).expand(self.batch, 3), uniform(3).argsort(dim=1)], 1)
        centres = size * ((thirds.float() + 0.5) / 3 + law.jitter * (uniform(2, 3) - 0.5))
        radii = size * (law.radius[0] + law.radius[1] * uniform(3))
        colours = _colours(self.device)[kinds[:, :3]] * (law.strength[0] + law.strength[1] * uniform(3, 1))
        rows, columns = centres.flip(1).unbind(1) if self.label == "left" else centres.unbind(1)
        order = uniform(3).argsort(dim=1)
        rows, columns, radii = (of_discs.gather(1, order) for of_discs in (rows, columns, radii))
        colours = colours.gather(1, order[:, :, None].expand(-1, -1, 3))
        behind, shares = _layered(_discs(rows, columns, radii, size))

        background = torch.fft.irfft2(torch.fft.rfft2(normal(3, size, size)) * falloff, s=(size, size))
        strength = 0.7 / background.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()  # its mean is 0
        # The four noises of a pixel are independent: one normal number with the sum of their variances has their law.
        spread = (0.04 * behind.square() + 0.16 * shares.square().sum(dim=1, keepdim=True)).sqrt()
        paint = (colours.mT @ shares.flatten(2)).reshape(self.batch, 3, size, size)
        images = paint.addcmul_(background * strength, behind).addcmul_(normal(3, size, size), spread)
        if self.label == "mask":
            return images, _owners(kinds[:, :3].gather(1, order), shares)
        return images, self._answers(kinds)

    def _answers(self, kinds: torch.Tensor) -> torch.Tensor:
        """The targets of scenes whose kinds, from top to bottom and then the missing one, are (batch, 4)."""
        if self.label == "set":
            return kinds[:, 3]
        top, middle, bottom = kinds[:, 0], kinds[:, 1], kinds[:, 2]
        if self.label != "order":
            return top
        # Numbers of the second and third kind among those that are left: digits to the bases 4, 3 and 2.
        second = middle - (middle > top).long()
        third = bottom - (bottom > top).long() - (bottom > middle).long()
        return 6 * top + 2 * second + third


def _discs(rows: torch.Tensor, columns: torch.Tensor, radii: torch.Tensor, size: int) -> torch.Tensor:
    """Soft discs: (batch, 3) centres and radii to (batch, 3, size, size) masks between 0 and 1."""
    pixels = torch.arange(size, device=rows.device)
    down = (pixels - rows[..., None]).square()[..., :, None]
    right = (pixels - columns[..., None]).square()[..., None, :]
    return torch.sigmoid(2 * (radii[..., None, None] - (down + right).sqrt()))


def _layered(masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each pixel is background (batch, 1, size, size) and each disc, where later discs cover earlier."""
    first, second, third = masks[:, :, None].unbind(dim=1)
    above_first = (1 - second) * (1 - third)
    return (1 - first) * above_first, torch.cat([first * above_first, second * (1 - third), third], dim=1)


def _owners(kinds: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The class of every pixel, (batch, size, size), from the kinds of discs (batch, 3) and their shares of it."""
    largest, disc = shares.max(dim=1)
    owner = kinds.gather(1, disc.flatten(1)).reshape(disc.shape) + 1
    return torch.where(largest > OWNED, owner, 0)


@lru_cache(maxsize=8)
def _falloff(size: int, device: str) -> torch.Tensor:
    """1 / f over the half plane of a real Fourier transform, 0 at f = 0."""
    down = torch.fft.fftfreq(size, dtype=torch.float32, device=device)[:, None]
    right = torch.fft.rfftfreq(size, dtype=torch.float32, device=device)[None, :]
    falloff = 1 / torch.hypot(down, right)
    falloff[0, 0] = 0
    return falloff


@lru_cache(maxsize=8)
def _colours(device: str) -> torch.Tensor:
    return torch.tensor(COLOURS, dtype=torch.float32, device=device)
