from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.points import NamedPoints

Form = Callable[[torch.Tensor], object]
Taking = Callable[[Any], torch.Tensor]


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@dataclass(frozen=True)
class Held:
    name: str
    hidden: torch.Tensor


@dataclass
class Output:
    hidden: torch.Tensor
    logits: torch.Tensor


class Gives(nn.Module):
    """Gives twice its inputs in some form, or takes them out of it again."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, inputs: torch.Tensor) -> object:
        return self.form(2 * inputs)


class Takes(nn.Module):
    def __init__(self, out: Taking) -> None:
        super().__init__()
        self.out = out

    def forward(self, output: object) -> torch.Tensor:
        return self.out(output)


FORMS: list[tuple[Form, Taking]] = [
    (lambda x: x, lambda o: o),
    (lambda x: (x, None, x + 1), lambda o: o[0]),
    (lambda x: [x, x + 1], lambda o: o[0]),
    (lambda x: Pair(x, x + 1), lambda o: o.first),
    (lambda x: {"aux": x + 1, "out": x}, lambda o: o["out"]),
    (lambda x: OrderedDict(hidden=x, other=x + 1), lambda o: o["hidden"]),
    (lambda x: Held("x", x), lambda o: o.hidden),
    (lambda x: Output(x + 1, x), lambda o: o.logits),
]


@pytest.mark.parametrize(("form", "out"), FORMS)
def test_the_tensor_in_what_a_module_gives_is_read_and_exchanged(form: Form, out: Taking) -> None:
    points = NamedPoints(nn.Sequential(Gives(form), Takes(out)), ["0", "0:output", "output"])
    inputs = torch.randn(3, 2)
    torch.testing.assert_close(points.values(inputs)["0:output"], 2 * inputs)
    torch.testing.assert_close(points.onward(inputs, "0:output", torch.ones(3, 2), "output"), torch.ones(3, 2))


def test_what_holds_no_tensor_is_told() -> None:
    model = nn.Sequential(Gives(lambda _: "nothing"), Takes(lambda _: torch.zeros(3)))
    for name, problem in (("0:output", "gives a str without a tensor"), ("1", "no tensor goes into it")):
        with pytest.raises(SourceError, match=problem):
            NamedPoints(model, [name]).values(torch.randn(3, 2))
