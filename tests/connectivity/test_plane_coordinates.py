from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.connectivity.plane_coordinates import PlaneCoordinates
from weightatlas.errors import SourceError


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)).double()
        for name in ("running_mean", "running_var"):
            made[1].get_buffer(name).copy_(torch.rand(3))
    return made


def flat(state: dict[str, torch.Tensor]) -> np.ndarray:
    return torch.cat([state[name].flatten() for name, _ in network(0).named_parameters()]).detach().numpy()


def coordinates(*seeds: int) -> tuple[PlaneCoordinates, list[dict[str, torch.Tensor]]]:
    states = [network(seed).state_dict() for seed in seeds]
    return PlaneCoordinates(network(0), *states), states


def test_the_three_lie_where_their_distances_say() -> None:
    found, states = coordinates(1, 2, 3)
    for one in range(3):
        for other in range(3):
            apart = np.linalg.norm(flat(states[one]) - flat(states[other]))
            assert np.linalg.norm(found.points[one] - found.points[other]) == pytest.approx(apart)
    assert found.points[0].tolist() == [0, 0]
    assert found.points[1, 1] == 0
    assert found.points[2, 1] > 0


def test_the_axes_are_those_of_gram_and_schmidt() -> None:
    found, states = coordinates(1, 2, 3)
    origin, second, third = (flat(state) for state in states)
    basis, _ = np.linalg.qr(np.column_stack([second - origin, third - origin]))
    basis *= np.sign(basis.T @ np.column_stack([second - origin, third - origin])).diagonal()
    assert flat(found.state(0.7, -1.3)) == pytest.approx(origin + basis @ [0.7, -1.3])


def test_the_states_of_the_three_points_are_the_three_with_their_buffers() -> None:
    found, states = coordinates(1, 2, 3)
    for point, state in zip(found.points, states, strict=True):
        at = found.state(*point)
        for name, tensor in at.items():
            assert torch.allclose(tensor, state[name]), name


def test_beyond_the_triangle_no_variance_is_negative() -> None:
    found, _ = coordinates(1, 2, 3)
    far = found.state(*(-9 * found.points[1] - 9 * found.points[2]))
    assert far["1.running_var"].min() == 0
    assert far["1.running_mean"].min() < 0


def test_projection_finds_a_point_again_and_its_distance_from_the_plane() -> None:
    found, states = coordinates(1, 2, 3)
    at = {name: tensor.clone() for name, tensor in found.state(0.4, 2.0).items()}
    assert found.project(at) == pytest.approx((0.4, 2.0, 0), abs=1e-6)
    ways = np.column_stack([flat(state) - flat(states[0]) for state in states[1:]])
    off = np.linalg.svd(ways)[0][:, 2]
    names = dict(network(0).named_parameters())
    pieces = np.split(3 * off, np.cumsum([tensor.numel() for tensor in names.values()])[:-1])
    for (name, tensor), piece in zip(names.items(), pieces, strict=True):
        at[name] += torch.from_numpy(piece).reshape(tensor.shape)
    at["1.running_mean"] += 5
    assert found.project(at) == pytest.approx((0.4, 2.0, 3)), "buffers are no coordinates"


@pytest.mark.parametrize("seeds", [(1, 1, 2), (1, 2, 1), (1, 2, 2)])
def test_three_that_are_two_span_no_plane(seeds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="on one line, or two of them are the same"):
        coordinates(*seeds)


def test_three_on_a_line_span_no_plane_and_what_does_not_fit_is_named() -> None:
    first, second = (network(seed).state_dict() for seed in (1, 2))
    between = {
        name: tensor.lerp(second[name], 0.3) if tensor.is_floating_point() else tensor for name, tensor in first.items()
    }
    with pytest.raises(ValueError, match="on one line"):
        PlaneCoordinates(network(0), first, second, between)
    del second["0.bias"]
    with pytest.raises(SourceError, match=r"the third state: it has no 0\.bias"):
        PlaneCoordinates(network(0), first, between, second)
