from __future__ import annotations

import torch

from weightatlas.anatomy.graph.operators import bound_arguments, operator_name, shape_of, shapes_of


def test_names_are_those_of_aten_without_what_says_in_place() -> None:
    operators = (torch.ops.aten.add_.Tensor, torch.ops.aten.__and__.Tensor, torch.ops.aten.relu.default)
    assert [operator_name(one) for one in operators] == ["add", "__and__", "relu"]


def test_arguments_have_their_names_and_defaults() -> None:
    found = bound_arguments(torch.ops.aten.softmax.int, (1, -1), {})
    assert found == {"self": 1, "dim": -1, "dtype": None}
    assert bound_arguments(len, (1,), {"two": 2}) == {"0": 1, "two": 2}


def test_shapes_of_one_answer_of_several_and_of_none() -> None:
    assert shape_of(torch.zeros(2, 3)) == (2, 3)
    assert shapes_of((torch.zeros(2), None)) == ((2,), ())
    assert shapes_of(3) == ()
