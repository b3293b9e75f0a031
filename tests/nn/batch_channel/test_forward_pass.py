from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from weightatlas.nn.batch_channel.forward_pass import is_eager, is_repeated


def test_plain_tensors_run_eagerly_and_others_do_not() -> None:
    assert is_eager(torch.ones(2))
    assert not is_eager(torch.ones(2, device="meta"))
    with FakeTensorMode():
        assert not is_eager(torch.ones(2))


def test_transformations_are_seen() -> None:
    seen = []

    def function(values: torch.Tensor) -> torch.Tensor:
        seen.append((is_eager(values), is_repeated()))
        return values.sum()

    function(torch.ones(2))
    torch.func.grad(function)(torch.ones(2))
    torch.func.vmap(function)(torch.ones(2, 3))
    with forward_ad.dual_level():
        function(torch.ones(2))
    function(torch.ones(2))
    assert seen == [(True, False), (False, True), (False, True), (False, True), (True, False)]


def test_a_checkpoint_s_second_pass_is_seen() -> None:
    for reentrant in (False, True):
        seen: list[bool] = []

        def function(values: torch.Tensor, seen: list[bool] = seen) -> torch.Tensor:
            seen.append(is_repeated())
            return values.exp()

        values = torch.ones(2, requires_grad=True)
        checkpoint(function, values, use_reentrant=reentrant).sum().backward()
        assert seen == [False, True]


def test_compilers_are_seen() -> None:
    def function(values: torch.Tensor) -> torch.Tensor:
        return values + 1 if is_eager(values) or is_repeated() else values - 1

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), torch.zeros(2))
    assert torch.equal(function(torch.ones(2)), torch.full((2,), 2.0))
