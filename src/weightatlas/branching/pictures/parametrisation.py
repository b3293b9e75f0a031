"""Images as their spectra in decorrelated colours: steps of equal size there look like changes in natural images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from weightatlas.data.moving import moved

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOUR_AXES: Final = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of ImageNet's red, green and blue (rows), pixels from 0 to 1.

The columns are its principal axes: brightness, red against blue, magenta against green. The figures are those of Olah,
Mordvintsev and Schubert's Feature Visualization (2017), as their library Lucid publishes them.
"""

DEVIATION: Final = 0.01
"""Standard deviation of the coefficients that a picture starts from: nearly grey."""

CONTRAST: Final = 0.25
"""Scale of a picture before the sigmoid. Lucid's; it makes a learning rate of .05 fit coefficients of order 1."""


class FourierImages:
    r"""Square images written as Fourier coefficients.

    With coefficients $z$ (channels, n, n / 2 + 1) and frequency $f$ in cycles a pixel,
    $$x = \sigma\left(\tfrac14 \, C \, \mathcal F^{-1}\left[ z / \max(f, 1/n) \right]\right)$$
    where $\mathcal F$ is the orthonormal real transform, $C$ the colour axes over the largest norm of a column (the
    identity where there is one channel) and $\sigma$ the logistic function. Coefficients of equal variance give images
    with the 1/f amplitude spectrum and the colours of natural ones.

    **Source:** Olah et al., Feature Visualization (2017), "Preconditioning and Parameterization"; their library Lucid.

    Example:
        >>> images = FourierImages(8)
        >>> spectra = images.noise([0, 1])
        >>> tuple(spectra.shape), tuple(images.pictures(spectra).shape)
        ((2, 3, 8, 5, 2), (2, 3, 8, 8))
    """

    __slots__ = ("_axes", "_scale", "channels", "size")

    def __init__(self, size: int, *, channels: int = 3, device: torch.device | str = "cpu") -> None:
        """Prepare for images of a side of `size` pixels, of three channels or one.

        Raises:
            ValueError: there is no pixel, or another number of channels.
        """
        if size < 1 or channels not in {1, 3}:
            message = f"pictures have 1 pixel or more a side and 1 or 3 channels, not {size} and {channels}"
            raise ValueError(message)
        self.size = size
        self.channels = channels
        rows = torch.fft.fftfreq(size, dtype=torch.float64)[:, None]
        columns = torch.fft.rfftfreq(size, dtype=torch.float64)
        radius = torch.hypot(rows, columns).clamp_min(1 / size)
        self._scale = (CONTRAST / radius)[..., None].to(device, torch.float32)
        axes = torch.tensor(COLOUR_AXES, dtype=torch.float64)
        self._axes = (axes / axes.norm(dim=0).max()).to(device, torch.float32)

    def noise(self, seeds: Sequence[int], *, deviation: float = DEVIATION) -> torch.Tensor:
        """Coefficients of random images, one for each seed, whichever others are drawn beside it.

        Returns:
            float32 (images, channels, n, n // 2 + 1, 2): real and imaginary parts, normal.
        """
        shape = (self.channels, *self._scale.shape[:2], 2)
        drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return moved(torch.stack(drawn).mul_(deviation), self._scale.device)

    def logits(self, spectra: torch.Tensor) -> torch.Tensor:
        """The images before the sigmoid, float32 (images, channels, n, n)."""
        scaled = torch.view_as_complex(spectra * self._scale)
        flat = torch.fft.irfft2(scaled, s=(self.size, self.size), norm="ortho")
        return torch.matmul(self._axes, flat.flatten(2)).view_as(flat) if self.channels == 3 else flat

    def pictures(self, spectra: torch.Tensor) -> torch.Tensor:
        """The images, float32 (images, channels, n, n), between 0 and 1."""
        return torch.sigmoid(self.logits(spectra))
