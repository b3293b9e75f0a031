"""All pairs of a source are looked at together, each in the order of its units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import false_discovery_control
from torch import nn

from tests.branching.planted_networks import Branched
from weightatlas.branching.surveying.network import open_network
from weightatlas.branching.surveying.tested_pairs import HiddenPair, _by_unit, hidden_pairs
from weightatlas.progress import silent

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.branching.implicit import Method
    from weightatlas.parallel import Backend


class _Stored(nn.Module):
    """A two-layer perceptron whose matrices are stored (in, out), as GPT-2's are."""

    def __init__(self, weights: tuple[torch.Tensor, torch.Tensor]) -> None:
        super().__init__()
        self.up, self.down = (nn.Parameter(weight) for weight in weights)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.relu(features @ self.up) @ self.down


def _pairs(model: nn.Module, backend: Backend = "threading", shuffles: int = 49) -> dict[str, HiddenPair]:
    found = hidden_pairs(
        open_network(model), method="balanced", shuffles=shuffles, seed=0, jobs=2, backend=backend, progress=silent
    )
    return {pair.next_layer: pair for pair in found}


def _planted(units: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (hidden, in) and (out, hidden) of which two halves are joined more strongly."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(units, units, generator=generator) for _ in range(2))
    second[: units // 2, : units // 2] *= 3
    second[units // 2 :, units // 2 :] *= 3
    return first, second


def test_planted_branches_are_found_and_random_ones_are_not() -> None:
    first, second = _planted()
    model = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 24))
    with torch.no_grad():
        model[0].get_parameter("weight").copy_(first)
        model[2].get_parameter("weight").copy_(second)
        model[4].get_parameter("weight").copy_(torch.randn(24, 24, generator=torch.Generator().manual_seed(3)))
    found = _pairs(model)
    assert found["2"].q_values[0] < 0.05 < found["4"].q_values[0]
    assert found["0"].skipped == "it reads the input"


def test_later_axes_are_never_surer_than_the_first() -> None:
    for pair in _pairs(Branched(planted=False)).values():
        if pair.hidden is not None:
            assert list(pair.q_values) == sorted(pair.q_values)
            assert all(q >= p for q, p in zip(pair.q_values, pair.hidden.p_values, strict=True))


def test_matrices_stored_the_other_way_give_the_same() -> None:
    first, second = _planted()
    plain = nn.Sequential(nn.Linear(24, 24, bias=False), nn.ReLU(), nn.Linear(24, 24, bias=False))
    with torch.no_grad():
        plain[0].get_parameter("weight").copy_(first)
        plain[2].get_parameter("weight").copy_(second)
    stored = _Stored((first.T.contiguous(), second.T.contiguous()))
    network = open_network(nn.Sequential(nn.Linear(24, 24, bias=False), stored))
    found = hidden_pairs(network, method="balanced", shuffles=49, seed=0, jobs=1, backend="threading", progress=silent)
    hidden = next(pair.hidden for pair in reversed(found) if pair.hidden is not None)
    expected = _pairs(plain)["2"].hidden
    assert expected is not None
    np.testing.assert_allclose(hidden.matrix, expected.matrix, rtol=1e-6)


def test_processes_give_what_threads_give() -> None:
    one, other = _pairs(Branched()), _pairs(Branched(), "loky")
    for layer, pair in one.items():
        assert pair.q_values == pytest.approx(other[layer].q_values)


def test_channels_are_put_in_the_order_of_units() -> None:
    second = np.arange(2 * 6, dtype=np.float32).reshape(2, 6)
    order = np.array([1, 0, 2, 2, 0, 1])  # two places of each of three units
    found = _by_unit(second, order, 3)
    assert found.shape == (2, 3, 2, 1)
    np.testing.assert_array_equal(found[0, :, :, 0], [[1, 4], [0, 5], [2, 3]])
    np.testing.assert_array_equal(_by_unit(second[:, :3], np.array([2, 0, 1]), 3)[0], [1, 2, 0])


def test_what_cannot_be_decomposed_says_why() -> None:
    model = nn.Sequential(nn.Linear(5, 1), nn.ReLU(), nn.Linear(1, 4))
    assert "two connected units" in (_pairs(model)["2"].skipped or "")


def test_an_axis_without_a_test_has_no_q() -> None:
    network = open_network(Branched())
    expected: dict[Method, int | None] = {"raw": 1, "centred": 0, "correspondence": None}
    for method, tested in expected.items():
        found = hidden_pairs(network, method=method, shuffles=19, seed=0, jobs=1, backend="threading", progress=silent)
        looked = [pair for pair in found if pair.hidden is not None]
        assert looked
        for pair in looked:
            assert [axis for axis, q in enumerate(pair.q_values) if np.isfinite(q)] == [
                axis for axis in range(len(pair.q_values)) if axis == tested
            ]
        if tested is not None:
            p_values = [pair.hidden.p_values[tested] for pair in looked if pair.hidden is not None]
            q_values = [pair.q_values[tested] for pair in looked]
            np.testing.assert_allclose(q_values, false_discovery_control(p_values))


class _Tied(nn.Module):
    """One layer that reads another's units, and then its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.again = nn.Linear(16, 16)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.first(features))
        answer: torch.Tensor = self.again(torch.relu(self.again(torch.relu(self.again(hidden)))))
        return answer


def test_a_layer_that_is_called_again_has_a_row_for_each_thing_it_reads() -> None:
    found = _pairs_of(_Tied())
    assert [(pair.layer, pair.next_layer) for pair in found if pair.hidden is not None] == [("0.first", "0.again")]
    assert len(found) == len({(pair.layer, pair.next_layer, pair.skipped) for pair in found})


def _pairs_of(model: nn.Module) -> tuple[HiddenPair, ...]:
    network = open_network(nn.Sequential(model))
    return hidden_pairs(network, method="balanced", shuffles=19, seed=0, jobs=1, backend="threading", progress=silent)


def test_complex_weights_are_not_compared_by_their_real_part(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    weight = torch.complex(torch.randn(6, 6), torch.randn(6, 6))
    save_file({"a.weight": torch.randn(6, 6), "b.weight": weight}, file)
    found = hidden_pairs(
        open_network(str(file)), method="balanced", shuffles=9, seed=0, jobs=1, backend="threading", progress=silent
    )
    assert "complex" in (found[1].skipped or "")
