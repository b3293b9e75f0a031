from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from tests.connectivity.aligning.planted import NETWORKS, network, recovered
from tests.reference import matching as slow
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.checkpoints import open_checkpoint
from weightatlas.connectivity.matching import match
from weightatlas.errors import NotFiniteError, SourceError


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_permutation_is_found(name: str, seed: int) -> None:
    model, found = network(name, seed)
    a = model.state_dict()
    b = found.permute(a, found.random(seed + 5))
    matching = match(model, a, b, found, restarts=1)
    assert recovered(a, b, matching)
    assert matching.distance == 0
    assert matching.similarity == pytest.approx(1, abs=1e-7)
    assert matching.similarity_before < 0.9


@pytest.mark.parametrize("name", ["perceptron", "convolutional", "attention"])
def test_a_planted_permutation_is_found_under_noise(name: str) -> None:
    model, found = network(name)
    a = model.state_dict()
    planted = found.random(3)
    noise = torch.Generator().manual_seed(0)
    b = {
        key: tensor + 0.02 * torch.randn(tensor.shape, generator=noise) if tensor.is_floating_point() else tensor
        for key, tensor in found.permute(a, planted).items()
    }
    matching = match(model, a, b, found)
    expected = found.inverse(planted)
    assert all((matching.permutations[group] == order).all() for group, order in expected.items())


def test_a_network_as_torch_begins_it_is_found() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
    found = symmetries(model, torch.zeros(1, 3, 3, 3), verify=False)
    a = model.state_dict()
    b = found.permute(a, found.random(0))
    assert recovered(a, b, match(model, a, b, found))


def test_every_restart_ends_where_no_group_gains_and_the_best_of_all_permutations_is_found() -> None:
    torch.manual_seed(0)
    first, second = (
        nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in "ab"
    )
    found = symmetries(first, torch.zeros(1, 3), verify=False)
    a, b = first.state_dict(), second.state_dict()
    best = max(slow.objective(found, a, b, orders) for orders in slow.all_orders(found))
    matching = match(first, a, b, found, restarts=12)
    assert slow.objective(found, a, b, matching.permutations) == pytest.approx(matching.objective.max(), rel=1e-6)
    assert matching.objective.max() == pytest.approx(best, rel=1e-6)
    assert (matching.objective >= slow.objective(found, a, b, found.identity())).mean() > 0.5
    for group, order in matching.permutations.items():
        gram = slow.gram(found, a, b, matching.permutations, group)
        assert slow.linear_sum(gram) == pytest.approx(gram[np.arange(len(order)), order].sum(), abs=1e-5)


@pytest.mark.parametrize("name", ["perceptron", "convolutional", "concatenated"])
def test_from_the_identity_it_takes_the_steps_of_plain_sweeps_over_all_groups(name: str) -> None:
    (model, found), (other, _) = network(name, 0), network(name, 1)
    a, b = ({key: one.detach() for key, one in m.named_parameters()} for m in (model, other))
    orders = found.identity()
    groups, generator = [group.name for group in found.groups], np.random.default_rng([6, 0])
    changed = True
    while changed:
        changed = False
        for number in generator.permutation(len(groups)):
            gram = slow.gram(found, a, b, orders, groups[number])
            _, best = linear_sum_assignment(gram, maximize=True)
            changed = changed or bool((best != orders[groups[number]]).any())
            orders[groups[number]] = best
    one = match(model, a, b, found, restarts=1, start="identity", seed=6)
    assert all((one.permutations[group] == order).all() for group, order in orders.items())


def test_whichever_start_is_first_the_other_is_second() -> None:
    (model, found), (other, _) = network("perceptron", 0), network("perceptron", 1)
    a, b = model.state_dict(), other.state_dict()
    inwards: list[str] = []
    match(model, a, b, found, restarts=2, progress=lambda _, __, said: inwards.append(said))
    as_they_are: list[str] = []
    match(model, a, b, found, restarts=2, start="identity", progress=lambda _, __, said: as_they_are.append(said))
    for steps, first in ((inwards, True), (as_they_are, False)):
        assert ("first sweep" in steps[0]) == first
        assert sum("first sweep" in said for said in steps) == len(found.groups), "one of both sweeps inwards"


def test_matching_is_never_worse_than_leaving_units_where_they_are() -> None:
    for seed in range(4):
        (model, found), (other, _) = network("square", seed), network("square", seed + 10)
        matching = match(model, model.state_dict(), other.state_dict(), found, restarts=2)
        assert matching.similarity >= matching.similarity_before
        assert matching.distance <= matching.distance_before


def test_identical_networks_stay_as_they_are_even_with_units_that_are_alike() -> None:
    model, found = network("perceptron")
    with torch.no_grad():
        for layer in (model[0].weight, model[0].bias):  # type: ignore[index]
            layer[3] = layer[5]
        model[2].weight[:, 3] = model[2].weight[:, 5]  # type: ignore[index]
    matching = match(model, model.state_dict(), model.state_dict(), found)
    assert matching.moved == 0
    assert all((order == np.arange(len(order))).all() for order in matching.permutations.values())


def test_networks_of_one_value_are_matched_somehow() -> None:
    model, found = network("perceptron")
    same = {name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()}
    zero = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    assert match(model, same, same, found).moved == 0
    assert np.isnan(match(model, zero, same, found).similarity)


def test_what_it_says_of_both_is_what_permuting_gives() -> None:
    (model, found), (other, _) = network("convolutional", 0), network("convolutional", 1)
    a, b = model.state_dict(), other.state_dict()
    matching = match(model, a, b, found)
    counted = [name for name, _ in model.named_parameters()]
    aligned = matching.align(b)
    ours, theirs, before = (torch.cat([one[name].flatten().double() for name in counted]) for one in (a, aligned, b))
    assert matching.similarity == pytest.approx(float(torch.cosine_similarity(ours, theirs, dim=0)), abs=1e-6)
    assert matching.similarity_before == pytest.approx(float(torch.cosine_similarity(ours, before, dim=0)), abs=1e-6)
    assert matching.distance == pytest.approx(float((ours - theirs).norm()), rel=1e-5)
    assert matching.distance_before == pytest.approx(float((ours - before).norm()), rel=1e-5)
    assert aligned["1.running_var"].tolist() != b["1.running_var"].tolist(), "statistics move along"


def test_statistics_vote_only_where_asked() -> None:
    model, found = network("convolutional")
    a = model.state_dict()
    b = found.permute(a, found.random(1))
    b["1.running_mean"], b["1.running_var"] = (
        torch.zeros(6),
        100 * torch.rand(6, generator=torch.Generator().manual_seed(0)),
    )
    assert match(model, a, b, found).distance == 0
    assert match(model, a, b, found, statistics=True).similarity < 1
    assert match(None, a, b, found).distance == 0, "without a model they are known by their names"


def test_matching_finds_something_between_any_networks_and_the_null_says_how_much() -> None:
    similarities = []
    for seed in range(3):
        (model, found), (other, _) = network("perceptron", seed), network("perceptron", seed + 20)
        weights, others = ({n: t for n, t in m.state_dict().items() if "weight" in n} for m in (model, other))
        matching = match(None, weights, others, found, nulls=8, restarts=1)
        similarities.append((matching.similarity - matching.null_similarity.mean()) / matching.null_similarity.std())
        assert matching.null_similarity.shape == (8,)
        assert matching.null_similarity.mean() > 0.1
    assert abs(np.mean(similarities)) < 3, "independent networks are as alike as shuffled ones"
    planted = found.permute(weights, found.random(0))
    assert (match(None, weights, planted, found, nulls=8).null_similarity < 0.9).all()


def test_checkpoints_tied_weights_and_short_types() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(11, 6)
            self.inner = nn.Linear(6, 6)
            self.last = nn.Linear(6, 11, bias=False)
            self.last.weight = self.embed.weight

        def forward(self, symbols: torch.Tensor) -> torch.Tensor:
            return self.last(self.inner(self.embed(symbols)).tanh() + self.embed(symbols))  # type: ignore[no-any-return]

    model = Tied()
    found = symmetries(model, torch.zeros(1, 3, dtype=torch.int64), verify=False)
    a = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    b = found.permute(a, found.random(1))
    del a["last.weight"]
    matching = match(model, open_checkpoint(a), open_checkpoint(b), found)
    assert matching.distance == 0
    squares = sum(float(tensor.double().square().sum()) for tensor in a.values())
    assert matching.objective[0] == pytest.approx(squares, rel=1e-5), "what is tied counts once"


def test_it_repeats_itself_and_leaves_generators_alone() -> None:
    (model, found), (other, _) = network("square", 0), network("square", 1)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = (match(model, model.state_dict(), other.state_dict(), found, nulls=1, seed=4) for _ in "ab")
    assert torch.rand(1) == expected
    assert all((first.permutations[name] == order).all() for name, order in second.permutations.items())
    assert first.null_similarity == second.null_similarity


def test_symmetries_are_found_by_an_example_or_the_data() -> None:
    model, found = network("perceptron")
    a = model.state_dict()
    b = found.permute(a, found.random(1))
    batch = (torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64))
    assert match(model, a, b, example_inputs=batch[0]).distance == 0
    assert match(model, a, b, data=[batch]).distance == 0


def test_bad_input_is_named() -> None:
    model, found = network("perceptron")
    a = model.state_dict()
    broken = {**a, "2.weight": a["2.weight"].clone().index_fill_(0, torch.tensor(1), float("nan"))}
    with pytest.raises(NotFiniteError, match=r"2\.weight of the second network holds NaN"):
        match(model, a, broken, found)
    with pytest.raises(NotFiniteError, match="of the first network holds NaN"):
        match(model, {**a, "2.bias": a["2.bias"] * float("inf")}, a, found)
    wide = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 3)).state_dict()
    with pytest.raises(SourceError, match=r"0\.weight has the shape \[9, 5\] in the first and \[10, 5\] in the second"):
        match(model, a, wide, found)
    with pytest.raises(SourceError, match=r"0\.weight has the shape \[10, 5\], and \[9, 5\] in the model"):
        match(None, wide, wide, found)
    with pytest.raises(SourceError, match=r"the second network: has no 4\.bias"):
        match(model, a, {name: tensor for name, tensor in a.items() if name != "4.bias"}, found)
    with pytest.raises(ValueError, match="method is one of weights, activations, straight-through, not 'luck'"):
        match(model, a, a, found, method="luck")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="start is one of inward, identity, not 'outward'"):
        match(model, a, a, found, start="outward")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="restarts, sweeps and steps must be at least 1"):
        match(model, a, a, found, restarts=0)
    with pytest.raises(ValueError, match="give the symmetries"):
        match(None, a, a)
    with pytest.raises(ValueError, match="matching by activations runs the networks"):
        match(None, a, a, found, method="activations")
