from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import Called
from weightatlas.anatomy.symmetries.layout import Factor
from weightatlas.anatomy.symmetries.verification import TOLERANCE, Trial, offenders, shuffled
from weightatlas.errors import SourceError


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3))


LAYOUTS = {
    "0.weight": (Factor(6, "P"), Factor(4)),
    "0.bias": (Factor(6, "P"),),
    **{f"1.{name}": (Factor(6, "P"),) for name in ("weight", "bias", "running_mean", "running_var")},
    "4.weight": (Factor(3), Factor(6, "P")),
}


def test_bisection_finds_those_that_change_something_and_no_others() -> None:
    wrong = {"c", "f", "g"}
    asked: list[list[str]] = []

    def change(several: list[str]) -> float:
        asked.append(list(several))
        return float(len(wrong & set(several)))

    assert set(offenders(list("abcdefgh"), change)) == wrong  # type: ignore[arg-type]
    assert len(asked) <= 2 * len(wrong) * 4
    assert offenders(list("abd"), change) == {}  # type: ignore[arg-type]
    assert offenders([], change) == {}  # type: ignore[arg-type]


def test_those_that_change_something_only_together_are_all_named() -> None:
    found = offenders("abcd", lambda several: float({"a", "d"} <= set(several)))
    assert found == dict.fromkeys("abcd", 1.0)


@pytest.mark.parametrize("forgotten", ["0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "4.weight"])
def test_a_forgotten_tensor_is_seen_even_before_training(forgotten: str) -> None:
    trial = Trial.of(network(), torch.zeros(3, 4), seed=0)
    permutations = {"P": np.array([3, 0, 5, 1, 2, 4])}
    assert trial.change(LAYOUTS, permutations) < TOLERANCE
    wrong = {name: axes for name, axes in LAYOUTS.items() if name != forgotten}
    assert trial.change(wrong, permutations) > 1e-3


def test_the_model_its_mode_and_the_random_state_stay_as_they_were() -> None:
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    Trial.of(model, torch.zeros(3, 4), seed=0)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_a_model_casts_down_is_computed_in_float64_all_the_same() -> None:
    cast = Called(
        lambda self, x: self.a(x.to(torch.float32).half().float().to(dtype=torch.bfloat16)), a=nn.Linear(4, 2)
    )
    trial = Trial.of(cast, torch.full((1, 4), 1 / 3), seed=0)
    given = trial.inputs[0][0]
    assert torch.equal(trial.outputs[0], trial.model.a(given))  # type: ignore[operator]


def test_what_cannot_be_tried_says_what_to_do() -> None:
    with torch.device("meta"):
        empty = network()
    with pytest.raises(SourceError, match=r"shapes and no values.*; load weights, or give verify=False"):
        Trial.of(empty, torch.zeros(1, 4), seed=0)
    broken = network()
    broken.get_parameter("0.weight").data[0, 0] = float("nan")
    with pytest.raises(SourceError, match=r"not finite.*; give weights without NaN"):
        Trial.of(broken, torch.zeros(1, 4), seed=0)
    with pytest.raises(SourceError, match=r"does not run in float64 \(RuntimeError"):
        Trial.of(network(), torch.zeros(1, 5), seed=0)


def test_shuffles_move_something() -> None:
    generator = np.random.default_rng(0)
    assert all(shuffled(2, generator).tolist() == [1, 0] for _ in range(10))
    assert shuffled(1, generator).tolist() == [0]
