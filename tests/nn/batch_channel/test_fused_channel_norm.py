from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.norms import norm, values
from weightatlas.nn import batch_channel_norm
from weightatlas.nn.batch_channel.batch_then_channel import Affines, Rule, batch_statistics, pooled_statistics, unfused
from weightatlas.nn.batch_channel.fused_channel_norm import fused
from weightatlas.nn.batch_channel.map_moments import map_moments


@settings(deadline=None, max_examples=60)
@given(
    groups=st.integers(1, 3),
    size=st.integers(1, 3),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 4)),
    switches=st.tuples(*[st.booleans()] * 5),
)
def test_the_fused_pass_and_its_gradients_are_those_of_plain_operators(
    groups: int,
    size: int,
    shape: tuple[int, int, int],
    switches: tuple[bool, bool, bool, bool, bool],
) -> None:
    follows, last, weight, bias, channel_affine = switches
    present = (weight, bias, channel_affine, channel_affine)
    samples, *map_shape = shape
    channels = groups * size
    rule = Rule(groups, 1e-3, follows=follows)
    inputs = values(samples, channels, *map_shape)
    inputs = inputs.contiguous(memory_format=torch.channels_last) if last else inputs
    made = norm(channels=channels, groups=groups)
    parameters = (made.weight, made.bias, made.channel_weight, made.channel_bias)
    weights = values(*inputs.shape, seed=2)
    found = []
    for plain in (False, True):
        x = inputs.clone().requires_grad_()
        parts = [
            None if part is None or not there else part.detach().clone().requires_grad_()
            for part, there in zip(parameters, present, strict=True)
        ]
        statistics = batch_statistics(x if follows else x.detach() * 2, rule)
        if plain:
            answer = unfused(x, statistics, Affines(*parts), rule)
        else:
            with torch.no_grad():
                maps = map_moments(x, rule.eps)
                statistics = pooled_statistics(maps, x, rule) if follows else statistics
            answer = fused(x, maps, statistics, Affines(*parts), rule)
        (answer * weights).tanh().sum().backward()  # type: ignore[no-untyped-call]
        found.append([answer.detach(), x.grad, *(part.grad for part in parts if part is not None)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
def test_of_the_maps_only_the_input_is_kept(monkeypatch: pytest.MonkeyPatch, *, last: bool) -> None:
    monkeypatch.setattr(batch_channel_norm, "FUSED_FROM", 0)
    inputs = values(4, 6, 16, 16)
    inputs = (inputs.contiguous(memory_format=torch.channels_last) if last else inputs).requires_grad_()
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        norm()(inputs)
    assert [tensor.data_ptr() for tensor in kept if tensor.numel() == inputs.numel()] == [inputs.data_ptr()]
    assert sum(tensor.numel() for tensor in kept) < 1.1 * inputs.numel()


def test_inputs_without_gradient_cost_none() -> None:
    module = norm()
    module(values(2, 6, 3, 3)).tanh().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
