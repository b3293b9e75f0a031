from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.test_barrier import batches, network, states
from tests.reference import barrier as reference
from weightatlas.connectivity.barrier import barrier
from weightatlas.connectivity.layer_groups import layer_groups
from weightatlas.connectivity.layerwise import layer_barriers
from weightatlas.errors import SourceError


def slow_height(names: list[str], way: tuple[float, ...], *, second: bool) -> float:
    """Of some tensors on their way in one network, by copies with the weights loaded."""
    model, a, b = states()
    base, other = (b, a) if second else (a, b)
    losses = [
        reference.loss_and_error(
            reference.with_state(model, reference.between(base, other, alpha, names)), batches(6, 5)
        )[0]
        for alpha in way
    ]
    return max(loss - (1 - alpha) * losses[0] - alpha * losses[-1] for loss, alpha in zip(losses, way, strict=True))


def test_each_layer_and_all_up_to_it_and_from_it_on_are_those_of_copies() -> None:
    model, a, b = states()
    way = (0.0, 0.4, 0.7, 1.0)
    found = layer_barriers(model, a, b, batches(6, 5), alphas=way, recalibrate=None, directions=0)
    groups = layer_groups(model)
    assert [one.layer for one in found] == list(groups) == ["0", "1", "3", "4", "8"]
    order = list(groups.values())
    for place, one in enumerate(found):
        assert one.parameters == order[place]
        both = [slow_height(list(one.parameters), way, second=second) for second in (False, True)]
        assert [one.in_a, one.in_b] == pytest.approx(both, abs=1e-10)
        assert one.barrier == pytest.approx(sum(both) / 2, abs=1e-10)
        assert one.low <= one.barrier <= one.high
        for total, members in ((one.from_input, order[: place + 1]), (one.from_output, order[place:])):
            names = [name for group in members for name in group]
            expected = sum(slow_height(names, way, second=second) for second in (False, True)) / 2
            assert total == pytest.approx(expected, abs=1e-10)
    whole = barrier(model, a, b, batches(6, 5), points=3, recalibrate=None)
    assert found[0].from_output == found[-1].from_input
    assert found[0].losses_in_a[0] == whole.losses[0]
    assert found[0].losses_in_b[0] == whole.losses[-1]


def test_against_the_networks_the_chord_is_that_of_both_whole_ones() -> None:
    model, a, b = states()
    one = layer_barriers(model, a, b, batches(6, 5), recalibrate=None, directions=0, cumulative=False)[0]
    ends = barrier(model, a, b, batches(6, 5), points=3, recalibrate=None).losses[[0, -1]]
    rises = [
        max(losses - start - one.alphas * (end - start))
        for losses, (start, end) in ((one.losses_in_a, ends), (one.losses_in_b, ends[::-1]))
    ]
    assert one.against_networks == pytest.approx(sum(rises) / 2)
    assert math.isnan(one.from_input)
    assert math.isnan(one.from_output)


def test_random_directions_give_a_p_value_and_other_layers_do_not_change_it() -> None:
    model, a, b = states()
    options = {"directions": 4, "cumulative": False, "recalibrate": None}
    found = layer_barriers(model, a, b, batches(6, 5), **options)  # type: ignore[arg-type]
    for one in found:
        assert one.random.shape == (4,)
        assert one.p_value == (1 + (one.random >= one.barrier).sum()) / 5
    alone = layer_barriers(model, a, b, batches(6, 5), layers=["3"], **options)[0]  # type: ignore[arg-type]
    assert alone.random.tolist() == found[2].random.tolist()
    assert len({one.p_value for one in found}) > 1
    none = layer_barriers(model, a, b, batches(6), layers=["3"], directions=0, cumulative=False)[0]
    assert math.isnan(none.p_value)


def test_a_barrier_in_one_layer_is_found_there_and_nowhere_else() -> None:
    model = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3)).double()
    a = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sharp = {**a, "4.weight": a["4.weight"] * 40}
    targets = reference.with_state(model, sharp)(inputs).argmax(1)
    flipped = {**sharp, "2.weight": -a["2.weight"], "2.bias": -a["2.bias"], "4.weight": -sharp["4.weight"]}
    found = layer_barriers(model, sharp, flipped, [(inputs, targets)], directions=0)
    heights = {one.layer: one.barrier for one in found}
    assert heights["0"] == 0.0  # the same in both
    whole = barrier(model, sharp, flipped, [(inputs, targets)], points=3)
    assert whole.loss_barrier.height > 0.5  # both flips at once are the same network; half of each is none
    assert found[-1].from_input == pytest.approx(whole.loss_barrier.height)


@pytest.mark.parametrize("recalibrate", ["auto", "repair"])
def test_with_statistics_estimated_anew_all_layers_together_are_the_line(recalibrate: str) -> None:
    model, a, b = states()
    options = {"recalibrate": recalibrate, "recalibration_data": batches(9, seed=4)}
    found = layer_barriers(model, a, b, batches(6, 5), directions=1, **options)  # type: ignore[arg-type]
    whole = barrier(model, a, b, batches(6, 5), points=3, **options)  # type: ignore[arg-type]
    assert found[-1].from_input == pytest.approx(whole.loss_barrier.height, abs=1e-9)
    assert all(np.isfinite(one.random).all() for one in found)


def test_a_network_and_itself_have_no_barrier_in_any_layer() -> None:
    model, a, _ = states()
    for one in layer_barriers(model, a, a, batches(6, 5), directions=2):
        assert (one.barrier, one.low, one.high, one.from_input, one.against_networks) == (0.0,) * 5
        assert one.random.tolist() == [0.0, 0.0]
        assert one.p_value == 1.0


def test_a_path_stands_for_all_modules_in_it_and_the_order_is_the_networks() -> None:
    model = nn.Sequential()
    model.add_module("stage", network(2)[:6])
    model.add_module("head", network(2)[6:])
    first, second = (
        {f"{'stage' if int(name[0]) < 6 else 'head'}.{name}": part for name, part in state.items()}
        for state in states()[1:]
    )
    found = layer_barriers(model, first, second, batches(6), layers=["head", "stage"], directions=0, recalibrate=None)
    assert [one.layer for one in found] == ["stage", "head"]
    assert len(found[0].parameters) == 12
    assert found[0].from_input == found[0].barrier


def test_progress_and_what_is_refused() -> None:
    model, a, b = states()
    told: list[tuple[int, int, str]] = []
    layer_barriers(model, a, b, batches(6), layers=["0", "8"], directions=0, progress=lambda *parts: told.append(parts))
    assert told == [(1, 2, "0"), (2, 2, "8")]
    with pytest.raises(ValueError, match="the network has no layer 'conv' with parameters; it has 0, 1, 3, 4 and 8"):
        layer_barriers(model, a, b, batches(6), layers=["conv"])
    for alphas in ((0, 1), (0.1, 0.5, 1), (0, 0.5)):
        with pytest.raises(ValueError, match="alphas must run from 0 to 1"):
            layer_barriers(model, a, b, batches(6), alphas=alphas)
    with pytest.raises(ValueError, match="directions must be 0 or more"):
        layer_barriers(model, a, b, batches(6), directions=-1)
    with pytest.raises(SourceError, match="the second state"):
        layer_barriers(model, a, {}, batches(6))
