from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.degeneracy.relu_networks import batches, inputs_of, relu_network
from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.findings import counts_title, curve_title


@pytest.mark.parametrize(
    ("bound", "words"), [(False, "no network has fewer than 16 on so many"), (True, "fixes as many as it would by")]
)
def test_titles_say_what_the_examples_allow(bound: bool, words: str) -> None:
    network = relu_network(0)
    if bound:
        network.append(nn.LogSoftmax(1))
    found = counts(network, batches(inputs_of(0, 40)))
    assert found.data_limited
    assert words in counts_title(found)
    assert "might show fewer" in curve_title(found)


def test_a_network_of_which_nothing_is_free_is_not_told_to_take_more_examples() -> None:
    found = counts(nn.Linear(3, 2), batches(torch.randn(4, 3, generator=torch.Generator().manual_seed(0))))
    assert (found.rank, found.exact, found.limit) == (8, 0, 8)
    assert counts_title(found) == "0 of 8 directions of the weights (0.0%) change no output"
