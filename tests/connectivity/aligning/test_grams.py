from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.connectivity.aligning.planted import NETWORKS, network
from tests.reference import matching as slow
from weightatlas.connectivity.aligning.grams import Grams
from weightatlas.connectivity.aligning.states import StatePair, state_pair

LINEAR = [name for name in NETWORKS if name != "square"]


def pair_of(name: str) -> tuple[StatePair, Grams, dict[str, torch.Tensor], dict[str, torch.Tensor], object]:
    (model, found), (other, _) = network(name, 0), network(name, 1)
    a, b = ({key: tensor.detach() for key, tensor in one.named_parameters()} for one in (model, other))
    pair = state_pair(model, found, a, b)
    return pair, Grams(pair, {group.name: group.size for group in found.groups}), a, b, found


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("chunk", [64, 2**26])
def test_a_gram_matrix_is_what_every_pair_of_entries_has_in_common(name: str, chunk: int) -> None:
    pair, _, a, b, found = pair_of(name)
    grams = Grams(pair, {group.name: group.size for group in found.groups}, chunk=chunk)  # type: ignore[attr-defined]
    orders = found.random(7)  # type: ignore[attr-defined]
    for group in grams.sizes:
        expected = slow.gram(found, a, b, orders, group)  # type: ignore[arg-type]
        assert grams.gram(group, orders).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("kept", [0, 2**20])
def test_matrices_are_brought_up_to_date_where_others_have_moved(name: str, kept: int) -> None:
    pair, _, _, _, found = pair_of(name)
    sizes = {group.name: group.size for group in found.groups}  # type: ignore[attr-defined]
    grams = Grams(pair, sizes, kept=kept)
    generator = np.random.default_rng(0)
    orders = found.identity()  # type: ignore[attr-defined]
    for _ in range(12):
        group = str(generator.choice(list(sizes)))
        first, second = generator.integers(sizes[group], size=2)
        orders[group] = orders[group].copy()
        orders[group][[first, second]] = orders[group][[second, first]]
        asked = str(generator.choice(list(sizes)))
        fresh = Grams(pair, sizes).gram(asked, orders)
        assert torch.allclose(grams.gram(asked, orders), fresh, atol=1e-5)


def test_the_sum_along_an_order_is_the_groups_part_of_the_objective() -> None:
    pair, grams, a, b, found = pair_of("attention")
    orders = found.random(1)  # type: ignore[attr-defined]
    for group, size in grams.sizes.items():
        other = {**orders, group: np.random.default_rng(0).permutation(size)}
        gram = grams.gram(group, orders).double().numpy()
        difference = gram[np.arange(size), other[group]].sum() - gram[np.arange(size), orders[group]].sum()
        before, after = (slow.objective(found, a, b, one) for one in (orders, other))  # type: ignore[arg-type]
        assert difference == pytest.approx(after - before, abs=1e-4)
        assert pair.likeness(other).objective == pytest.approx(after, abs=1e-4)


def test_a_group_on_two_axes_is_linearised_about_where_it_stands() -> None:
    """The derivative of the sum by the permutation, taken as any matrix: checked by one in float64."""
    _, grams, a, b, found = pair_of("square")
    (group,) = grams.sizes
    orders = found.random(1)  # type: ignore[attr-defined]
    size = grams.sizes[group]
    moving = torch.eye(size, dtype=torch.float64)[orders[group]].requires_grad_()
    total = sum(
        (a[name].double() * moved).sum()
        for name, moved in {
            "first.weight": moving @ b["first.weight"].double(),
            "first.bias": moving @ b["first.bias"].double(),
            "inner.weight": moving @ b["inner.weight"].double() @ moving.T,
            "inner.bias": moving @ b["inner.bias"].double(),
            "last.weight": b["last.weight"].double() @ moving.T,
        }.items()
    )
    (expected,) = torch.autograd.grad(total, moving)  # type: ignore[arg-type]
    assert torch.allclose(grams.gram(group, orders).double(), expected, atol=1e-5)
    inner = float((a["inner.weight"] * b["inner.weight"][orders[group]][:, orders[group]]).sum())
    assert grams.quadratic(group, orders) == pytest.approx(inner, abs=1e-5)


def test_only_known_neighbours_are_looked_at_and_sorted_ones_beside_them() -> None:
    _, grams, a, b, found = pair_of("perceptron")
    orders = found.identity()  # type: ignore[attr-defined]
    first = next(iter(grams.sizes))
    alone = a["0.weight"] @ b["0.weight"].T + torch.outer(a["0.bias"], b["0.bias"])
    assert torch.allclose(grams.gram(first, orders, known=()), alone, atol=1e-5)
    ours, theirs = (one["2.weight"].T.sort(-1).values for one in (a, b))
    assert torch.allclose(grams.gram(first, orders, known=(), unknown=True), alone + ours @ theirs.T, atol=1e-5)
    for order in (found.random(1), found.random(2)):  # type: ignore[attr-defined]
        again = grams.gram(first, order, known=(), unknown=True)
        assert torch.allclose(again, alone + ours @ theirs.T, atol=1e-5), "whatever the unknown order is"


def test_norms_that_are_one_everywhere_tell_nothing() -> None:
    model, found = network("convolutional")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["1.weight"].fill_(1.0)
    grams = Grams(state_pair(model, found, state, state), {group.name: group.size for group in found.groups})
    group = next(iter(grams.sizes))
    told = dict(zip([place.block.tensor for place in grams.places[group]], grams.information(group), strict=True))
    assert told["1.weight"] == pytest.approx(0, abs=1e-5)
    spread = float((state["0.weight"] - state["0.weight"].mean(0)).square().sum())
    assert told["0.weight"] == pytest.approx(18 * spread, rel=1e-4)


def test_neighbours_share_a_tensor() -> None:
    _, grams, _, _, _ = pair_of("perceptron")
    first, second = grams.sizes
    assert grams.neighbours(first) == {second}
    assert grams.neighbours(second) == {first}
