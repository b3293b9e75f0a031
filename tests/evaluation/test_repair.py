from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.reference.barrier import with_state
from tests.reference.repair import output_moments, repaired
from weightatlas.evaluation.repair import ChannelStatistics, channel_statistics, repair, repairable_layers

Batch = tuple[torch.Tensor, torch.Tensor]


def network(seed: int = 0, *, bias: bool = True) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=bias),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, groups=2, bias=bias),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 16, 5),
        ).double()


def batches(*sizes: int) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64), torch.zeros(size)) for size in sizes]


def goals_between(one: nn.Module, other: nn.Module, data: list[Batch]) -> dict[str, ChannelStatistics]:
    first, second = (channel_statistics(model, model.state_dict(), data) for model in (one, other))
    return {path: found.blended(second[path], 0.5) for path, found in first.items()}


def test_statistics_are_those_of_what_each_layer_gives_without_the_last_one() -> None:
    model, data = network(), batches(3, 5)
    found = channel_statistics(model, model.state_dict(), data)
    expected = output_moments(model, torch.cat([inputs for inputs, _ in data]))
    assert list(found) == ["0", "2"]
    for place, (mean, deviation) in expected.items():
        torch.testing.assert_close(found[str(place)].mean, mean)
        torch.testing.assert_close(found[str(place)].deviation, deviation)


def test_on_one_batch_it_is_the_published_way() -> None:
    model, data = network(2), batches(9)
    goals = goals_between(network(0), network(1), data)
    mended = with_state(model, repair(model, model.state_dict(), goals, data))
    wrapped = repaired(model, {int(path): (goal.mean, goal.deviation) for path, goal in goals.items()}, data[0][0])
    torch.testing.assert_close(mended(data[0][0]), wrapped(data[0][0]))


def test_the_first_layer_is_right_after_a_pass_and_every_layer_after_as_many_as_there_are() -> None:
    model, data = network(2), batches(3, 5, 4)
    goals = goals_between(network(0), network(1), data)
    for passes, right in ((1, ["0"]), (2, ["0", "2"])):
        mended = repair(model, model.state_dict(), goals, data, passes=passes)
        found = channel_statistics(model, mended, data)
        for path in right:
            torch.testing.assert_close(found[path].mean, goals[path].mean)
            torch.testing.assert_close(found[path].deviation, goals[path].deviation)


def test_a_networks_own_statistics_leave_it_as_it_is() -> None:
    for sizes, passes in (((8,), 1), ((3, 5), 2)):
        model, data = network(), batches(*sizes)
        goals = channel_statistics(model, model.state_dict(), data)
        mended = repair(model, model.state_dict(), goals, data, passes=passes)
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(mended[name], tensor, rtol=1e-9, atol=1e-12)


def test_without_a_bias_deviations_are_right_and_means_are_scaled_along() -> None:
    model, data = network(2, bias=False), batches(8)
    goals = goals_between(network(0, bias=False), network(1, bias=False), data)
    before = channel_statistics(model, model.state_dict(), data)["0"]
    after = channel_statistics(model, repair(model, model.state_dict(), goals, data), data)["0"]
    torch.testing.assert_close(after.deviation, goals["0"].deviation)
    torch.testing.assert_close(after.mean, before.mean * goals["0"].deviation / before.deviation)


def test_transposed_convolutions_with_groups_are_scaled_by_output() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Flatten(), nn.Linear(6 * 16, 2)).double()
    data = [(torch.randn(5, 4, 3, 3, dtype=torch.float64), torch.zeros(5))]
    goals = {"0": ChannelStatistics(torch.arange(6.0).double(), torch.arange(1.0, 7.0).double())}
    found = channel_statistics(model, repair(model, model.state_dict(), goals, data), data)["0"]
    torch.testing.assert_close(found.mean, goals["0"].mean)
    torch.testing.assert_close(found.deviation, goals["0"].deviation)


def test_a_channel_that_gives_a_constant_is_shifted_and_not_scaled() -> None:
    model, data = network(), batches(4)
    first = model[0]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight[1] = 0
    goals = goals_between(network(1), network(2), data)
    mended = repair(model, model.state_dict(), goals, data)
    assert torch.equal(mended["0.weight"][1], first.weight[1])
    torch.testing.assert_close(mended["0.bias"][1], goals["0"].mean[1])


def test_tokens_of_a_linear_layer_are_places_of_its_channels() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)).double()
    tokens = torch.randn(4, 5, 2, dtype=torch.float64)
    found = channel_statistics(model, model.state_dict(), [(tokens, torch.zeros(4))])["0"]
    torch.testing.assert_close(found.mean, model[0](tokens).flatten(0, 1).mean(0).detach())


def test_layers_that_share_or_compute_their_weights_are_left_alone() -> None:
    from weightatlas.nn import WSConv2d

    shared = nn.Linear(2, 2)
    model = nn.Sequential(
        nn.Linear(2, 2),
        shared,
        nn.Linear(2, 2),
        WSConv2d(2, 2, 1),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
    )
    model.get_submodule("2").weight = shared.weight
    assert list(repairable_layers(model)) == ["0"]


def test_the_model_is_left_as_it_is_and_no_pass_is_refused() -> None:
    model, data = network().train(), batches(4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    goals = goals_between(network(1), network(2), data)
    mended = repair(model, before, goals, data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not torch.equal(mended["0.weight"], before["0.weight"])
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="passes must be 1 or more"):
        repair(model, before, goals, data, passes=0)
