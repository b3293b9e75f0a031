"""Gradient ascent on a batch of images, each towards its own aim, and how far above noise each comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from weightatlas.branching.pictures.transforms import moved_images
from weightatlas.data.seeds import derived_seed
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from weightatlas.branching.pictures.normalising import Normalizing
    from weightatlas.branching.pictures.objectives import Aims
    from weightatlas.branching.pictures.parametrisation import FourierImages
    from weightatlas.branching.pictures.tap import Trunk
    from weightatlas.branching.pictures.transforms import Robustness

    Array = npt.NDArray[np.float64]

START, NOISE, MOVES, SHAKES = range(4)
"""Streams of random numbers: what pictures start from, are compared with, how they are moved, and set going."""

SHAKE: Final = 0.3
"""Standard deviation of a step of an image without a gradient; ten of them make an image of strong contrast."""


@dataclass(frozen=True, slots=True, eq=False)
class Ascent:
    """A batch of images on their way.

    Attributes:
        trunk: the model up to the layer.
        images: how images are written.
        normalizing: what the model wants done to pixels.
        aims: one an image.
        seed: fixes all that is random; an image's draws are those of its own key.
    """

    trunk: Trunk
    images: FourierImages
    normalizing: Normalizing
    aims: Aims
    seed: int

    def start(self) -> torch.Tensor:
        """The coefficients of nearly grey images."""
        return self.images.noise(self._seeds(START))

    def responses(self, pictures: torch.Tensor) -> torch.Tensor:
        """What images between 0 and 1 make of their aims, float32 (images, positions)."""
        return self.aims.responses(self.trunk(self.normalizing(pictures)))

    def climb(
        self,
        spectra: torch.Tensor,
        *,
        steps: int,
        learning_rate: float,
        transforms: Robustness | None,
        after: Callable[[], object],
    ) -> torch.Tensor:
        """Adam on the coefficients, the images moved anew at every step; nothing waits for the device.

        An image without a gradient, as behind a rectifier that is shut, takes a random step instead. One that never has
        a gradient is put back to its start.

        Raises:
            SourceError: what the layer gives has no gradient.
        """
        start, spectra = spectra, spectra.clone().requires_grad_()
        alive = torch.zeros(len(spectra), 1, 1, 1, 1, dtype=torch.bool, device=spectra.device)
        optimizer = torch.optim.Adam([spectra], lr=learning_rate)
        moves = None
        if transforms is not None:
            moves = transforms.draw(self._seeds(MOVES), steps=steps, size=self.images.size).to(spectra.device)
        for step in range(steps):
            pictures = self.images.pictures(spectra)
            moved = pictures if moves is None else moved_images(pictures, moves[step])
            reached = self.aims.activations(self.responses(moved)).sum()
            if not reached.requires_grad:
                problem = "what it gives does not depend on the image by any gradient"
                raise SourceError(self.trunk.layer, problem, "name a layer that is computed in floating point")
            (gradient,) = torch.autograd.grad(reached, [spectra])  # with respect to no weight
            spectra.grad = -gradient
            optimizer.step()
            moving = gradient.flatten(1).any(1)[:, None, None, None, None]
            alive |= moving
            shake = self.images.noise([derived_seed(self.seed, SHAKES, step)], deviation=SHAKE)
            spectra.data.addcmul_(shake, ~moving)
            after()
        return torch.where(alive, spectra.detach(), start)

    def bytes_of(self, spectra: torch.Tensor) -> torch.Tensor:
        """The images as they are shown, uint8 (images, channels, n, n)."""
        return self.images.pictures(spectra).mul(255).round().to(torch.uint8)

    def excess(self, spectra: torch.Tensor, *, noise: int) -> Array:
        """How many standard deviations images lie above noise of the 1/f spectrum and of their own contrast.

        Contrast is the root mean square before the sigmoid. All images are compared with the same noise, each at its
        own contrast.
        """
        contrast = self.images.logits(spectra).square().mean((1, 2, 3), keepdim=True).sqrt()
        responses = []
        for number in range(noise):
            ground = self.images.logits(self.images.noise([derived_seed(self.seed, NOISE, number)]))
            ground = ground / ground.square().mean().sqrt() * contrast
            responses.append(self.responses(torch.sigmoid(ground)))
        grounds = torch.stack(responses)
        baseline = grounds.movedim(1, 0).flatten(1).median(dim=1).values
        of_noise = self.aims.levels(grounds, baseline).double().cpu().numpy()
        own = self.responses(self.bytes_of(spectra) / 255)
        reached = self.aims.levels(own, baseline).double().cpu().numpy()
        above = reached - of_noise.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):  # a unit that noise never moves: infinite, or NaN if dead
            excess: Array = above / of_noise.std(axis=0, ddof=1)
        return excess

    def _seeds(self, stream: int) -> list[int]:
        return [derived_seed(self.seed, stream, key) for key in self.aims.keys]
