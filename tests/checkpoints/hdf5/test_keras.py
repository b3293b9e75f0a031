from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.hdf5.keras_names import canonical_names
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Write = Callable[[Path, Mapping[str, Mapping[str, Any]]], None]


def by_key(path: Path) -> dict[tuple[str, str], torch.Tensor]:
    checkpoint = open_checkpoint(path)
    return {(info.layer, info.parameter): checkpoint[name] for name, info in checkpoint.info.items()}


def array(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.reference
def test_squeezenets_two_files_hold_the_same_tensors_under_the_same_keys(reference: Path) -> None:
    keras = by_key(reference / "squeezenet" / "squeezenet_v1.1_notop.h5")
    arrays = by_key(reference / "squeezenet" / "squeezenet_v1.1_notop.npz")
    assert keras.keys() == arrays.keys()
    assert len(keras) == 50
    assert all(torch.equal(keras[key], arrays[key]) for key in keras)


def test_every_kind_of_kernel_comes_out_as_torch_has_it(write_keras_layers: Write, tmp_path: Path) -> None:
    dense, conv1d, conv2d, conv3d = array(5, 7), array(3, 4, 6), array(3, 5, 4, 6), array(2, 3, 5, 4, 6)
    depthwise, pointwise = array(3, 5, 4, 2), array(1, 1, 8, 6)
    write_keras_layers(
        tmp_path / "x.h5",
        {
            "dense": {"dense/kernel:0": dense, "dense/bias:0": array(7)},
            "conv1d_3": {"conv1d_3/kernel:0": conv1d},
            "conv": {"conv/kernel:0": conv2d},
            "conv3d": {"conv3d/kernel:0": conv3d},
            "dw": {"dw/depthwise_kernel:0": depthwise},
            "sep": {"sep/depthwise_kernel:0": depthwise, "sep/pointwise_kernel:0": pointwise, "sep/bias:0": array(6)},
            "table": {"table/embeddings:0": array(100, 8)},
        },
    )
    found = by_key(tmp_path / "x.h5")
    assert torch.equal(found["dense", "weight"], torch.from_numpy(dense).T)
    for o in range(6):
        for i in range(4):
            np.testing.assert_array_equal(found["conv1d_3", "weight"][o, i], conv1d[:, i, o])
            np.testing.assert_array_equal(found["conv", "weight"][o, i], conv2d[:, :, i, o])
            np.testing.assert_array_equal(found["conv3d", "weight"][o, i], conv3d[:, :, :, i, o])
    for layer in ("dw", "sep.depthwise"):
        assert found[layer, "weight"].shape == (8, 1, 3, 5)
        for channel in range(4):
            for multiple in range(2):
                kernel = found[layer, "weight"][2 * channel + multiple, 0]
                np.testing.assert_array_equal(kernel, depthwise[:, :, channel, multiple])
    assert found["sep.pointwise", "weight"].shape == (6, 8, 1, 1)
    assert found["sep", "bias"].shape == (6,)
    assert found["table", "weight"].shape == (100, 8)
    assert all(tensor.is_contiguous() for tensor in found.values())


def test_batch_norm_takes_torchs_names(write_keras_layers: Write, tmp_path: Path) -> None:
    names = ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0")
    write_keras_layers(tmp_path / "x.h5", {"bn": {f"bn/{name}": array(4) for name in names}})
    assert [parameter for _, parameter in by_key(tmp_path / "x.h5")] == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
    ]


@pytest.mark.parametrize(
    ("layer", "weights", "expected"),
    [
        ("fire2/squeeze1x1", {"uniform2": 4, "fire2/squeeze1x1_b": 1}, ["weight", "bias"]),
        ("conv1", {"conv1_W": 4, "conv1_b": 1}, ["weight", "bias"]),
        ("conv1", {"conv1_W:0": 4, "conv1_b:0": 1}, ["weight", "bias"]),
        ("bn1", {"bn1_gamma": 1, "bn1_beta": 1, "bn1_running_mean": 1, "bn1_running_std": 1},
         ["weight", "bias", "running_mean", "running_var"]),
        ("dense_1", {"dense_1/kernel:0": 2, "dense_1/bias:0": 1}, ["weight", "bias"]),
        ("dense_1", {"dense/kernel:0": 2, "dense/bias:0": 1}, ["dense.weight", "dense.bias"]),
        ("lstm", {"lstm/lstm_cell/kernel:0": 2, "lstm/lstm_cell/recurrent_kernel:0": 2, "lstm/lstm_cell/bias:0": 1},
         ["lstm_cell.weight", "lstm_cell.recurrent_weight", "lstm_cell.bias"]),
        ("prelu", {"prelu/alpha:0": 1}, ["weight"]),
        ("norm", {"norm/scale:0": 1}, ["weight"]),
        ("fc", {"net/fc/kernel:0": 2, "net/fc/bias:0": 1}, ["weight", "bias"]),
        ("odd", {"odd/thing:0": 1, "odd/other:0": 1}, ["bias", "other"]),
        ("twice", {"a/kernel:0": 2, "a/kernel_1:0": 2}, ["kernel", "kernel_1"]),
    ],
)  # fmt: skip
def test_names_become_torchs(layer: str, weights: dict[str, int], expected: list[str]) -> None:
    found = canonical_names(layer, [(name, (3,) * dimensions) for name, dimensions in weights.items()])
    assert [".".join(part for part in (*inner.split("/"), parameter) if part) for inner, parameter in found] == expected


def test_a_whole_saved_model_opens_and_its_classes_tell_depthwise_kernels(tmp_path: Path) -> None:
    kernel = array(3, 3, 4, 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        layers = [{"class_name": "DepthwiseConv2D", "config": {"name": "block"}}]
        file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = ["block"]  # text of any length, as Keras writes today
        root.create_group("block").attrs["weight_names"] = ["block/kernel"]
        root["block"]["block/kernel"] = kernel
    (tensor,) = by_key(tmp_path / "x.h5").values()
    assert tensor.shape == (4, 1, 3, 3)


def test_names_in_pieces_are_put_together(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number, layer in enumerate((b"one", b"two")):
            file.attrs[f"layer_names{number}"] = np.array([layer])
            group = file.create_group(layer)
            group.attrs["weight_names0"] = np.array([layer + b"/kernel:0"])
            group[f"{layer.decode()}/kernel:0"] = array(2, 3)
    assert [layer for layer, _ in by_key(tmp_path / "x.h5")] == ["one", "two"]


def test_layout_oihw_leaves_kernels_as_they_are(write_keras_layers: Write, tmp_path: Path) -> None:
    kernel = array(8, 3, 5, 5)
    write_keras_layers(tmp_path / "x.h5", {"conv": {"conv_W": kernel}})
    checkpoint = open_checkpoint(tmp_path / "x.h5", layout="oihw")
    assert torch.equal(checkpoint["conv/conv_W"], torch.from_numpy(kernel))


def test_what_cannot_be_read_is_skipped_and_links_that_leave_the_file_are_not_followed(
    write_keras_layers: Write, tmp_path: Path
) -> None:
    write_keras_layers(tmp_path / "secret.h5", {"a": {"a/kernel:0": array(2, 2)}})
    write_keras_layers(tmp_path / "x.h5", {"a": {"a/kernel:0": array(2, 2)}, "text": {"text/kernel:0": [b"one"]}})
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        group = file["a"]
        names = ["linked", "outside", "absent", "a", "never", "a/kernel:0", "a/kernel:0"]
        group.attrs["weight_names"] = np.array([name.encode() for name in names])
        group["linked"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/a/a/kernel:0")
        group.create_dataset("outside", (4,), "f4", external=[(str(tmp_path / "secret.h5"), 0, 16)])
        group.create_dataset("never", (10**12,), "f4", chunks=(1024,))
    checkpoint = open_checkpoint(tmp_path / "x.h5")
    assert list(checkpoint) == ["a/a/kernel:0"]
    reasons = {skipped.name: skipped.reason for skipped in checkpoint.skipped}
    assert reasons.keys() == {
        "a/linked",
        "a/outside",
        "a/absent",
        "a/a",
        "a/never",
        "a/a/kernel:0",
        "text/text/kernel:0",
    }
    assert "another file" in reasons["a/linked"]
    assert "another file" in reasons["a/outside"]
    assert "never written" in reasons["a/never"]
    assert "named twice" in reasons["a/a/kernel:0"]


def test_hdf5_that_keras_did_not_write_is_taken_by_its_paths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["net/conv1/weight"] = array(4, 3, 5, 5)
        file["steps"] = np.int64(7)
        file["words"] = [b"one"]
        file.create_dataset("packed", data=array(300, 20), compression="gzip")
    checkpoint = open_checkpoint(tmp_path / "x.h5")
    assert set(checkpoint) == {"net/conv1/weight", "steps", "packed"}
    np.testing.assert_array_equal(checkpoint["net/conv1/weight"], array(4, 3, 5, 5))
    np.testing.assert_array_equal(checkpoint["packed"], array(300, 20))
    assert checkpoint.info["net/conv1/weight"].layer == "net.conv1"
    assert [skipped.name for skipped in checkpoint.skipped] == ["words"]
    assert "did not write" in checkpoint.notes[0]


def test_hdf5_without_arrays_is_said(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("layers")
    with pytest.raises(SourceError, match="holds no tensors"):
        open_checkpoint(tmp_path / "x.h5")


def test_a_transposed_convolution_and_attention_come_out_as_torch_has_them(
    write_keras_layers: Write, tmp_path: Path
) -> None:
    up, query, output = array(2, 3, 5, 6), array(7, 2, 4), array(2, 4, 9)
    write_keras_layers(
        tmp_path / "x.h5",
        {
            "conv2d_transpose": {"conv2d_transpose/kernel:0": up},
            "mha": {
                "mha/query/kernel:0": query,
                "mha/query/bias:0": array(2, 4),
                "mha/attention_output/kernel:0": output,
                "mha/attention_output/bias:0": array(9),
            },
            "query": {"query/kernel:0": array(3, 7, 8)},
        },
    )
    found = by_key(tmp_path / "x.h5")
    np.testing.assert_array_equal(found["conv2d_transpose", "weight"][3, 2], up[:, :, 2, 3])
    np.testing.assert_array_equal(found["mha.query", "weight"], query.reshape(7, 8).T)
    np.testing.assert_array_equal(found["mha.query", "bias"], array(2, 4).reshape(8))
    np.testing.assert_array_equal(found["mha.attention_output", "weight"], output.reshape(8, 9).T)
    assert found["query", "weight"].shape == (8, 7, 3)


def test_a_layer_that_is_absent_or_named_twice_is_a_row(write_keras_layers: Write, tmp_path: Path) -> None:
    write_keras_layers(tmp_path / "x.h5", {"a": {"a/kernel:0": array(2, 2)}})
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file.attrs["layer_names"] = np.array([b"a", b"a", b"gone", b"long" * 300])
    skipped = {row.name: row.reason for row in open_checkpoint(tmp_path / "x.h5").skipped}
    assert skipped == {
        "a": "a layer named twice",
        "gone": "a layer whose weights the file does not list",
        "long" * 20: "a name of more than 1000 letters",
    }


@pytest.mark.parametrize("names", [3, "text", np.ones(4), np.array([[b"a"]])])
def test_names_that_are_no_list_of_text_are_refused(names: object, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names"] = names
    with pytest.raises(SourceError, match="no list of names"):
        open_checkpoint(tmp_path / "x.h5")
