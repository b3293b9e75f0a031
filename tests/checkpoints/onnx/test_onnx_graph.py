from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import GraphProto, SparseTensorProto, TensorProto, helper, numpy_helper

from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.checkpoints.onnx import onnx_graph
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto


def array(name: str, *shape: int) -> TensorProto:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return numpy_helper.from_array(values, name)


def model(path: Path, nodes: list[NodeProto], *tensors: TensorProto, **fields: Any) -> Checkpoint:  # noqa: ANN401
    graph = helper.make_graph(nodes, "g", [], [], list(tensors), **fields)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return open_checkpoint(path)


def test_a_tensor_that_is_passed_on_has_both_names(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["a.weight"], ["b.weight"]),
        helper.make_node("Identity", ["b.weight"], ["c.weight"]),
        helper.make_node("Identity", ["a.weight"], ["result"]),
    ]
    checkpoint = model(tmp_path / "x.onnx", nodes, array("a.weight", 2, 3))
    assert set(checkpoint) == {"a.weight", "b.weight", "c.weight"}
    assert checkpoint["c.weight"].tolist() == checkpoint["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_matrix_in_a_constant_node_is_listed_and_a_shape_is_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["/fc/Constant_output_0"], value=array("", 3, 2)),
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([1, 2]))),
        helper.make_node("Constant", [], ["factor"], value_float=0.5),
        helper.make_node("Constant", [], ["mask"], value=array("", 4, 4)),
        helper.make_node("MatMul", ["x", "/fc/Constant_output_0"], ["y"], name="/fc/MatMul"),
    ]
    checkpoint = model(tmp_path / "x.onnx", nodes)
    (info,) = [info for info in checkpoint.info.values() if info.layer == "fc"]
    assert (info.parameter, info.shape) == ("weight", (2, 3))
    assert checkpoint[info.name].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert set(checkpoint) == {"/fc/Constant_output_0", "mask"}


def test_sparse_tensors_are_skipped_and_inner_graphs_said(tmp_path: Path) -> None:
    sparse = SparseTensorProto(values=array("s.weight", 2), indices=numpy_helper.from_array(np.array([0, 3])), dims=[9])
    inner = helper.make_graph([], "then", [], [], [array("hidden.weight", 2)])
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=GraphProto(name="else"))]
    checkpoint = model(tmp_path / "x.onnx", nodes, array("a.weight", 2), sparse_initializer=[sparse])
    assert list(checkpoint) == ["a.weight"]
    assert [(row.name, row.reason) for row in checkpoint.skipped] == [("s.weight", "a sparse tensor")]
    assert checkpoint.notes == ("the graphs within its If nodes were not looked into",)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"two of its tensors are called 'a\.weight'"):
        model(tmp_path / "x.onnx", [], array("a.weight", 2), array("a.weight", 3))


@pytest.mark.parametrize(("limit", "words"), [("NODE_LIMIT", "3 nodes"), ("TENSOR_LIMIT", "3 tensors")])
def test_more_than_fits_in_memory_is_refused(
    limit: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, limit, 3)
    nodes = [helper.make_node("Relu", ["x"], [f"y{number}"]) for number in range(4)]
    tensors = [array(f"{number}.weight", 2) for number in range(4)]
    chosen = (nodes, ()) if limit == "NODE_LIMIT" else ([], tensors)
    with pytest.raises(SourceError, match=f"more than {words}"):
        model(tmp_path / "x.onnx", chosen[0], *chosen[1])
