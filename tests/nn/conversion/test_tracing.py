from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weightatlas.nn.conversion.tracing import Flow, trace

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = torch.zeros(2, 3, 4, 4)


def followed(run: Callable[[nn.Module, nn.Module], object], norm: nn.Module | None = None) -> Flow:
    """What a pass through one convolution and one norm shows."""
    convolution, norm = nn.Conv2d(3, 4, 1), norm or nn.BatchNorm2d(4)
    return trace(partial(run, convolution, norm), {"c": convolution}, {"n": norm})


def once(convolution: nn.Module, norm: nn.Module) -> object:
    return norm(convolution(VALUES))


def twice(convolution: nn.Module, norm: nn.Module) -> object:
    return norm(convolution(VALUES)) + norm(convolution(VALUES))


def in_two_places(convolution: nn.Module, norm: nn.Module) -> object:
    given = convolution(VALUES)
    return norm(given), given.relu()


def changed_in_place(convolution: nn.Module, norm: nn.Module) -> object:
    return norm(convolution(VALUES).mul_(2))


def changed_afterwards(convolution: nn.Module, norm: nn.Module) -> object:
    given = convolution(VALUES)
    answer = norm(given)
    return answer, given.mul_(2)


def a_part(convolution: nn.Module, norm: nn.Module) -> object:
    return norm(convolution(VALUES)[:, :, :2])


def both_answered(convolution: nn.Module, norm: nn.Module) -> object:
    given = convolution(VALUES)
    return {"a": [norm(given)], "b": given}


def joined(convolution: nn.Module, norm: nn.Module) -> object:
    return norm(torch.cat([convolution(VALUES), convolution(VALUES)]))


@pytest.mark.parametrize(
    ("run", "passed", "rearranged", "elsewhere", "taker"),
    [
        (once, 1, 0, 0, None),
        (twice, 2, 0, 0, None),
        (in_two_places, 1, 0, 1, "relu"),
        (changed_in_place, 0, 0, 1, "mul"),
        (changed_afterwards, 1, 0, 1, "mul"),
        (a_part, 0, 1, 1, "slice"),
        (both_answered, 1, 0, 1, None),
        (joined, 0, 0, 2, "cat"),
    ],
)
def test_where_the_output_of_a_convolution_goes(
    run: Any,  # noqa: ANN401 - one of the above
    passed: int,
    rearranged: int,
    elsewhere: int,
    taker: str | None,
) -> None:
    flow = followed(run)
    assert (flow.passed["c", "n"], flow.rearranged["c", "n"]) == (passed, rearranged)
    assert (flow.elsewhere["c"] > 0) == (elsewhere > 0)
    assert flow.takers.get("c") == taker
    assert flow.stopped is None
    assert flow.axes == {"n": 4}


class Wordy(nn.BatchNorm2d):
    """A norm of many operators."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        return super().forward((input * 2).relu() - input)


def test_what_a_norm_does_within_is_no_other_taker() -> None:
    flow = followed(once, Wordy(4))
    assert (flow.passed["c", "n"], flow.elsewhere["c"], flow.takers) == (1, 0, {})


class Broken(nn.BatchNorm2d):
    """A norm that fails."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        message = f"broken at {input.ndim} axes"
        raise ValueError(message)


def caught(convolution: nn.Module, norm: nn.Module) -> object:
    given = convolution(VALUES)
    try:
        return norm(given)
    except ValueError:
        return given.relu()


def test_an_error_ends_the_pass_and_is_kept() -> None:
    flow = followed(once, Broken(4))
    assert str(flow.stopped) == "broken at 4 axes"
    assert (flow.called, flow.passed["c", "n"]) == ({"c", "n"}, 1)


def test_after_a_norm_that_failed_other_takers_count_again() -> None:
    flow = followed(caught, Broken(4))
    assert flow.stopped is None
    assert flow.takers == {"c": "relu"}


def recorded(answers: list[Tensor], convolution: nn.Module, norm: nn.Module) -> None:
    answers.append(norm(convolution(VALUES)))


def test_no_hook_stays_and_no_gradient_is_recorded() -> None:
    convolution, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    answers: list[Tensor] = []
    for module in (norm, Broken(4)):
        trace(partial(recorded, answers, convolution, module), {"c": convolution}, {"n": module})
        assert not any(one._forward_hooks or one._forward_pre_hooks for one in (convolution, module))
    assert len(answers) == 1
    assert not answers[0].requires_grad


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=4), max_size=5))
@settings(max_examples=20, deadline=None)
def test_calls_are_counted_as_they_were_made(calls: list[list[bool]]) -> None:
    """Each list is one call of the convolution; each of its entries goes to the norm, or else to a ReLU."""

    def run(convolution: nn.Module, norm: nn.Module) -> None:
        for taken in calls:
            answer = convolution(VALUES)
            for by_norm in taken:
                norm(answer) if by_norm else answer.relu()

    flow = followed(run)
    every = Counter(by_norm for taken in calls for by_norm in taken)
    assert (flow.convolutions["c"], flow.norms["n"]) == (len(calls), every[True])
    assert (flow.passed["c", "n"], flow.elsewhere["c"]) == (every[True], every[False])


def test_a_second_pass_adds_what_the_first_left_out_only() -> None:
    first = Flow(Counter(a=1), Counter(x=1), Counter({("a", "x"): 1}), axes={"x": 4}, takers={"a": "add"})
    second = Flow(
        Counter(a=5, b=2),
        Counter(x=5, y=2),
        Counter({("a", "x"): 5, ("b", "y"): 1}),
        Counter({("b", "y"): 1}),
        Counter(a=3, b=1),
        {"a": "cat", "b": "relu"},
        {"x": 2, "y": 3},
    )
    first.join(second, {"b", "y"})
    assert first == Flow(
        Counter(a=1, b=2),
        Counter(x=1, y=2),
        Counter({("a", "x"): 1, ("b", "y"): 1}),
        Counter({("b", "y"): 1}),
        Counter(b=1),
        {"a": "add", "b": "relu"},
        {"x": 4, "y": 3},
    )
