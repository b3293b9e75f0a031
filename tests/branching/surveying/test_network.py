"""Weights with the model that they belong to, or alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.branching.planted_networks import Branched, Inception
from weightatlas.branching.surveying.network import open_network
from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


class _Unexportable(nn.Module):
    """What it does depends on the values it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.conv1(images)
        return answer if float(answer.sum()) > 0 else -answer


def test_a_live_model_is_its_own_checkpoint() -> None:
    found = open_network(Inception())
    assert found.model is not None
    assert found.flow is not None
    assert found.checkpoint.source == "Inception"
    assert [branching.kind for branching in found.branchings] == ["concatenation"]


def test_a_checkpoint_is_loaded_into_the_model_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    weights = Branched(seed=5).state_dict()
    save_file(weights, file)
    for source in (str(file), open_checkpoint(file)):
        found = open_network(source, model=Branched(planted=False))
        assert found.checkpoint.source == str(file)
        torch.testing.assert_close(found.checkpoint["fc.weight"], weights["fc.weight"])


def test_weights_alone_have_no_graph() -> None:
    found = open_network(open_checkpoint(Branched().state_dict()))
    assert (found.model, found.flow, found.example) == (None, None, None)
    assert {branching.kind for branching in found.branchings} == {"groups"}


def test_a_model_that_cannot_be_exported_is_treated_as_weights_and_says_so() -> None:
    found = open_network(_Unexportable())
    assert found.flow is None
    assert found.branchings == ()
    assert "graph could not be followed" in found.notes[0]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(Inception().state_dict(), file)
    with pytest.raises(SourceError):
        open_network(str(file), model=Branched())
