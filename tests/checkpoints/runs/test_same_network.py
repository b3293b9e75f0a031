from __future__ import annotations

import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.runs.same_network import (
    Signature,
    difference,
    is_optimizer,
    is_same_network,
    leading,
    signature,
)


def network(*sizes: int) -> Signature:
    return frozenset((f"fc{place}", "weight", (size, 3)) for place, size in enumerate(sizes))


def test_wrappers_do_not_make_another_network() -> None:
    plain = open_checkpoint({"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)})
    wrapped = open_checkpoint({"state_dict": {"module.fc.weight": torch.zeros(2, 3), "module.fc.bias": torch.zeros(2)}})
    assert signature(plain) == signature(wrapped)


def test_a_shape_in_twenty_may_change_and_more_make_another_network() -> None:
    assert is_same_network(network(*[4] * 19, 5), network(*[4] * 20))
    assert not is_same_network(network(*[4] * 17, 5, 5, 5), network(*[4] * 20))
    assert difference(network(4, 5), network(4, 6)) == "fc1.weight is 5×3, not 6×3"


def test_a_tensor_in_twenty_may_come_and_go() -> None:
    long, short = network(*[4] * 20), network(*[4] * 19)
    assert is_same_network(long, short)
    assert is_same_network(short, long)
    assert not is_same_network(network(4), network(4, 4))


def test_differences_are_said_in_words() -> None:
    two, four = network(1, 1), network(1, 1, 1, 1)
    assert difference(two, four) == "without fc2.weight and 1 more"
    assert difference(four, two) == "with fc2.weight and 1 more besides"
    assert difference(two, two) == ""
    scalar: Signature = frozenset([("scale", "scale", ())])
    assert difference(scalar, frozenset([("scale", "scale", (1,))])) == "scale is a scalar, not 1"


def test_the_majority_is_the_network_that_most_are_of() -> None:
    assert leading([network(1), network(2), network(2)]) == [network(2)]
    assert leading([network(3)]) == [network(3)]


def test_networks_with_equally_many_checkpoints_all_lead() -> None:
    assert leading([network(3), network(4), network(3), network(4), network(5)]) == [network(3), network(4)]
    assert leading([network(1), network(2), network(3)]) == [network(1), network(2), network(3)]


def test_small_differences_do_not_split_the_majority() -> None:
    growing = [network(*[4] * count) for count in (30, 31, 32)]
    (leader,) = leading([*growing, network(1)])
    assert leader in growing


def test_an_optimizers_state_is_told() -> None:
    moments = frozenset((str(index), name, (3,)) for index in range(4) for name in ("exp_avg", "exp_avg_sq", "step"))
    assert is_optimizer(moments)
    assert not is_optimizer(moments | network(*[1] * 12))
