from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.nn.conversion.networks import Auxiliary, Places, PreActivation, Residual, Undecided
from weightatlas.nn.conversion.pairs import read_wiring


def test_each_norm_of_a_residual_block_is_seen_behind_its_convolution() -> None:
    wiring = read_wiring(Residual())
    assert wiring.behind == {"stem": ("stem_norm",), "conv1": ("bn1",), "conv2": ("bn2",)}
    assert set(wiring.evidence.values()) == {"seen"}
    assert wiring.only == {"stem": "stem_norm", "conv1": "bn1", "conv2": "bn2"}
    assert wiring.stopped == ""


def test_before_activation_only_the_first_two_convolutions_have_a_norm_behind() -> None:
    wiring = read_wiring(PreActivation())
    assert wiring.behind == {"stem": ("bn1",), "conv1": ("bn2",), "conv2": ()}
    assert wiring.why["conv2"] == "no norm is right behind it: add takes its output"
    assert wiring.only == {"conv1": "bn2"}  # the stem's output goes round the block too


def test_only_the_tensor_itself_counts() -> None:
    wiring = read_wiring(Places())
    assert {name for name, norms in wiring.behind.items() if not norms} == {"changed", "flat", "joined"}
    assert (wiring.behind["through"], wiring.behind["both"]) == (("through_norm",), ("both_norm",))
    assert wiring.why["changed"] == "no norm is right behind it: add takes its output"
    assert wiring.why["flat"] == "its output is rearranged before the norm flat_norm"
    assert wiring.why["joined"] == "no norm is right behind it: cat takes its output"
    assert wiring.only == {"through": "through_norm"}


def test_what_runs_in_training_only_is_seen_and_the_rest_told_from_order() -> None:
    model = Auxiliary().eval()
    wiring = read_wiring(model)
    assert wiring.evidence == {"conv": "seen", "auxiliary.0": "seen", "unused.0": "order", "alone": ""}
    assert wiring.behind["auxiliary.0"] == ("auxiliary.1",)
    assert wiring.behind["unused.0"] == ("unused.1",)
    assert wiring.why["alone"] == "it was not called, and no norm is registered after it"
    assert not model.training


def test_a_pass_that_ends_early_keeps_what_it_saw() -> None:
    wiring = read_wiring(Undecided())
    assert "meta" in wiring.stopped
    assert wiring.evidence == {"conv": "seen", "late": "order"}
    assert wiring.only == {}
    seen = read_wiring(Undecided(), example_inputs=torch.zeros(1, 3, 4, 4))
    assert seen.evidence == {"conv": "seen", "late": "seen"}
    assert seen.only == {"conv": "norm", "late": "late_norm"}


class Shared(nn.Module):
    """One convolution for maps of two sizes, as detectors' heads have it."""

    def __init__(self, *, every: bool) -> None:
        super().__init__()
        self.every = every
        self.conv = nn.Conv2d(3, 4, 1)
        self.first = nn.BatchNorm2d(4)
        self.second = nn.BatchNorm2d(4)

    def forward(self, values: Tensor) -> Tensor:
        one, two = self.first(self.conv(values)), self.conv(values[..., ::2])
        answer: Tensor = one.sum() + (self.second(two) if self.every else two).sum()
        return answer


def test_a_shared_convolution_needs_a_norm_behind_every_call() -> None:
    wiring = read_wiring(Shared(every=True))
    assert wiring.behind["conv"] == ("first", "second")
    assert wiring.only == {}
    wiring = read_wiring(Shared(every=False))
    assert wiring.behind["conv"] == ()
    assert wiring.why["conv"] == "a norm is behind it in 1 of 2 calls only"


class Frames(nn.Module):
    """It has state, modes, and draws from every generator there is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, (1, 3, 3))
        self.norm = nn.BatchNorm3d(4)
        self.table = [torch.ones(4, 1, 1, 1)]

    def forward(self, values: Tensor) -> Tensor:
        random.random()  # noqa: S311 - a model that draws
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        if values.numel() and values.device.type == "meta":
            values = torch.empty(values.shape, device="meta")
        answer: Tensor = self.norm(self.conv(values)) * self.table[0]
        return answer


@pytest.mark.parametrize("training", [True, False])
def test_a_look_leaves_everything_as_it_was(training: bool) -> None:
    model = Frames().train(training)
    model.norm.train(not training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    assert read_wiring(model).only == {"conv": "norm"}
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == str(np.random.get_state())  # noqa: NPY002
    assert (model.training, model.norm.training) == (training, not training)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_half_precision_and_odd_inputs_are_found() -> None:
    model = nn.Sequential(nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4)).half()
    assert read_wiring(model).only == {"0": "1"}
    signal = nn.Sequential(nn.Conv1d(7, 4, 3), nn.BatchNorm1d(4))
    assert read_wiring(signal).only == {"0": "1"}


def test_a_network_without_either_has_nothing_to_read() -> None:
    wiring = read_wiring(nn.Linear(3, 4))
    assert (wiring.behind, wiring.stopped) == ({}, "")
