"""Jacobians from one point of a network to a later one, summed up over examples and positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch

from weightatlas.degeneracy.row_factor import RowFactor, in_double
from weightatlas.errors import NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.points import NamedPoints

Quadrature = Literal["gauss-legendre", "trapezoidal"]

CHUNK: Final = 2**23
"""Numbers of a Jacobian that are computed at once: 64 MiB in double precision."""


Path = tuple[tuple[float, float], ...]

GRADIENT: Final[Path] = ((1.0, 1.0),)
"""The path of one place, the values themselves."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Which combinations of a later point's directions and positions are differentiated.

    Attributes:
        probes: so many random ones for each example, of +1 and -1 over all directions and positions; None is each
            direction by itself.
        position_probes: so many random ones over the positions, of each direction by itself; None is each position.
        seed: of what is random.
        chunk: how many at once; None is as many as `CHUNK` allows.
    """

    probes: int | None = None
    position_probes: int | None = None
    seed: int = 0
    chunk: int | None = None

    def __post_init__(self) -> None:
        """See that they can be.

        Raises:
            ValueError: a number is below 1, or both kinds are asked for.
        """
        numbers = (self.probes, self.position_probes, self.chunk)
        if any(each is not None and each < 1 for each in numbers):
            message = f"probes, position_probes and chunk must be 1 or more, not {numbers}"
            raise ValueError(message)
        if self.probes is not None and self.position_probes is not None:
            message = "give probes (of directions and positions) or position_probes (of positions alone), not both"
            raise ValueError(message)

    @property
    def share(self) -> float:
        """What a random one counts for."""
        return 1 / (self.probes or self.position_probes or 1)

    def combinations(self, like: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Combinations for values (examples, positions, directions), `size` at a time: (combinations, *values)."""
        examples, positions, directions = like.shape
        if self.probes is not None:
            for start in range(0, self.probes, size):
                yield _signs((min(size, self.probes - start), *like.shape), like, generator)
            return
        fixed = None
        if self.position_probes is not None:
            fixed = _signs((self.position_probes, examples, positions), like, generator)
        count = positions if fixed is None else len(fixed)
        for start in range(0, count * directions, size):
            part = torch.arange(start, min(start + size, count * directions), device=like.device)
            chosen = torch.zeros((len(part), *like.shape), dtype=like.dtype, device=like.device)
            place, direction = part // directions, part % directions
            numbers = torch.arange(len(part), device=like.device)
            if fixed is None:
                chosen[numbers, :, place, direction] = 1
            else:
                chosen[numbers, :, :, direction] = fixed[place]
            yield chosen


def path_nodes(nodes: int, quadrature: Quadrature = "gauss-legendre") -> Path:
    """Places alpha on the way from 0 to 1 with their weights, which sum to 1; one node is alpha = 1, the gradient.

    Raises:
        ValueError: there is no node, or no such rule.

    Example:
        >>> path_nodes(1), path_nodes(3, "trapezoidal")
        (((1.0, 1.0),), ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25)))
    """
    if nodes < 1 or quadrature not in ("gauss-legendre", "trapezoidal"):
        message = f"nodes must be 1 or more, by gauss-legendre or trapezoidal, not {nodes} by {quadrature!r}"
        raise ValueError(message)
    if nodes == 1:
        return GRADIENT
    if quadrature == "trapezoidal":
        weights = np.full(nodes, 1 / (nodes - 1))
        weights[[0, -1]] /= 2
        places = np.linspace(0, 1, nodes)
    else:
        places, weights = np.polynomial.legendre.leggauss(nodes)
        places, weights = (places + 1) / 2, weights / 2
    return tuple((float(place), float(weight)) for place, weight in zip(places, weights, strict=True))


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a network between two of its points.

    Attributes:
        points: of the network.
        source: the earlier point.
        target: the later one.
        directions: (features, directions), what its features are shown in; rows of features times this.
        path: places alpha on the way from 0 to the values of the earlier point, with their weights.
    """

    points: NamedPoints
    source: str
    target: str
    directions: torch.Tensor
    path: Path = GRADIENT

    def links(self, inputs: torch.Tensor, values: torch.Tensor, *, behind: bool) -> list[_Link]:
        """What leads from the earlier point's values to the later one's directions, at each place of the path."""
        found = []
        for alpha, weight in self.path:
            leaf, reached = self.points.linked(inputs, self.source, alpha * values, self.target, behind=behind)
            with torch.enable_grad():
                rows = self.points.rows(self.target, reached)
                found.append(_Link(leaf, rows @ self.directions.to(rows), weight))
        return found

    def rows(self, gradients: torch.Tensor) -> torch.Tensor:
        """Gradients (..., *values of the earlier point) as rows (any, features)."""
        return self.points.rows(self.source, gradients).flatten(0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """A leaf, the directions that follow from it (examples, positions, directions), and what they count for."""

    leaf: torch.Tensor
    turned: torch.Tensor
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    r"""A matrix T with \(T^\top T = M'\).

    Attributes:
        rows: T, float64 (rows, features), at most as many rows as features.
        noise: singular values of T at or below this cannot be told from 0.
    """

    rows: torch.Tensor
    noise: float


def jacobian_factor(segment: Segment, batches: Iterable[Batch], *, sources: Sources | None = None) -> Factor:
    r"""Find M', the mean over examples and positions of the outer products of the Jacobian, by its factor.

    \(M' = \frac{1}{nP} \sum_x \sum_{i,t,s} J_{it,s} J_{it,s}^\top\) with
    \(J_{it,s} = \sum_a w_a \, \partial \hat f_{it}(\alpha_a f) / \partial f_s\): directions i and positions t of the
    later point, P positions s of the earlier one. The factor comes of orthogonal transformations of the rows of J: M'
    itself would know singular values only to the square root of the precision. Where the earlier point goes into a
    linear layer of weights W with fewer outputs, rows of J are gW with g the derivatives behind it, and the factor is
    that of the rows g, times W.

    Args:
        segment: from the earlier to the later point.
        batches: gone through once.
        sources: which combinations of the later point's directions are differentiated; None is each.

    Raises:
        NotFiniteError: derivatives are infinite or NaN.
    """
    chosen = sources or Sources()
    generator = torch.Generator().manual_seed(chosen.seed)
    weights = segment.points.weights(segment.source)
    if weights is not None and weights.shape[0] >= weights.shape[1]:
        weights = None
    factor: RowFactor | None = None
    places, width, precision = 0, 0, 0.0
    for inputs, _ in batches:
        values = segment.points.values(inputs, segment.source)[segment.source]
        shape = segment.points.rows(segment.source, values).shape
        places, width, precision = places + shape[:2].numel(), shape[2], torch.finfo(values.dtype).eps
        links = segment.links(inputs, values, behind=weights is not None)
        for gradients in _gradients(links, chosen, generator):
            rows = segment.rows(gradients)
            factor = factor or RowFactor(rows.shape[1])
            factor.add(_finite(rows, segment))
    if factor is None:  # the later point does not depend on this one, or has no direction
        return Factor(in_double(segment.directions).new_zeros((0, width)), 0.0)
    found = factor.triangle() * (chosen.share / places) ** 0.5
    largest, length = float(torch.linalg.matrix_norm(found, 2)), float(torch.linalg.matrix_norm(found))
    noise = max(factor.noise * largest, precision * found.shape[1] ** 0.5 * length)
    if weights is None:
        return Factor(found, noise)
    weights = in_double(weights)
    return Factor(found @ weights, noise * float(torch.linalg.matrix_norm(weights, 2)))


def functional_factor(
    segment: Segment, batches: Iterable[Batch], *, about: torch.Tensor
) -> tuple[Factor, torch.Tensor]:
    r"""Find M' and Lambda' of the integrated gradient of the squared change on the way to 0.

    \(g_s = \sum_a w_a \sum_{i,t} 2 (\hat f_{it}(f) - \hat f_{it}(\alpha_a f)) \, \partial \hat f_{it}(\alpha_a f) /
    \partial f_s\), \(M' = \frac{1}{nP} \sum_{x,s} g_s g_s^\top\),
    \(\Lambda' = \frac{1}{nP} \sum_{x,s} g_s (f_s - c)^\top\).

    Args:
        segment: from the earlier to the later point, by a path of several places.
        batches: gone through once.
        about: c, (features,).

    Returns:
        The factor of M', and Lambda', float64 (features, features).

    Raises:
        NotFiniteError: derivatives are infinite or NaN.
    """
    factor = RowFactor(len(about))
    crossed = torch.zeros((len(about), len(about)), dtype=torch.float64, device=about.device)
    places, precision = 0, 0.0
    for inputs, _ in batches:
        values = segment.points.values(inputs, segment.source)[segment.source]
        rows = torch.zeros_like(segment.points.rows(segment.source, values).flatten(0, 1))
        end = segment.points.rows(segment.target, segment.points.onward(inputs, segment.source, values, segment.target))
        end = (end @ segment.directions.to(end)).detach()
        for link in segment.links(inputs, values, behind=False):
            if link.turned.requires_grad and link.turned.numel():
                change = 2 * link.weight * (end - link.turned.detach())
                rows += segment.rows(torch.autograd.grad(link.turned, link.leaf, change)[0])
        rows = in_double(_finite(rows, segment))
        factor.add(rows)
        crossed += rows.T @ (in_double(segment.points.rows(segment.source, values).flatten(0, 1)) - about)
        places, precision = places + len(rows), torch.finfo(values.dtype).eps
    found = factor.triangle() / places**0.5
    largest, length = float(torch.linalg.matrix_norm(found, 2)), float(torch.linalg.matrix_norm(found))
    noise = max(factor.noise * largest, precision * len(about) ** 0.5 * length)
    return Factor(found, noise), crossed / places


def _gradients(links: list[_Link], sources: Sources, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Derivatives with respect to the leaf, for one combination after the other: (combinations x examples, ...)."""
    first = links[0]
    if not all(link.turned.requires_grad for link in links) or not first.turned.numel():
        return
    size = sources.chunk or max(1, CHUNK // max(first.leaf.numel(), first.turned.numel()))
    for chosen in sources.combinations(first.turned.detach(), size, generator):
        total = torch.stack([pulled_back(link, link.weight * chosen) for link in links]).sum(0)
        yield total.flatten(0, 1)


def pulled_back(link: _Link, chosen: torch.Tensor) -> torch.Tensor:
    """Derivatives of combinations (combinations, *turned) with respect to the leaf: (combinations, *leaf).

    All at once by `vmap` of `torch.func`; one by one where an operator of the network has no rule for it.
    """
    try:
        return _vector_products(link, chosen, batched=True)
    except RuntimeError:
        return torch.stack([_vector_products(link, one, batched=False) for one in chosen])


def _vector_products(link: _Link, chosen: torch.Tensor, *, batched: bool) -> torch.Tensor:
    options = {"retain_graph": True, "is_grads_batched": batched}
    found: tuple[torch.Tensor, ...] = torch.autograd.grad(link.turned, (link.leaf,), chosen, **options)
    return found[0].detach()


def _finite(rows: torch.Tensor, segment: Segment) -> torch.Tensor:
    if not bool(torch.isfinite(rows).all()):
        message = f"derivatives of {segment.target} with respect to {segment.source} are not finite"
        raise NotFiniteError(message)
    return rows


def _signs(shape: tuple[int, ...], like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(2, shape, generator=generator).mul_(2).sub_(1).to(like)
