"""What a picture is made to excite: a unit everywhere, a unit at the centre, or a direction among the units."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from weightatlas.branching.pictures.tap import centre

if TYPE_CHECKING:
    import numpy.typing as npt

Objective = Literal["channel", "neuron", "direction"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

LEAK: Final = 0.1
"""What a position counts where its unit is below 0, so that a unit that is below 0 everywhere has a gradient.

With a hundredth, two of 16 units of an early layer of a CIFAR-10 ResNet-20 end no better than noise; with a tenth none.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Aims:
    """One aim a picture.

    Attributes:
        objective: which kind.
        units: int64 (pictures,): the unit of each picture; for directions their numbers.
        directions: float32 (pictures, units of the layer), of length 1, or None.
        keys: what tells the random numbers of a picture from those of others, whichever are made beside it.
    """

    objective: Objective
    units: npt.NDArray[np.int64]
    directions: torch.Tensor | None
    keys: tuple[int, ...]
    _index: torch.Tensor

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.units)

    def part(self, start: int, end: int) -> Aims:
        """Some of them."""
        directions = None if self.directions is None else self.directions[start:end]
        return Aims(self.objective, self.units[start:end], directions, self.keys[start:end], self._index[start:end])

    def on(self, device: torch.device) -> Aims:
        """The same on a device."""
        directions = None if self.directions is None else self.directions.to(device)
        return Aims(self.objective, self.units, directions, self.keys, self._index.to(device))

    def responses(self, layer: torch.Tensor) -> torch.Tensor:
        """What each image makes of its own unit or direction, at every position that counts.

        Args:
            layer: (pictures, units) or (pictures, units, ...) of positions.

        Returns:
            float32 (pictures, positions).
        """
        if self.directions is not None:
            maps = layer.reshape(*layer.shape[:2], -1)
            return torch.einsum("nup,nu->np", maps, self.directions.to(maps.dtype)).float()
        rows = torch.arange(len(layer), device=layer.device)
        own = layer[rows, self._index]
        if self.objective == "neuron":
            for place in centre(tuple(own.shape[1:])):
                own = own[:, place]
        return own.reshape(len(own), -1).float()

    def activations(self, responses: torch.Tensor) -> torch.Tensor:
        r"""How much each image excites its aim, float32 (pictures,): what the ascent climbs.

        For a channel the mean over positions of $\max(a, .1 a)$. A unit's positive and negative positions do not
        cancel so: the plain mean of a linear layer sees the mean colour of an image and no edge. Else the plain mean.
        """
        rectified = functional.leaky_relu(responses, LEAK) if self.objective == "channel" else responses
        return rectified.mean(1)

    def levels(self, responses: torch.Tensor, baseline: torch.Tensor) -> torch.Tensor:
        r"""What images are compared by, float32 (..., pictures).

        For a channel the mean over positions of $\max(a - b, 0)$, where b is the unit's median response to noise. What
        is climbed would not do: of noise it hardly varies where a unit seldom fires. Else the plain mean.

        Args:
            responses: (..., pictures, positions).
            baseline: b, (pictures,).
        """
        above = functional.relu(responses - baseline[:, None]) if self.objective == "channel" else responses
        return above.mean(-1)


def aims_at(units: Any, *, objective: Objective, available: int, layer: str) -> Aims:  # noqa: ANN401 - any array
    """Check what is asked of a layer of so many units.

    Raises:
        ValueError: the objective is unknown; there are no units, or they are no whole numbers, or beyond the layer;
            directions are not finite, zero, or not as long as the layer has units.
    """
    if objective not in OBJECTIVES:
        message = f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}"
        raise ValueError(message)
    wanted = np.asarray(units.detach().cpu() if isinstance(units, torch.Tensor) else units)
    if not wanted.size:
        message = f"name one unit or more of {layer}"
        raise ValueError(message)
    if objective == "direction":
        return _directions(wanted, available, layer)
    numbers = checked_units(wanted, available, layer)
    return Aims(objective, numbers, None, tuple(numbers.tolist()), torch.from_numpy(numbers))


def checked_units(units: Any, available: int, layer: str) -> npt.NDArray[np.int64]:  # noqa: ANN401 - any array
    """Units as int64 (units,).

    Raises:
        ValueError: they are no list of whole numbers, or beyond the layer.
    """
    wanted = np.atleast_1d(np.asarray(units))
    if wanted.ndim != 1 or not np.issubdtype(wanted.dtype, np.integer):
        message = f"units are whole numbers in a list, not {wanted.dtype} of shape {wanted.shape}"
        raise ValueError(message)
    beyond = wanted[(wanted < 0) | (wanted >= available)]
    if len(beyond):
        message = f"{layer} has units 0 to {available - 1}; there is no unit {beyond[0]}"
        raise ValueError(message)
    return wanted.astype(np.int64)


def _directions(vectors: npt.NDArray[Any], available: int, layer: str) -> Aims:
    wanted = np.atleast_2d(vectors)
    if wanted.ndim != 2 or wanted.shape[1] != available:
        message = f"a direction in {layer} has {available} numbers, one a unit; got shape {wanted.shape}"
        raise ValueError(message)
    lengths = np.linalg.norm(wanted.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        message = "a direction is finite and not zero; one of them is not"
        raise ValueError(message)
    unit = (wanted / lengths).astype(np.float32)
    keys = tuple(zlib.crc32(direction.tobytes()) for direction in unit)
    numbers = np.arange(len(unit), dtype=np.int64)
    return Aims("direction", numbers, torch.from_numpy(unit), keys, torch.from_numpy(numbers))
