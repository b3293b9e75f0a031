from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.nn import BatchChannelNorm2d, batch_channel_norm


@pytest.mark.parametrize("estimated", [False, True])
@pytest.mark.parametrize("side", [4, 80])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_follows_may_change_the_answer_in_place(
    layout: torch.memory_format, side: int, *, estimated: bool
) -> None:
    images = torch.randn(2, 8, side, side, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    gradients = []
    for in_place in (False, True):
        norm = BatchChannelNorm2d(8, 4, estimated=estimated)
        given = images.clone(memory_format=torch.preserve_format).requires_grad_()
        answer = norm(given)
        answer = answer.add_(given) if in_place else answer + given
        answer = nn.ReLU(inplace=in_place)(answer)
        answer.square().sum().backward()
        assert given.grad is not None
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)


def test_small_maps_go_by_torch_and_large_ones_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[str] = []

    def noted(values: torch.Tensor, *_: object) -> torch.Tensor:
        ways.append("fused")
        return values

    monkeypatch.setattr(batch_channel_norm, "fused", noted)
    norm = BatchChannelNorm2d(4, 2)
    for side in (8, 128):
        images = torch.zeros(2, 4, side, side)
        norm(images)
        assert ways == (["fused"] if images.numel() >= batch_channel_norm.FUSED_FROM else [])
