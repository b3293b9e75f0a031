from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from tests.lab.small_runs import perceptron
from weightatlas.errors import NotFiniteError
from weightatlas.lab import DivergedError, OutOfMemoryError, Recipe, RunFolder
from weightatlas.lab.breakdown import broken_down, check_weights, diverged
from weightatlas.lab.optimisation import make_optimizer

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.errors import WeightatlasError


def test_the_processors_own_words_for_no_memory_become_advice() -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"at step 8 with a batch of 512 in 2 parts; raise --accumulate"),
        broken_down(7, 512, 2, None),
    ):
        torch.empty(2**46, dtype=torch.uint8)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_so_do_those_of_the_devices(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemoryError, match="with a batch of 8 in 1 part; raise") as raised,
        broken_down(0, 8, 1, None),
    ):
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes"), ValueError("x"), DivergedError("y")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, broken_down(0, 8, 1, None):
        raise error
    assert raised.value is error


def saved(path: Path) -> RunFolder:
    folder, model = RunFolder(path), perceptron()
    folder.save(4, model, make_optimizer(model.parameters(), Recipe()).state_dict(), {})
    return folder


def test_what_is_safe_is_said(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    assert f"the last good checkpoint is {folder.checkpoint(4)}" in str(diverged(float("nan"), 7, 0.1, folder))
    assert "nothing was saved yet" in str(diverged(float("nan"), 7, 0.1, RunFolder(tmp_path / "new")))
    assert "checkpoint" not in str(diverged(float("nan"), 7, 0.1, None))


@pytest.mark.parametrize("error", [diverged(float("inf"), 3, 0.1, None), OutOfMemoryError("full")])
def test_the_errors_travel_between_processes(error: WeightatlasError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - written a moment ago
    assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize("name", ["0.weight", "1.bias", "1.running_mean", "1.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_weight_or_an_estimate_that_is_not_finite_is_named(name: str, value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    check_weights(model, 5, None)
    model.state_dict()[name].view(-1)[-1] = value
    with pytest.raises(DivergedError, match=rf"{name} is not finite after step 5; lower the learning rate"):
        check_weights(model, 5, None)


def test_a_mask_may_hold_infinities() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((2, 2), float("-inf")))
    check_weights(model, 1, None)


def meet_not_a_number() -> None:
    message = "unit 0 of the weights has NaN"
    raise NotFiniteError(message)


def test_a_layer_that_refuses_what_is_not_finite_ends_the_training_with_advice() -> None:
    said = "at step 3 unit 0 of the weights has NaN; check that the inputs are finite, or lower the learning rate"
    with pytest.raises(DivergedError, match=said), broken_down(2, 4, 1, None):
        meet_not_a_number()
