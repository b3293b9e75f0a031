from __future__ import annotations

import torch
from torch.nn import functional

from weightatlas.degeneracy.accumulating.products import multiplied
from weightatlas.evaluation.elementwise import function_name

W, X = torch.randn(4, 3), torch.randn(5, 3)


def test_the_same_product_is_read_however_it_is_written() -> None:
    for name, arguments, named in (
        ("linear", (X, W), {}),
        ("linear", (X,), {"weight": W, "bias": None}),
        ("matmul", (X, W.T), {}),
        ("mm", (X,), {"mat2": W.T}),
        ("addmm", (torch.zeros(4), X, W.T), {}),
    ):
        found = multiplied(name, arguments, named)
        assert found is not None
        weight = found.weight.T if found.form.stored_inputs_first else found.weight
        assert torch.equal(found.inputs @ weight.T, X @ W.T)


def test_operators_of_graphs_are_read() -> None:
    table, rows = torch.randn(6, 2), torch.tensor([1, 2])
    for arguments in ((rows, table), (table, rows)):
        found = multiplied("embedding", arguments, {})
        assert found is not None
        assert found.weight is table
    assert function_name(torch.ops.aten.conv2d.default) == "conv2d"
    found = multiplied("conv2d", (torch.zeros(2, 5, 5), torch.zeros(3, 2, 3, 3)), {"padding": "same"})
    assert found is not None
    assert found.inputs.shape == (1, 2, 5, 5)
    assert found.form.padding == ((1, 1), (1, 1))


def test_what_is_no_plain_product_is_not_read() -> None:
    assert multiplied("einsum", ("ij,kj->ik", X, W), {}) is None
    assert multiplied("matmul", (X[None], torch.zeros(1, 3, 4)), {}) is None
    assert multiplied("addmm", (torch.zeros(4), X, W.T), {"alpha": 2}) is None
    assert multiplied("embedding", (torch.tensor([0]), W), {"max_norm": 1.0}) is None
    assert multiplied(function_name(functional.relu), (X,), {}) is None
