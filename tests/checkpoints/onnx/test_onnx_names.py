"""Networks exported both ways that torch has come back under their own names, in their own order."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.checkpoints.onnx.onnx_graph import Node
from weightatlas.checkpoints.onnx.onnx_names import module_path

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto

FOLDED = ("conv1.weight", "stages.0.conv.weight", "stages.1.conv.weight")
"""Kernels into which exporters fold the norms behind them."""


class Stage(nn.Module):
    """A convolution, a norm, and one more convolution with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.mix = nn.Sequential(nn.PReLU(4), nn.Sequential(nn.Conv2d(4, 4, 1)))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.mix(self.bn(self.conv(maps)))
        return mixed + maps


class Convolutions(nn.Module):
    """Every kind of layer whose names or kernels an exporter changes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 5, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.stages = nn.Sequential(Stage(), Stage())
        self.up = nn.ConvTranspose2d(4, 6, 2)
        self.group = nn.GroupNorm(2, 6)
        self.instance = nn.InstanceNorm2d(6, affine=True)
        self.split = nn.ConvTranspose2d(6, 4, 2, groups=2)
        self.fc = nn.Linear(4, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.stages(torch.relu(self.bn1(self.conv1(image))))
        maps = self.split(self.instance(self.group(self.up(maps))))
        scores: torch.Tensor = self.fc(maps.mean((2, 3)))
        return scores


class Block(nn.Module):
    """A block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.query = nn.Linear(8, 8, bias=False)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normal = self.query(self.norm(tokens))
        tokens = tokens + self.attention(normal, normal, normal, need_weights=False)[0]
        mixed: torch.Tensor = tokens + self.mlp(tokens) * self.scale
        return mixed


class Transformer(nn.Module):
    """Two blocks between an embedding and a head; a matrix of its own that lies (in, out)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.narrow = nn.Parameter(torch.ones(8, 5))
        self.head = nn.Linear(5, 20, bias=False)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        tokens = self.words(words)
        for block in self.blocks:
            tokens = block(tokens)
        scores: torch.Tensor = self.head(tokens @ self.narrow)
        return scores


def varied(network: nn.Module) -> nn.Module:
    """No two tensors are the same: exporters keep equal ones once."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.dtype.is_floating_point:
            values = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(values + 0.5 if "var" in name else values - 0.5)
    return network.eval()


@pytest.fixture(scope="module")
def convolutions() -> nn.Module:
    return varied(Convolutions())


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    return varied(Transformer())


def export(network: nn.Module, inputs: torch.Tensor, path: Path, *, dynamo: bool, **options: object) -> Checkpoint:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (inputs,), path, dynamo=dynamo, **options)  # type: ignore[arg-type]
    return open_checkpoint(path)


def by_key(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return {f"{info.layer}.{info.parameter}": checkpoint[name] for name, info in checkpoint.info.items()}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_transformer_comes_back_whole(transformer: nn.Module, tmp_path: Path, *, dynamo: bool) -> None:
    checkpoint = export(transformer, torch.arange(10).reshape(2, 5), tmp_path / "x.onnx", dynamo=dynamo)
    assert_equal(by_key(checkpoint), by_key(open_checkpoint(transformer)))
    layers = list(dict.fromkeys(info.layer for info in checkpoint.info.values()))
    assert layers[0] == "words"
    assert layers[-1] == "head"
    assert layers.index("blocks.0.mlp.2") < layers.index("blocks.1.norm") < layers.index("blocks.1.mlp.0")


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_convolutional_network_comes_back_but_for_folded_norms(
    convolutions: nn.Module, tmp_path: Path, *, dynamo: bool
) -> None:
    found = by_key(export(convolutions, torch.rand(2, 3, 12, 12), tmp_path / "x.onnx", dynamo=dynamo))
    expected = by_key(open_checkpoint(convolutions))
    norms = {key for key in expected if ".bn." in key or key.startswith("bn1.")}
    assert set(found) == set(expected) - norms | {key.replace("weight", "bias") for key in FOLDED}
    same = {key for key in expected if key not in norms and key not in FOLDED}
    assert_equal({key: found[key] for key in same}, {key: expected[key] for key in same})
    variance, scale = expected["bn1.running_var"], expected["bn1.weight"]
    kernel = expected["conv1.weight"] * (scale / (variance + 1e-5).sqrt())[:, None, None, None]
    torch.testing.assert_close(found["conv1.weight"], kernel)


def test_norms_that_are_not_folded_keep_their_statistics(convolutions: nn.Module, tmp_path: Path) -> None:
    mode = torch.onnx.TrainingMode.PRESERVE
    image = torch.rand(2, 3, 12, 12)
    checkpoint = export(convolutions, image, tmp_path / "x.onnx", dynamo=False, training=mode)
    expected = by_key(open_checkpoint(convolutions))
    assert_equal(by_key(checkpoint), {key: value for key, value in expected.items() if "num_batches" not in key})


def test_equal_parameters_come_under_each_of_their_names(tmp_path: Path) -> None:
    network = nn.Sequential(nn.LayerNorm(4), nn.LayerNorm(4)).eval()
    checkpoint = export(network, torch.rand(2, 4), tmp_path / "x.onnx", dynamo=False)
    assert len(numpy_names(tmp_path / "x.onnx")) == 2
    assert_equal(by_key(checkpoint), by_key(open_checkpoint(network)))


def numpy_names(path: Path) -> list[str]:
    return [tensor.name for tensor in onnx.load(path).graph.initializer]


Arrays = dict[str, tuple[int, ...]]


def keys_of(path: Path, nodes: list[NodeProto], arrays: Arrays, *, producer: str = "") -> dict[str, tuple[str, ...]]:
    """Name in the file -> key and shape as text, of a graph made by hand."""
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in arrays.items()]
    made = helper.make_model(helper.make_graph(nodes, "g", [], [], tensors), producer_name=producer)
    path.write_bytes(made.SerializeToString())
    checkpoint = open_checkpoint(path)
    keys = {name: f"{info.layer}.{info.parameter}" for name, info in checkpoint.info.items()}
    return {name: (key, "x".join(map(str, checkpoint[name].shape))) for name, key in keys.items()}


def node(operator: str, name: str, *inputs: str, output: str = "", **attributes: Any) -> NodeProto:  # noqa: ANN401
    return helper.make_node(operator, list(inputs), [output or f"{name}_output_0"], name=name, **attributes)


def test_what_a_matrix_is_multiplied_with_says_how_it_lies(tmp_path: Path) -> None:
    arrays = {"a.weight": (4, 3), "b.weight": (3, 4), "c.weight": (4, 3), "d.weight": (5, 3, 4), "e.weight": (4, 4)}
    nodes = [
        node("MatMul", "/a/MatMul", "x", "a.weight"),
        node("Gemm", "/b/Gemm", "x", "b.weight", transB=1),
        node("Gemm", "/c/Gemm", "x", "c.weight"),
        node("MatMul", "/d/MatMul", "x", "d.weight"),
        node("MatMul", "/e/MatMul", "x", "e.weight"),
        node("MatMul", "/e/MatMul_1", "e.weight", "x"),
    ]
    shapes = {name: shape for name, (_, shape) in keys_of(tmp_path / "x.onnx", nodes, arrays).items()}
    assert shapes == {"a.weight": "3x4", "b.weight": "3x4", "c.weight": "3x4", "d.weight": "5x3x4", "e.weight": "4x4"}
    shapes = {
        name: shape for name, (_, shape) in keys_of(tmp_path / "x.onnx", nodes, arrays, producer="pytorch").items()
    }
    assert shapes["a.weight"] == "4x3"  # torch kept the name, and so the matrix


def test_a_matrix_and_what_is_added_to_it_get_the_name_of_their_module(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "/block/fc/MatMul", "x", "onnx::MatMul_1", output="y"),
        node("Add", "/block/fc/Add", "onnx::Add_2", "y"),
    ]
    found = keys_of(tmp_path / "x.onnx", nodes, {"onnx::Add_2": (3,), "onnx::MatMul_1": (4, 3)}, producer="pytorch")
    assert found == {"onnx::MatMul_1": ("block.fc.weight", "3x4"), "onnx::Add_2": ("block.fc.bias", "3")}
    assert list(found) == ["onnx::MatMul_1", "onnx::Add_2"]  # as they are used, not as they stand in the file


def test_a_matrix_is_called_after_the_bias_it_belongs_to(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "/attn/MatMul", "x", "onnx::MatMul_1", output="y"),
        node("Add", "/attn/Add", "model.attn.in_proj_bias", "y"),
    ]
    found = keys_of(tmp_path / "x.onnx", nodes, {"onnx::MatMul_1": (4, 3), "model.attn.in_proj_bias": (3,)})
    assert found["onnx::MatMul_1"] == ("attn.in_proj_weight", "3x4")


def test_a_quantised_or_cast_weight_is_named_by_what_it_goes_to(tmp_path: Path) -> None:
    nodes = [
        node("DequantizeLinear", "", "onnx::Conv_7_quantized", "scale", output="w"),
        node("Conv", "/stem/conv/Conv", "x", "w"),
    ]
    found = keys_of(tmp_path / "x.onnx", nodes, {"onnx::Conv_7_quantized": (4, 3, 5, 5)})
    assert found == {"onnx::Conv_7_quantized": ("stem.conv.weight", "4x3x5x5")}


def test_names_that_would_collide_stay_as_they_are(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "/shared/Conv", "x", "onnx::Conv_1"),
        node("Conv", "/shared/Conv_1", "x", "onnx::Conv_2"),
        node("Conv", "/other/Conv", "x", "onnx::Conv_3"),
        node("Conv", "/other/Conv_1", "x", "other.weight"),
    ]
    names = ["onnx::Conv_1", "onnx::Conv_2", "onnx::Conv_3", "other.weight"]
    found = keys_of(tmp_path / "x.onnx", nodes, dict.fromkeys(names, (4, 3, 5, 5)))
    keys = {name: key for name, (key, _) in found.items()}
    assert keys == {name: name if "." in name else f"{name}.{name}" for name in names}


def test_weights_of_a_graph_without_names_are_listed_as_they_are(tmp_path: Path) -> None:
    nodes = [node("Conv", "Conv_0", "x", "497", "498"), node("MatMul", "MatMul_1", "y", "499")]
    found = keys_of(tmp_path / "x.onnx", nodes, {"497": (4, 3, 5, 5), "498": (4,), "499": (4, 3)})
    assert {name: shape for name, (_, shape) in found.items()} == {"497": "4x3x5x5", "498": "4", "499": "3x4"}


def test_constants_of_the_graph_are_no_parameters(tmp_path: Path) -> None:
    tensors = [
        numpy_helper.from_array(np.array([0, -1]), "val_1"),
        numpy_helper.from_array(np.array(0.125, np.float32), "val_2"),
        numpy_helper.from_array(np.zeros((1, 2, 4), np.float32), "val_3"),
        numpy_helper.from_array(np.ones((1, 8, 3), np.float32), "val_4"),
        numpy_helper.from_array(np.array([1, 2]), "val_5"),
        numpy_helper.from_array(np.ones((2, 3), np.float32), "table"),
    ]
    nodes = [
        node("Reshape", "/a/Reshape", "x", "val_1"),
        node("Mul", "/a/Mul", "y", "val_2"),
        node("GRU", "/rnn/GRU", "z", "val_4", "", "", "", "val_3"),
    ]
    made = helper.make_model(helper.make_graph(nodes, "g", [], [], tensors))
    (tmp_path / "x.onnx").write_bytes(made.SerializeToString())
    checkpoint = open_checkpoint(tmp_path / "x.onnx")
    assert {name: info.layer for name, info in checkpoint.info.items()} == {"val_4": "rnn", "table": "table"}
    assert {row.name: row.reason.rpartition(" ")[2] for row in checkpoint.skipped} == {
        "val_1": "Reshape",
        "val_2": "Mul",
        "val_3": "GRU",
        "val_5": "it",
    }


@pytest.mark.parametrize(
    ("name", "scopes", "path"),
    [
        ("/conv1/Conv", "", "conv1"),
        ("/features/features.0/features.0.1/conv/Conv_1", "", "features.0.1.conv"),
        ("/Conv", "", ""),
        ("Conv_12", "", ""),
        ("", "", ""),
        ("tower/dense/MatMul", "", "tower.dense"),
        ("node_linear", "['', 'blocks.0', 'blocks.0.fc', 'linear']", "blocks.0.fc"),
        ("node_add", "['', 'add']", ""),
        ("node_add", "[]", ""),
    ],
)
def test_the_path_of_a_module(name: str, scopes: str, path: str) -> None:
    assert module_path(Node("Conv", name, (), (), scopes)) == path
