from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.lab.calls import trace
from weightatlas.nn import GlobalMaxHidden, MapHead


class Gated(nn.Module):
    """A network whose classifier reads a vector that the map has scaled: pooled features are not all it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.classifier = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        features = features * self.gate(self.squeeze(features)).sigmoid()
        logits: torch.Tensor = self.classifier(features.mean((2, 3)))
        return logits


def test_calls_stand_in_their_order_with_their_shapes() -> None:
    found = trace(Gated(), (2, 3, 8, 8))
    assert [call.name for call in found.calls] == ["convolution", "squeeze", "gate", "classifier"]
    assert [tuple(call.outputs.shape) for call in found.calls] == [(2, 8, 6, 6), (2, 8, 1, 1), (2, 8, 1, 1), (2, 4)]
    assert [call.map_shape for call in found.calls] == [(3, 8, 8), (8, 6, 6), None, None]
    assert found.answer.shape == (2, 4)


def test_a_linear_layer_reads_no_map() -> None:
    found = trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(6, 4)), (2, 3, 8, 8))
    assert [call.map_shape for call in found.calls] == [(3, 8, 8), None]


def test_the_network_is_left_alone_and_needs_no_memory() -> None:
    network = Gated().train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    found = trace(network, (2, 3, 8, 8))
    assert all(call.outputs.is_meta for call in found.calls)
    assert not any(call.module.training for call in found.calls)
    assert network.training
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert not network.convolution._forward_hooks
    assert all(one.grad is None for one in network.parameters())


def test_parameters_without_gradient_are_not_used() -> None:
    network = Gated()
    network.auxiliary = nn.Linear(8, 4)
    network.convolution.requires_grad_(requires_grad=False)  # frozen is not unused
    found = trace(network, (2, 3, 8, 8))
    assert found.used == {name for name, _ in Gated().named_parameters()}


def test_a_way_around_a_call_is_noticed() -> None:
    found = trace(Gated(), (2, 3, 8, 8))
    ways = {call.name: found.is_bottleneck(call) for call in found.calls}
    assert ways == {"convolution": True, "squeeze": False, "gate": False, "classifier": True}


def test_a_change_in_place_after_a_call_does_not_hide_it() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(288, 4), nn.ReLU(inplace=True))
    found = trace(network, (2, 3, 8, 8))
    assert found.is_bottleneck(found.calls[2])


def test_what_is_whole_is_not_looked_into() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), GlobalMaxHidden(8, 6, 6, hidden=5), nn.Linear(5, 4))
    assert [call.name for call in trace(network, (2, 3, 8, 8), whole=(MapHead,)).calls] == ["0", "1", "2"]
    assert [call.name for call in trace(network, (2, 3, 8, 8)).calls][1:-1] == ["1.hidden", "1.norm", "1.relu"]


def test_tensors_that_are_no_parameters_lose_their_values_too() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.full((1, 3, 1, 1), 0.5)  # a plain attribute
            self.convolution = nn.Conv2d(3, 8, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.convolution(images - self.mean)
            return answer

    assert trace(Normalised(), (2, 3, 8, 8)).answer.shape == (2, 8, 6, 6)


def test_a_network_that_looks_at_values_is_refused() -> None:
    class Curious(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum().item() > 0 else -images

    with pytest.raises(SourceError, match=r"^Curious: cannot be run on images of 3 x 8 x 8 without values \("):
        trace(Curious(), (2, 3, 8, 8))
