from __future__ import annotations

import pytest

from weightatlas.errors import SourceError
from weightatlas.evaluation.exported_graph import check_graph, is_arithmetic, is_operator


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.conv2d.default",
        "torch.ops.aten._native_batch_norm_legit_no_training.default",
        "torch.ops.torchvision.nms.default",
        "torch.ops.higher_order.cond",
        "_operator.floordiv",
        "math.ceil",
        "torch.sym_max",
        "torch._sym_sqrt",
    ],
)
def test_torchs_operators_are_let_in(target: str) -> None:
    assert is_operator(target)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "os.system",
        "torch.load",
        "torch.hub.load",
        "torch.os.system",
        "torch.ops.load_library",
        "torch.ops.aten",
        "torch.ops.aten.save.default",
        "torch.ops.aten.relu.default.__call__",
        "torch.ops.mylib.run.default",
        "torch.ops.higher_order.run_and_save_rng_state",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "_operator.__call__",
        "math.__loader__",
        "#mine:run",
        "torch.ops.aten.relu.default; import os",
        "torch.ops.aten.relu.default\n",
    ],
)
def test_everything_else_is_kept_out(target: str) -> None:
    assert not is_operator(target)


@pytest.mark.parametrize(
    "text",
    [
        "s0",
        "2*s77 + 1",
        "(s0 - 1)//2",
        "Max(1, s0)",
        "s0**2",
        "Symbol('s77', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s77', positive=True, integer=True))",
        "Pow(Symbol('s77', integer=True), Integer(-1))",
        "FloorDiv(s0 + 1, 2)",
        "-1.5*s1",
    ],
)
def test_arithmetic_is_let_in(text: str) -> None:
    assert is_arithmetic(text)


@pytest.mark.parametrize(
    "text",
    [
        "exit()",
        "__import__('os')",
        "eval(chr(49))",
        "s0.__class__",
        "s0 .real",
        "().__class__",
        "lambda: 1",
        "9**9**9",
        "s0**99**99",
        "(9*9)**99999",
        "Pow(9, Pow(9, 9))",
        "Pow(Integer(9), Integer(999999))",
        "Symbol('x'+'y')",
        "Symbol('s0'); exit()",
        "9" * 30,
        "s0 + " * 1000 + "s0",
        "[s0 for s0 in s0]",
        "s0\n+1",
        '"text"',
    ],
)
def test_everything_else_is_no_arithmetic(text: str) -> None:
    assert not is_arithmetic(text)


@pytest.mark.parametrize(
    "program",
    [
        {"inputs": [{"as_tensor": {"name": "x = 1"}}]},
        {"inputs": [{"as_tensor": {"name": "x-y"}}]},
        {"signature": {"in_spec": '[1, {"type": "os.system", "context": null, "children_spec": []}]'}},
        {
            "signature": {
                "in_spec": '[1, {"type": "builtins.dict", "context": "{\\"__enum__\\": 1}", "children_spec": []}]'
            }
        },
        {"as_string": "'; import os"},
        {"as_string": "a__b"},
        {"values": {"x y": 1}},
    ],
)
def test_texts_that_could_become_code_are_refused(program: object) -> None:
    with pytest.raises(SourceError, match="which no plain export has"):
        check_graph("net.pt2", program)


def test_metadata_and_guards_may_say_anything() -> None:
    check_graph("net.pt2", {"nodes": [{"metadata": {"stack_trace": "File 'x', line 1\n  import os"}}]})
    check_graph("net.pt2", {"guards_code": ["L['x'].size()[0] >= 2"]})


def test_nesting_is_bounded() -> None:
    program: object = "x"
    for _ in range(100):
        program = {"a": program}
    with pytest.raises(ValueError, match="nested too deeply"):
        check_graph("net.pt2", program)
