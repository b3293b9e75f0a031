from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch

from weightatlas.checkpoints.arranging import arrange
from weightatlas.checkpoints.hdf5.keras import open_keras
from weightatlas.checkpoints.hdf5.keras_archive import detect_keras_archive, open_keras_archive
from weightatlas.checkpoints.places.blob import LocalBlob

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.checkpoints import Checkpoint

Tensors = dict[tuple[str, str], torch.Tensor]

NETWORKS = """
import sys
import keras
import numpy as np
from keras import layers

inputs = x = keras.Input((12, 12, 3))
x = layers.Conv2D(4, 3, name="stem")(x)
x = layers.BatchNormalization(name="bn")(x)
x = layers.BatchNormalization(scale=False, name="bn_without_scale")(x)
x = layers.BatchNormalization(center=False, name="bn_without_shift")(x)
x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(x)
x = layers.SeparableConv2D(6, 3, name="sep")(x)
x = layers.Conv2DTranspose(5, 2, name="up")(x)
x = layers.LayerNormalization(name="ln")(x)
x = layers.Reshape((-1, 5))(x)
x = layers.MultiHeadAttention(2, 3, name="mha")(x, x)
x = layers.Conv1D(4, 3, name="c1")(x)
inner = keras.Sequential([keras.Input((8,)), layers.Dense(7), layers.Dense(3, name="last")], name="head")
both = layers.Bidirectional(layers.LSTM(4), name="bi")(x)
timed = layers.GlobalAveragePooling1D()(layers.TimeDistributed(layers.Dense(3, name="step"), name="td")(x))
words = keras.Input((5,), dtype="int32")
table = layers.GlobalAveragePooling1D()(layers.Embedding(20, 6, name="table")(words))
y = layers.Concatenate()([inner(both), timed, table])
y = layers.Dense(8, name="fc")(layers.Dropout(0.5, name="drop")(y))
y = layers.PReLU(name="slope")(layers.GroupNormalization(groups=4, name="gn")(y))
y = layers.EinsumDense("ab,cb->ac", output_shape=4, bias_axes="c", name="sum")(y)
model = keras.Model([inputs, words], y)
model.compile("adam", "mse")
data = [np.zeros((2, 12, 12, 3)), np.zeros((2, 5), "int32")]
model.fit(data, np.zeros((2, 4)), verbose=0)
for ending in (".keras", ".weights.h5"):
    (model.save if ending == ".keras" else model.save_weights)(sys.argv[1] + "/net" + ending)
model.save(sys.argv[1] + "/net.h5")


class Block(layers.Layer):
    def __init__(self, width, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(width, 3, padding="same")
        self.norms = [layers.BatchNormalization() for _ in range(2)]

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), name="scale")
        self.conv.build(shape)
        for norm in self.norms:
            norm.build((*shape[:-1], self.conv.filters))

    def call(self, x):
        return self.norms[1](self.norms[0](self.conv(x)))


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [Block(3, name="one"), Block(5, name="two")]
        self.fc = layers.Dense(2, name="out")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean(axis=(1, 2)))


net = Net()
net(np.zeros((1, 8, 8, 3), "float32"))
net.save_weights(sys.argv[1] + "/subclassed.weights.h5")
parts = [keras.Input((8, 8, 3))]
for number in range(12):
    parts.append(layers.Conv2D(32, 3, padding="same", use_bias=False, name=f"k{number}"))
    parts.append(layers.BatchNormalization(name=f"b{number}"))
parts += [layers.GlobalAveragePooling2D(), layers.Dense(40, name="a")]
keras.Sequential(parts).save_weights(sys.argv[1] + "/sequential.weights.h5")
half = keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="bfloat16", name="half")])
half.save_weights(sys.argv[1] + "/half.weights.h5")
np.save(sys.argv[1] + "/half.npy", keras.ops.convert_to_numpy(keras.ops.cast(half.layers[0].kernel, "float32")))
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Keras itself writes, in another process: it takes seconds to import."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    folder = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder / "home")}
    command = [sys.executable, "-c", NETWORKS, str(folder)]
    subprocess.run(command, check=True, env=environment, capture_output=True)  # noqa: S603 - this Python
    return folder


def opened(path: Path) -> Checkpoint:
    blob = LocalBlob(path)
    is_archive = detect_keras_archive(blob, blob.read(0, 64))
    return arrange(str(path), (open_keras_archive if is_archive else open_keras)(blob), None)


def tensors(path: Path) -> Tensors:
    checkpoint = opened(path)
    found = {(info.layer, info.parameter): checkpoint[name] for name, info in checkpoint.info.items()}
    assert len(found) == len(checkpoint)
    assert all(tuple(found[info.layer, info.parameter].shape) == info.shape for info in checkpoint.info.values())
    return found


def assert_same(first: Tensors, second: Tensors) -> None:
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


def test_an_archive_gives_what_the_same_network_gives_in_keras_2s_layout(networks: Path) -> None:
    found = tensors(networks / "net.keras")
    assert_same(found, tensors(networks / "net.h5"))
    assert {(layer, parameter): tuple(tensor.shape) for (layer, parameter), tensor in found.items()}.items() >= {
        ("stem", "weight"): (4, 3, 3, 3),
        ("bn", "running_var"): (4,),
        ("bn_without_scale", "bias"): (4,),
        ("bn_without_shift", "weight"): (4,),
        ("dw", "weight"): (8, 1, 3, 3),
        ("sep.depthwise", "weight"): (8, 1, 3, 3),
        ("sep.pointwise", "weight"): (6, 8, 1, 1),
        ("up", "weight"): (6, 5, 2, 2),
        ("mha.query", "weight"): (6, 5),
        ("mha.attention_output", "weight"): (5, 6),
        ("c1", "weight"): (4, 5, 3),
        ("bi.forward_lstm.lstm_cell", "recurrent_weight"): (16, 4),
        ("td.step", "weight"): (3, 4),
        ("head.last", "weight"): (3, 7),
        ("table", "weight"): (20, 6),
        ("fc", "weight"): (8, 12),
        ("slope", "weight"): (8,),
        ("sum", "weight"): (4, 8),
    }.items()


def test_an_archive_is_in_the_order_of_its_network_and_says_what_wrote_it(networks: Path) -> None:
    checkpoint = opened(networks / "net.keras")
    layers = list(dict.fromkeys(info.layer.partition(".")[0] for info in checkpoint.info.values()))
    assert layers[:9] == ["stem", "bn", "bn_without_scale", "bn_without_shift", "dw", "sep", "up", "ln", "mha"]
    assert layers[-1] == "sum"
    assert checkpoint.metadata.keys() == {"keras_version", "date_saved"}
    assert checkpoint.file_format == "Keras 3"
    (state,) = checkpoint.skipped
    assert state.name == "optimizer"
    assert "training" in state.reason


def test_weights_alone_lack_only_what_their_file_does_not_say(networks: Path) -> None:
    """Whether the one vector beside the moments is a scale or a shift, and how a sum's letters run."""
    expected, found = tensors(networks / "net.h5"), tensors(networks / "net.weights.h5")
    renamed = {("bn_without_scale", "0"): "bias", ("bn_without_shift", "0"): "weight"}
    found = {(layer, renamed.get((layer, parameter), parameter)): value for (layer, parameter), value in found.items()}
    assert torch.equal(found.pop(("sum", "weight")), expected.pop(("sum", "weight")).T)
    assert_same(found, expected)


def test_a_subclassed_networks_lists_are_no_layers(networks: Path) -> None:
    found = tensors(networks / "subclassed.weights.h5")
    assert {layer for layer, _ in found} == {
        *(f"{block}{layer}" for block, layer in (("one", ".conv2d"), ("two", ".conv2d_1"), ("one", ""), ("two", ""))),
        *("one.batch_normalization", "one.batch_normalization_1"),
        *("two.batch_normalization_2", "two.batch_normalization_3"),
        "out",
    }
    assert found["one", "0"].shape == (3,)
    assert found["two.conv2d_1", "weight"].shape == (5, 3, 3, 3)
    assert found["two.batch_normalization_3", "running_var"].shape == (5,)


def test_weights_alone_stand_in_the_order_in_which_they_were_written(networks: Path) -> None:
    """By path, batch normalizations would come first. HDF5 gathers small arrays: a few stand early."""
    layers = list(dict.fromkeys(info.layer for info in opened(networks / "sequential.weights.h5").info.values()))
    assert [layer for layer in layers if layer[0] == "k"] == [f"k{number}" for number in range(12)]
    assert [layer for layer in layers if layer[0] == "b"] == [f"b{number}" for number in range(12)]
    assert layers[-1] == "a"
    written = [f"{kind}{number}" for number in range(12) for kind in "kb"] + ["a"]
    assert max(abs(written.index(layer) - place) for place, layer in enumerate(layers)) <= 4


def test_bfloat16_weights_keep_their_type(networks: Path) -> None:
    found = tensors(networks / "half.weights.h5")
    assert found["half", "weight"].dtype == torch.bfloat16
    np.testing.assert_array_equal(found["half", "weight"].float(), np.load(networks / "half.npy").T)


@pytest.mark.parametrize("container", ["layers", "_layer_checkpoint_dependencies"])
def test_files_from_before_objects_had_names_are_called_by_their_paths(
    container: str, networks: Path, tmp_path: Path
) -> None:
    shutil.copy(networks / "net.weights.h5", tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        file.visititems(lambda _, node: node.attrs.pop("name", None) and None)
        if container != "layers":
            file.move("layers", container)
    found = tensors(tmp_path / "old.h5")
    assert len(found) == len(tensors(networks / "net.h5"))
    assert {layer for layer, _ in found} >= {
        "conv2d",
        "batch_normalization_1",
        "depthwise_conv2d",
        "separable_conv2d.pointwise",
        "conv2d_transpose",
        "multi_head_attention.attention_output",
        "bidirectional.forward_layer.cell",
        "sequential.dense_1",
        "embedding",
    }
    assert found["bidirectional.forward_layer.cell", "recurrent_weight"].shape == (16, 4)
    assert found["conv2d_transpose", "weight"].shape == (6, 5, 2, 2)  # torch has (in, out, h, w) there
    assert found["multi_head_attention.query", "weight"].shape == (6, 5)


def write(path: Path, groups: dict[str, list[Any]], names: dict[str, str] | None = None) -> None:
    with h5py.File(path, "w") as file:
        for group, values in groups.items():
            place = file.create_group(f"{group}/vars")
            for number, value in enumerate(values):
                place[str(number)] = value
        for group, name in (names or {}).items():
            file.require_group(f"{group}/vars").attrs["name"] = name


def ones(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.ones(shape, "f4")


@pytest.mark.parametrize(
    ("group", "values", "expected"),
    [
        ("layers/batch_normalization", [ones(4)] * 4, {"weight", "bias", "running_mean", "running_var"}),
        ("layers/batch_normalization", [ones(4)] * 3, {"0", "running_mean", "running_var"}),
        ("layers/batch_normalization", [ones(4)] * 2, {"running_mean", "running_var"}),
        ("layers/batch_normalization", [ones(4)] * 7, {"0", "1", "2", "3", "4", "5", "6"}),
        ("layers/layer_normalization_2", [ones(4)] * 2, {"weight", "bias"}),
        ("layers/layer_normalization", [ones(4)], {"0"}),
        ("layers/rms_normalization", [ones(4)], {"weight"}),
        ("layers/dense", [ones(4, 3)], {"weight"}),
        ("layers/dense", [ones(4, 3).astype("i1"), ones(3), ones(3)], {"weight", "bias", "2"}),
        ("layers/dense", [ones(3)], {"0"}),
        ("layers/dropout/seed_generator", [np.zeros(2, "u4")], {"0"}),
        ("layers/strange", [ones(4)] * 4, {"weight", "bias", "running_mean", "running_var"}),
        ("layers/strange", [ones(4)] * 3, {"0", "1", "2"}),
        ("layers/strange", [ones(3, 3, 4, 5), ones(5)], {"weight", "bias"}),
        ("layers/strange", [ones(3, 3, 4, 5), ones(4)], {"0", "1"}),
        ("layers/strange", [ones(1, 7, 5)], {"0"}),
        ("layers/strange", [np.float32(1)], {"0"}),
    ],
)
def test_variables_are_told_by_class_then_by_shape_and_else_keep_their_numbers(
    group: str, values: list[Any], expected: set[str], tmp_path: Path
) -> None:
    write(tmp_path / "x.h5", {group: values})
    assert {parameter for _, parameter in tensors(tmp_path / "x.h5")} == expected


def test_what_keeps_its_number_keeps_its_shape(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", {"layers/strange": [ones(3, 3, 4, 5), ones(4)], "layers/word_embedding": [ones(9, 4)]})
    found = tensors(tmp_path / "x.h5")
    assert found["strange", "0"].shape == (3, 3, 4, 5)
    assert found["word_embedding", "weight"].shape == (9, 4)


def test_two_layers_of_one_name_keep_their_paths(tmp_path: Path) -> None:
    groups = {"layers/dense": [ones(2, 3)], "layers/dense_1": [ones(3, 4)], "layers/dense_2": [ones(4, 5)]}
    write(tmp_path / "x.h5", groups, {"layers/dense": "a", "layers/dense_1": "a", "layers/dense_2": "b"})
    assert {layer for layer, _ in tensors(tmp_path / "x.h5")} == {"dense", "dense_1", "b"}


def test_a_long_name_is_not_said_again_for_every_layer_within(tmp_path: Path) -> None:
    groups = {f"layers/sequential/layers/dense_{number}": [ones(2, 3)] for number in range(3)}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for group, values in groups.items():
            file[f"{group}/vars/0"] = values[0]
        file.require_group("layers/sequential/vars").attrs["name"] = "n" * 50_000
    assert max(len(layer) for layer, _ in tensors(tmp_path / "x.h5")) < 300


def test_a_layer_that_names_its_variables_is_believed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["mine/vars/kernel"] = ones(2, 3)
        file["mine/vars/bias"] = ones(3)
    found = tensors(tmp_path / "x.h5")
    assert found["mine", "weight"].shape == (3, 2)
    assert found["mine", "bias"].shape == (3,)


def test_variables_of_the_network_itself_are_read(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", {"": [ones(1, 7, 5)], "layers/dense": [ones(2, 3)]})
    assert [parameter for _, parameter in tensors(tmp_path / "x.h5")] == ["0", "weight"]


def test_what_cannot_be_read_is_a_row(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", {"layers/dense": [ones(2, 3)], "layers/words": [[b"one"]], "metrics/mean": [ones(1)]})
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["layers/dense/vars/1"] = h5py.ExternalLink("other.h5", "/a")
    reasons = {row.name: row.reason for row in opened(tmp_path / "x.h5").skipped}
    assert reasons.keys() == {"layers/dense/vars/1", "layers/words/vars/0", "metrics"}
    assert "another file" in reasons["layers/dense/vars/1"]
