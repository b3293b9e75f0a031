from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.symmetries.example_networks import Called, as_trained, change_of
from weightatlas.anatomy.symmetries.instances import Instances
from weightatlas.anatomy.symmetries.owners import owners_of
from weightatlas.anatomy.symmetries.terms import Leaf, Product, Segments
from weightatlas.anatomy.symmetry import symmetries

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))


def separable(call: Callable[[Any, torch.Tensor], torch.Tensor], **layers: nn.Module) -> dict[str, tuple[str, ...]]:
    """What may move for each entry of another group; the graph alone says it, and trying finds none of it wrong."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Called(call, a=nn.Linear(6, 12), b=nn.Linear(12, 3), **layers)
    derived = symmetries(model, EXAMPLE, verify=False)
    found = symmetries(model, EXAMPLE)
    assert dict(found.separable) == dict(derived.separable)
    held = found.holding(*{owner for several in found.separable.values() for owner in several})
    assert change_of(as_trained(model), EXAMPLE, held) < 1e-9
    return dict(found.separable)


def heads(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(*value.shape[:-1], 4, 3)


def test_what_is_treated_head_by_head_may_move_within_each() -> None:
    inner = {"a/1": ("a/0",)}
    assert separable(lambda net, x: net.b(heads(net.a(x)).softmax(-1).flatten(-2))) == inner
    assert (
        separable(lambda net, x: net.b((heads(net.a(x)) / heads(net.a(x)).norm(dim=-1, keepdim=True)).flatten(-2)))
        == inner
    )
    norm = nn.GroupNorm(4, 12)
    assert separable(lambda net, x: net.b(net.norm(net.a(x).mT).mT), norm=norm) == inner
    assert separable(lambda net, x: net.b(functional.layer_norm(heads(net.a(x)), (3,)).flatten(-2))) == inner


ACROSS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "softmax over heads": lambda net, x: net.b(heads(net.a(x)).softmax(-2).flatten(-2)),
    "a sum over heads": lambda net, x: net.b(net.a(x) + heads(net.a(x)).sum(-2).repeat(1, 1, 4)),
    "heads that look at heads": lambda net, x: net.b(
        ((heads(net.a(x)) @ heads(net.a(x)).mT) @ heads(net.a(x))).flatten(-2)
    ),
    "all pairs of heads at once": lambda net, x: net.b(
        net.a(x) * torch.einsum("bphw,bpkw->bp", heads(net.a(x)), heads(net.a(x)))[..., None]
    ),
    "a norm over heads": lambda net, x: net.b(
        functional.layer_norm(heads(net.a(x)).mT, (4,)).mT.flatten(-2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACROSS)
def test_what_mixes_heads_moves_alike_in_all(name: str) -> None:
    assert not separable(ACROSS[name])


def test_the_heads_themselves_never_move_by_the_place_within() -> None:
    found = separable(lambda net, x: net.b(heads(net.a(x)).tanh().flatten(-2)))
    assert set(found) <= {"a/1"}, "behind the other, not before it"


def test_a_second_use_without_the_owner_ends_it() -> None:
    owner, width, other = Leaf(4), Leaf(3), Leaf(5)
    axis = Product((owner, width))
    none = Instances()
    assert owners_of([[axis]], [[axis], [owner]], none) == {width: (owner,)}
    assert owners_of([[axis]], [[axis], [width]], none) == {}
    assert owners_of([[axis], [width]], [[axis]], none) == {}
    assert owners_of([[axis]], [[owner, other, width]], none) == {width: (owner,)}, "on an axis of its own"
    assert owners_of([[axis]], [[Segments((owner, other)), width]], none) == {}, "not in every entry"
    assert owners_of([[axis]], [[owner, owner, width]], none) == {}, "which of the two?"
    assert owners_of([[axis]], [[axis, axis]], none) == {width: (owner,)}, "each beside its own"
    assert owners_of([[Segments((axis, Product((other, width))))]], [], none) == {}
    assert owners_of([[Product((width, owner))]], [], none) == {owner: (width,)}


def test_what_stays_has_no_owner_and_long_axes_own_nothing() -> None:
    assert owners_of([[Product((Leaf(4), Leaf(3, "it stays")))]], [], Instances()) == {}
    assert owners_of([[Product((Leaf(300), Leaf(3)))]], [], Instances()) == {}
