from __future__ import annotations

from typing import cast

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from tests.connectivity.aligning.planted import network
from weightatlas.connectivity.aligning.assigning import assigned, value
from weightatlas.connectivity.aligning.grams import Grams
from weightatlas.connectivity.aligning.restarts import _disturbed, matched_weights, null_similarities
from weightatlas.connectivity.aligning.sorted_rows import QUANTILES, sorted_rows
from weightatlas.connectivity.aligning.states import state_pair
from weightatlas.connectivity.aligning.weight_matching import ascend, inward


def grams_of(name: str, other_seed: int = 1) -> Grams:
    (model, found), (other, _) = network(name, 0), network(name, other_seed)
    pair = state_pair(model, found, model.state_dict(), other.state_dict())
    return Grams(pair, {group.name: group.size for group in found.groups})


def identity(grams: Grams) -> dict[str, np.ndarray]:
    return {name: np.arange(size) for name, size in grams.sizes.items()}


def test_groups_left_out_are_those_that_could_not_gain() -> None:
    for name in ("perceptron", "convolutional", "concatenated", "attention"):
        grams = grams_of(name)
        ended = ascend(grams, identity(grams), sweeps=100, generator=np.random.default_rng(0))
        assert ended.settled
        again = ascend(grams, ended.permutations, sweeps=100, generator=np.random.default_rng(1))
        assert again.sweeps == 1
        assert all((again.permutations[group] == order).all() for group, order in ended.permutations.items())


def test_sweeps_are_bounded() -> None:
    grams = grams_of("attention")
    ended = ascend(grams, identity(grams), sweeps=1, generator=np.random.default_rng(0))
    assert (ended.sweeps, ended.settled) == (1, False)


def test_only_the_groups_asked_for_are_solved() -> None:
    grams = grams_of("perceptron")
    first, second = grams.sizes
    ended = ascend(grams, identity(grams), sweeps=9, generator=np.random.default_rng(0), groups=[second])
    assert (ended.permutations[first] == np.arange(9)).all()
    assert (ended.permutations[second] != np.arange(7)).any()


def test_the_sweep_inwards_begins_at_what_stays() -> None:
    grams = grams_of("convolutional")
    asked: list[str] = []
    inward(
        grams,
        {group: grams.information(group) for group in grams.sizes},
        progress=lambda done, _, __: asked.append(str(done)),
    )
    assert asked == ["1", "2"]
    permutations, partly = inward(grams, {group: grams.information(group) for group in grams.sizes})
    assert partly == {next(iter(grams.sizes))} or partly == {list(grams.sizes)[1]}, "the second one knows the first"
    assert all(sorted(order) == list(range(len(order))) for order in permutations.values())


def test_an_assignment_and_what_it_gets() -> None:
    gram = torch.tensor([[0.0, 5, 1], [4, 0, 3], [9, 9, 9]])
    assert assigned(gram).tolist() == [1, 0, 2] or value(gram, assigned(gram)) == 18
    assert value(gram, np.array([1, 0, 2])) == 18


def test_what_is_taken_away_first_does_not_change_the_best_assignment() -> None:
    generator = np.random.default_rng(0)
    for size, offset, scale in ((1, 0, 1), (7, 0, 1), (40, -300, 1), (60, 5, 1e-4)):
        gram = generator.normal(size=(size, size)) * scale + offset + generator.normal(size=(size, 1)) * 9
        gram = gram.astype(np.float32)
        rows, columns = linear_sum_assignment(gram.astype(np.float64), maximize=True)
        assert assigned(torch.from_numpy(gram)).tolist() == columns.tolist()
        assert value(torch.from_numpy(gram), columns) == gram[rows, columns].sum(dtype=np.float64)
    ties = generator.integers(0, 3, (30, 30)).astype(np.float32)
    order = assigned(torch.from_numpy(ties))
    assert sorted(order) == list(range(30))
    assert value(torch.from_numpy(ties), order) == ties[linear_sum_assignment(ties, maximize=True)].sum()


def test_sorted_rows_do_not_know_the_order_of_what_is_sorted() -> None:
    view = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    mixed = view[:, :, torch.randperm(6, generator=torch.Generator().manual_seed(1))]
    for free, shape in (([2], (4, 30)), ([1, 2], (4, 30))):
        ours, theirs = (torch.cat(list(sorted_rows(one, [None] * 3, 0, free, limit=60)), 1) for one in (view, mixed))
        assert ours.shape == shape
        assert torch.equal(ours, theirs)
    (few,) = sorted_rows(torch.randn(3, 1000), [None] * 2, 0, [1])
    assert few.shape == (3, QUANTILES)


def test_the_null_is_that_of_unrelated_networks() -> None:
    """Of networks drawn at random the share above nine in ten of their shuffled ones is about a tenth."""
    above = []
    for seed in range(30):
        (model, found), (other, _) = network("perceptron", seed), network("perceptron", 100 + seed)
        a, b = ({key: one for key, one in m.state_dict().items() if "weight" in key} for m in (model, other))
        pair = state_pair(None, found, a, b)
        sizes = {group.name: group.size for group in found.groups}
        ((_, likeness),) = matched_weights(pair, sizes, restarts=1, sweeps=50, seed=0)
        above.append(likeness.cosine > np.quantile(null_similarities(pair, sizes, nulls=19, sweeps=50, seed=0), 0.9))
    assert np.mean(above) < 0.4


def test_a_few_groups_are_drawn_anew_and_only_what_touches_them_may_gain() -> None:
    sizes = {f"group {number}": 8 for number in range(20)}

    class Chain:
        def __init__(self) -> None:
            self.sizes = sizes

        def neighbours(self, name: str) -> frozenset[str]:
            number = int(name.split()[1])
            return frozenset(f"group {one}" for one in (number - 1, number + 1) if 0 <= one < len(self.sizes))

    before = {name: np.arange(size) for name, size in sizes.items()}
    after, stale = _disturbed(cast("Grams", Chain()), before, np.random.default_rng(4))
    drawn = {name for name in sizes if (after[name] != before[name]).any()}
    assert len(drawn) == 3
    assert stale == drawn.union(*(Chain().neighbours(name) for name in drawn))
    assert all(sorted(order) == list(range(8)) for order in after.values())
