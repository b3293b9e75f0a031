"""A landscape of two dimensions on which barriers arise: a ridge that goes down from a summit, with two valleys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64, Int64

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray

FORKS: Final = (0, 2, 4, 8, 16, 32, 64, 128, 256)
STEPS: Final = 400
"""Enough for every run to come to rest in a valley."""

RATE: Final = 0.05
NOISE: Final = 0.02
"""Deviation of a step's noise, in each direction: at rest runs stay within 0.1 of a valley's floor, 2 apart."""

START: Final = (0.0, 2.0)
"""On the ridge, just below its summit."""

LINE_POINTS: Final = 101


@dataclass(frozen=True, slots=True, eq=False)
class ToyLandscape:
    r"""A mixture of Gaussians in a bowl, \(L(x) = \sum_i h_i e^{-|x - c_i|^2 / 2 w_i^2} + \frac{k}{2} |x - m|^2\).

    Attributes:
        centres: c, (gaussians, 2).
        heights: h: above 0 a hill, below 0 a hollow.
        widths: w, above 0.
        bowl: k, which keeps runs from leaving.
        bottom: m, of the bowl.
    """

    centres: Float64[Array, "gaussians 2"]
    heights: Float64[Array, " gaussians"]
    widths: Float64[Array, " gaussians"]
    bowl: float = 0.0
    bottom: tuple[float, float] = (0.0, 0.0)

    def loss(self, points: Float64[Array, "*points 2"]) -> Float64[Array, "*points"]:
        """The height at some points."""
        found: Float64[Array, "*points"] = self._bumps(points) @ self.heights
        found += self.bowl / 2 * ((points - np.array(self.bottom)) ** 2).sum(axis=-1)
        return found

    def gradient(self, points: Float64[Array, "*points 2"]) -> Float64[Array, "*points 2"]:
        """The slope at some points."""
        pulls = self._bumps(points) * (self.heights / self.widths**2)
        found: Float64[Array, "*points 2"] = pulls @ self.centres - pulls.sum(axis=-1, keepdims=True) * points
        found += self.bowl * (points - np.array(self.bottom))
        return found

    def _bumps(self, points: Float64[Array, "*points 2"]) -> Float64[Array, "*points gaussians"]:
        """Each Gaussian, without its height."""
        squares = (points**2).sum(axis=-1, keepdims=True) - 2 * points @ self.centres.T + (self.centres**2).sum(axis=-1)
        found: Float64[Array, "*points gaussians"] = np.exp(squares / (-2 * self.widths**2))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class ToyForks:
    """Pairs of runs on a landscape that went together up to a fork.

    Attributes:
        steps: at which they forked, (forks,).
        barriers: the highest rise on the line between both ends above its chord, (forks, pairs).
        distances: between both ends.
        cosines: of the angle between both ways, seen from the fork; NaN where one has not moved since.
        ends: where they came to rest, (forks, pairs, 2 runs, 2).
        ways: of the first pairs, step by step, (forks, pairs shown, steps + 1, 2 runs, 2).
    """

    steps: Int64[Array, " forks"]
    barriers: Float64[Array, "forks pairs"]
    distances: Float64[Array, "forks pairs"]
    cosines: Float64[Array, "forks pairs"]
    ends: Float64[Array, "forks pairs 2 2"]
    ways: Float64[Array, "forks shown steps 2 2"]


def ridge(height: float = 1.0) -> ToyLandscape:
    """A summit near (0, 2.2), a ridge along x = 0 down to (0, -2.5), and a valley on either side of it at y = -2.

    Args:
        height: of the hills that the ridge is made of, above the valleys' depth of 1. With 0 there is no ridge, and one
            hollow in the place of two valleys.

    Example:
        >>> landscape = ridge()
        >>> landscape.loss(np.array([[0.0, 2.0], [0.0, -2.0], [1.5, -2.0]])).round(1).tolist()
        [4.3, -0.0, -1.0]
    """
    down = np.linspace(2.5, -2.5, 11)
    return ToyLandscape(
        centres=np.vstack([np.column_stack([np.zeros_like(down), down]), [[-2.0, -2.0], [0.0, -2.0], [2.0, -2.0]]]),
        heights=np.concatenate([height * np.linspace(1.1, 0.4, len(down)), [-1.0, -0.5, -1.0]]),
        widths=np.concatenate([np.full(len(down), 0.6), [1.5, 1.5, 1.5]]),
        bowl=0.2,
        bottom=(0.0, -2.0),
    )


def toy_forks(
    landscape: ToyLandscape | None = None,
    *,
    forks: Sequence[int] = FORKS,
    pairs: int = 100,
    steps: int = STEPS,
    rate: float = RATE,
    noise: float = NOISE,
    start: tuple[float, float] = START,
    shown: int = 4,
    seed: int = 0,
) -> ToyForks:
    r"""Let pairs of runs descend from one point, together up to a fork and each with noise of its own from there.

    \(x_{t+1} = x_t - \eta \nabla L(x_t) + \sigma z_t\) with standard normal z, the same for both runs up to the fork.
    Runs that part on the summit fall to either side of the ridge with equal chance: half of all pairs have a barrier,
    as high as the ridge. The longer they go together, the surer are both on one mountainside by then, and no later
    noise takes them back across: barriers become rarer, not lower. Where there is no ridge (`ridge(0)`), the null, runs
    end as far apart as their noise takes them whenever they fork, and there is no barrier.

    Args:
        landscape: None is `ridge()`.
        forks: steps, each 0 to `steps`; at `steps` the runs never part.
        pairs: for each fork.
        steps: of every run.
        rate: eta.
        noise: sigma.
        start: of every run.
        shown: how many pairs' ways are kept.
        seed: of all noise.

    Returns:
        Barriers, distances, angles and ends of all pairs, and the ways of the first.

    Raises:
        ValueError: a fork is none of the steps, or there is no pair.

    **Source:** Singh and others, *Landscaping Linear Mode Connectivity* (2024), which closes with a toy example of this
    kind; the landscape and its figures are ours.

    Example:
        >>> found = toy_forks(forks=[0, 256], pairs=50)
        >>> (found.barriers > 0.5).mean(axis=1).tolist()
        [0.5, 0.0]
    """
    wanted = np.asarray(forks, dtype=np.int64)
    if pairs < 1 or not ((wanted >= 0) & (wanted <= steps)).all():
        message = f"forks must lie between 0 and {steps}, and pairs be 1 at least, not {wanted.tolist()} and {pairs}"
        raise ValueError(message)
    land = ridge() if landscape is None else landscape
    generator = np.random.default_rng(seed)
    points = np.broadcast_to(np.array(start), (len(wanted), pairs, 2, 2)).copy()
    at_fork = points.copy()
    ways = [points[:, :shown].copy()]
    for step in range(steps):
        drawn = np.broadcast_to(generator.standard_normal((pairs, 2, 2)), points.shape).copy()
        together = step < wanted
        drawn[together, :, 1] = drawn[together, :, 0]
        points = points - rate * land.gradient(points) + noise * drawn
        at_fork[step + 1 == wanted] = points[step + 1 == wanted]
        ways.append(points[:, :shown].copy())
    taken = points - at_fork
    lengths = np.linalg.norm(taken, axis=-1).prod(axis=-1)
    with np.errstate(invalid="ignore"):
        cosines = (taken[..., 0, :] * taken[..., 1, :]).sum(axis=-1) / lengths
    return ToyForks(
        steps=wanted,
        barriers=_barriers(land, points),
        distances=np.linalg.norm(points[..., 0, :] - points[..., 1, :], axis=-1),
        cosines=cosines,
        ends=points,
        ways=np.stack(ways, axis=2),
    )


def _barriers(land: ToyLandscape, ends: Float64[Array, "forks pairs 2 2"]) -> Float64[Array, "forks pairs"]:
    """The highest rise between both ends of each pair."""
    alphas = np.linspace(0, 1, LINE_POINTS)[:, None, None]
    losses = land.loss((1 - alphas[..., None]) * ends[..., 0, :] + alphas[..., None] * ends[..., 1, :])
    rises: Float64[Array, "forks pairs"] = (losses - (1 - alphas) * losses[0] - alphas * losses[-1]).max(axis=0)
    return rises
