"""One small network, saved in every format, wrapping and dtype, is the same network: layers, keys and tensors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import h5py
import numpy as np
import onnx
import onnx.helper
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed
from torch.optim.swa_utils import AveragedModel

from tests.servers.ranged import RangedServer
from tests.servers.s3 import BucketServer
from weightatlas.checkpoints import Checkpoint, open_checkpoint

State = dict[str, torch.Tensor]
Writer = Callable[[Path, State], Path]


class Network(nn.Module):
    """Convolutions, a norm with its statistics, a grouped kernel, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5)
        self.norm = nn.BatchNorm2d(8)
        self.stage = nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16, bias=False))
        self.head = nn.Linear(16, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.stage(self.norm(self.stem(image)).relu())
        scores: torch.Tensor = self.head(maps.mean((2, 3)))
        return scores


@pytest.fixture(scope="session")
def network() -> Network:
    torch.manual_seed(0)
    network = Network().eval()
    for buffer in (network.norm.running_mean, network.norm.running_var):
        assert buffer is not None
        buffer.uniform_(0.5, 1.5)
    return network


def seen(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Tensors by the key that every command uses."""
    return {f"{info.layer}.{info.parameter}": checkpoint[name] for name, info in checkpoint.info.items()}


def assert_same(checkpoint: Checkpoint, state: Mapping[str, torch.Tensor]) -> None:
    found = seen(checkpoint)
    assert set(found) == set(state)
    for key, tensor in state.items():
        assert found[key].dtype == tensor.dtype, key
        assert torch.equal(_bits(found[key]), _bits(tensor)), key
    for info in checkpoint.info.values():
        expected = state[f"{info.layer}.{info.parameter}"]
        assert info.shape == tuple(expected.shape)
        assert info.dtype == str(expected.dtype).removeprefix("torch.")
    reference = {layer.tensor: layer for layer in open_checkpoint(dict(state)).layers}
    for layer in checkpoint.layers:
        same = reference[f"{layer.layer}.{layer.parameter}"]
        assert (layer.kind, layer.role, layer.shape) == (same.kind, same.role, same.shape)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


# Formats: each writes a state dict and gives the path to open.


def write_safetensors(folder: Path, state: State) -> Path:
    safetensors.torch.save_file(state, folder / "net.safetensors")
    return folder / "net.safetensors"


def write_safetensors_shards(folder: Path, state: State) -> Path:
    return _shards(folder, state, ".safetensors", safetensors.torch.save_file)


def write_bin_shards(folder: Path, state: State) -> Path:
    return _shards(folder, state, ".bin", torch.save, stem="pytorch_model")


def _shards(folder: Path, state: State, suffix: str, save: Callable[..., object], stem: str = "model") -> Path:
    names = list(state)
    owners: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        shard = f"{stem}-0000{number}-of-00002{suffix}"
        save({name: state[name] for name in part}, folder / shard)
        owners |= dict.fromkeys(part, shard)
    (folder / f"{stem}{suffix}.index.json").write_text(json.dumps({"weight_map": owners}))
    return folder


def write_torch(folder: Path, state: State) -> Path:
    torch.save(state, folder / "net.pt")
    return folder / "net.pt"


def write_torch_legacy(folder: Path, state: State) -> Path:
    torch.save(state, folder / "net.th", _use_new_zipfile_serialization=False)
    return folder / "net.th"


def write_torch_protocol_4(folder: Path, state: State) -> Path:
    torch.save(state, folder / "net.ckpt", pickle_protocol=4)
    return folder / "net.ckpt"


def write_distributed(folder: Path, state: State) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that no process group is there: that is the point
        save_distributed(dict(state), checkpoint_id=folder / "distributed", no_dist=True)
    return folder / "distributed"


def write_npz(folder: Path, state: State) -> Path:
    np.savez(folder / "net.npz", allow_pickle=False, **{name: tensor.numpy() for name, tensor in state.items()})
    return folder / "net.npz"


def write_npz_deflated_fortran(folder: Path, state: State) -> Path:
    arrays = {name.replace(".", "/"): np.asarray(tensor.numpy(), order="F") for name, tensor in state.items()}
    np.savez_compressed(folder / "net.npz", allow_pickle=False, **arrays)
    return folder / "net.npz"


def write_npz_big_endian(folder: Path, state: State) -> Path:
    arrays = {name: tensor.numpy().astype(tensor.numpy().dtype.newbyteorder(">")) for name, tensor in state.items()}
    np.savez(folder / "net.npz", allow_pickle=False, **arrays)
    return folder / "net.npz"


def write_hdf5(folder: Path, state: State) -> Path:
    with h5py.File(folder / "net.h5", "w") as file:
        for name, tensor in state.items():
            file[name.replace(".", "/")] = tensor.numpy()
    return folder / "net.h5"


def write_keras_2(folder: Path, state: State) -> Path:
    """Layers with names, weights with Keras's: kernels (h, w, in, out), depthwise ones (h, w, in, multiplier)."""
    with h5py.File(folder / "net.h5", "w") as file:
        layers = list(dict.fromkeys(name.rpartition(".")[0].replace(".", "/") for name in state))
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            weights = _keras_weights(layer.replace("/", "."), state)
            group = file.require_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
            for name, array in weights.items():
                group[f"{layer}/{name}:0"] = array
    return folder / "net.h5"


def write_keras_3(folder: Path, state: State) -> Path:
    """Variables by number below their layers, in Keras's order."""
    with h5py.File(folder / "net.weights.h5", "w") as file:
        for layer in dict.fromkeys(name.rpartition(".")[0] for name in state):
            variables = file.create_group(f"layers/{layer.replace('.', '/layers/')}/vars")
            for number, array in enumerate(_keras_weights(layer, state).values()):
                variables[str(number)] = array
    return folder / "net.weights.h5"


def _keras_weights(layer: str, state: State) -> dict[str, np.ndarray[Any, Any]]:
    weights: dict[str, np.ndarray[Any, Any]] = {}
    for name in ("weight", "bias", "running_mean", "running_var"):
        if f"{layer}.{name}" not in state:
            continue
        array = state[f"{layer}.{name}"].numpy()
        if array.ndim == 4 and array.shape[1] == 1:
            weights["depthwise_kernel"] = array.transpose(2, 3, 0, 1)
        elif array.ndim > 1:
            weights["kernel"] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        elif f"{layer}.running_mean" in state:
            names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            weights[names[name]] = array
        else:
            weights["bias"] = array
    return weights


def write_onnx(folder: Path, state: State) -> Path:
    return _onnx(folder, state, external=False)


def write_onnx_external(folder: Path, state: State) -> Path:
    return _onnx(folder, state, external=True)


def _onnx(folder: Path, state: State, *, external: bool) -> Path:
    types = {
        torch.float32: onnx.TensorProto.FLOAT,
        torch.float64: onnx.TensorProto.DOUBLE,
        torch.float16: onnx.TensorProto.FLOAT16,
        torch.bfloat16: onnx.TensorProto.BFLOAT16,
        torch.float8_e4m3fn: onnx.TensorProto.FLOAT8E4M3FN,
        torch.float8_e5m2: onnx.TensorProto.FLOAT8E5M2,
        torch.int64: onnx.TensorProto.INT64,
    }
    tensors = []
    for name, tensor in state.items():
        proto = onnx.TensorProto(name=name, data_type=types[tensor.dtype], dims=tensor.shape)
        proto.raw_data = _bits(tensor).numpy().tobytes()
        tensors.append(proto)
    model = onnx.helper.make_model(onnx.helper.make_graph([], "net", [], [], initializer=tensors))
    onnx.save(model, folder / "net.onnx", save_as_external_data=external, size_threshold=0)
    return folder / "net.onnx"


def write_gguf(folder: Path, state: State) -> Path:
    types = {torch.bfloat16: gguf.GGMLQuantizationType.BF16, torch.float16: gguf.GGMLQuantizationType.F16}
    writer = gguf.GGUFWriter(folder / "net.gguf", "net")
    for name, tensor in state.items():
        if tensor.dtype is torch.bfloat16:
            raw = tensor.contiguous().view(torch.uint8).numpy()
            writer.add_tensor(name, raw, raw_dtype=types[tensor.dtype])
        else:
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / "net.gguf"


def write_hub_cache(folder: Path, state: State) -> Path:
    repository = folder / "models--org--net"
    snapshot = repository / "snapshots" / "0123abc"
    for part in (snapshot, repository / "blobs", repository / "refs"):
        part.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    safetensors.torch.save_file(state, repository / "blobs" / "5f5f")
    (snapshot / "model.safetensors").symlink_to("../../blobs/5f5f")
    return repository


FLOATS = (torch.float32, torch.float64, torch.float16)
ANY = (*FLOATS, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
FORMATS: dict[Writer, tuple[torch.dtype, ...]] = {
    write_safetensors: ANY,
    write_safetensors_shards: ANY,
    write_bin_shards: ANY,
    write_torch: ANY,
    write_torch_legacy: ANY,
    write_torch_protocol_4: ANY,
    write_distributed: ANY,
    write_npz: FLOATS,
    write_npz_deflated_fortran: FLOATS,
    write_npz_big_endian: FLOATS,
    write_hdf5: FLOATS,
    write_keras_2: FLOATS,
    write_keras_3: FLOATS,
    write_onnx: ANY,
    write_onnx_external: ANY,
    write_gguf: (*FLOATS, torch.bfloat16),
    write_hub_cache: ANY,
}


WITHOUT_SCALARS = (write_gguf, write_keras_2, write_keras_3)
"""GGUF has none, and Keras does not count batches."""


@pytest.mark.parametrize(
    ("write", "dtype"),
    [
        pytest.param(write, dtype, id=f"{write.__name__.removeprefix('write_')}-{str(dtype).removeprefix('torch.')}")
        for write, dtypes in FORMATS.items()
        for dtype in dtypes
    ],
)
def test_every_format_and_dtype(write: Writer, dtype: torch.dtype, network: Network, tmp_path: Path) -> None:
    state = {
        name: tensor.clone().to(dtype) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in network.state_dict().items()
        if not (write in WITHOUT_SCALARS and tensor.ndim == 0)
        and not (write is write_keras_3 and tensor.shape[1:2] == (1,))  # numbers alone tell no depthwise kernel
    }
    assert_same(open_checkpoint(write(tmp_path, state)), state)


# Places: the same files behind a web server and in a bucket.

IN_RANGES = (
    write_safetensors,
    write_safetensors_shards,
    write_bin_shards,
    write_torch,
    write_torch_legacy,
    write_distributed,
    write_npz,
    write_npz_deflated_fortran,
    write_onnx,
    write_onnx_external,
    write_gguf,
    write_keras_2,
)


@pytest.fixture(scope="module")
def bucket() -> Iterator[BucketServer]:
    with BucketServer() as server:
        yield server


@pytest.mark.parametrize("write", IN_RANGES, ids=lambda write: write.__name__.removeprefix("write_"))
def test_every_format_in_a_bucket(write: Writer, bucket: BucketServer, network: Network, tmp_path: Path) -> None:
    state = {
        name: tensor for name, tensor in network.state_dict().items() if tensor.ndim or write not in WITHOUT_SCALARS
    }
    path = write(tmp_path, state)
    place = f"{write.__name__}"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            bucket.put(f"{place}/{file.relative_to(tmp_path)}", file.read_bytes())
    url = f"s3://{bucket.bucket}/{place}/{path.relative_to(tmp_path)}".removesuffix("/.")
    assert_same(open_checkpoint(url, storage_options=bucket.options), state)


BY_ADDRESS = [write for write in IN_RANGES if write is not write_distributed]  # a web server lists no folders


@pytest.mark.parametrize("write", BY_ADDRESS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_every_format_behind_a_web_server(write: Writer, network: Network, tmp_path: Path) -> None:
    state = {
        name: tensor for name, tensor in network.state_dict().items() if tensor.ndim or write not in WITHOUT_SCALARS
    }
    path = write(tmp_path, state)
    if path.is_dir():  # its index stands for the files beside it
        (path,) = path.glob("*.index.json")
    with RangedServer(tmp_path) as server:
        assert_same(open_checkpoint(f"{server.url}/{path.relative_to(tmp_path)}"), state)


# Wrappings: what training puts around a network before it is saved.


def _prefixed(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def _optimizer(network: nn.Module) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3, 12, 12)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def wrapped(network: Network) -> dict[str, Any]:
    """What is saved, by the name of what wrapped it."""
    state = dict(network.state_dict())
    optimizer = _optimizer(Network())
    average = AveragedModel(network)
    return {
        "live module": network,
        "state dict": state,
        "data parallel": nn.DataParallel(network).state_dict(),
        "compiled": _prefixed(state, "_orig_mod."),
        "compiled data parallel": _prefixed(state, "module._orig_mod."),
        "compiled part": {name.replace("stage.", "stage._orig_mod."): tensor for name, tensor in state.items()},
        "sharded": _prefixed(state, "_fsdp_wrapped_module."),
        "activation checkpointing": {
            name.replace("stage.0.", "stage.0._checkpoint_wrapped_module."): tensor for name, tensor in state.items()
        },
        "Lightning": {
            "state_dict": _prefixed(state, "model."),
            "epoch": 3,
            "global_step": 1000,
            "optimizer_states": [optimizer],
            "lr_schedulers": [],
            "pytorch-lightning_version": "2.5.0",
        },
        "Lightning, compiled": {"state_dict": _prefixed(state, "model._orig_mod."), "global_step": 5},
        "timm": {"epoch": 1, "arch": "net", "state_dict": state, "state_dict_ema": state, "optimizer": optimizer},
        "bare loop": {"model_state_dict": state, "optimizer_state_dict": optimizer, "loss": 0.5},
        "DeepSpeed": {"module": state, "optimizer": None, "global_steps": 7},
        "nested": {"checkpoint": {"model": _prefixed(state, "module.")}},
        "averaged": {"model": {name: value for name, value in average.state_dict().items() if name != "n_averaged"}},
        "adapter's base": _prefixed(state, "base_model.model."),
    }


WRAPPINGS = (
    "live module",
    "state dict",
    "data parallel",
    "compiled",
    "compiled data parallel",
    "compiled part",
    "sharded",
    "activation checkpointing",
    "Lightning",
    "Lightning, compiled",
    "timm",
    "bare loop",
    "DeepSpeed",
    "nested",
    "averaged",
    "adapter's base",
)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_in_memory(wrapping: str, network: Network) -> None:
    assert_same(open_checkpoint(wrapped(network)[wrapping]), network.state_dict())


@pytest.mark.parametrize("wrapping", [name for name in WRAPPINGS if name != "live module"])
@pytest.mark.parametrize("write", [write_torch, write_torch_legacy, write_distributed], ids=["zip", "legacy", "dcp"])
def test_every_wrapping_in_a_file(wrapping: str, write: Writer, network: Network, tmp_path: Path) -> None:
    assert_same(open_checkpoint(write(tmp_path, wrapped(network)[wrapping])), network.state_dict())


@pytest.mark.parametrize("wrapping", ["data parallel", "compiled", "sharded", "adapter's base"])
@pytest.mark.parametrize("write", [write_safetensors, write_npz, write_gguf, write_onnx], ids=lambda w: w.__name__[6:])
def test_every_prefix_in_other_formats(wrapping: str, write: Writer, network: Network, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in wrapped(network)[wrapping].items() if tensor.ndim}
    expected = {name: tensor for name, tensor in network.state_dict().items() if tensor.ndim}
    assert_same(open_checkpoint(write(tmp_path, state)), expected)


def test_a_whole_pickled_module_gives_its_weights_without_its_class(network: Network, tmp_path: Path) -> None:
    torch.save(network, tmp_path / "whole.pt")
    torch.save({"model": network, "epoch": 3}, tmp_path / "training.pt")
    for name in ("whole.pt", "training.pt"):
        assert_same(open_checkpoint(tmp_path / name), network.state_dict())


def test_an_archive_of_torchscript_gives_its_weights_without_its_code(network: Network, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        traced: Any = torch.jit.trace(network, torch.ones(1, 3, 12, 12))  # type: ignore[no-untyped-call]
        traced.save(tmp_path / "traced.pt")
    assert_same(open_checkpoint(tmp_path / "traced.pt"), network.state_dict())


@pytest.mark.parametrize("dynamo", [False, True], ids=["legacy exporter", "dynamo exporter"])
def test_an_export_to_onnx_keeps_the_keys_of_the_network(dynamo: bool, network: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters announce each other's end
        torch.onnx.export(
            network, (torch.ones(1, 3, 12, 12),), path, dynamo=dynamo, do_constant_folding=False, verbose=False
        )
    state = network.state_dict()
    found = seen(open_checkpoint(path))
    weights = [name for name in state if not name.startswith("norm.") and not name.startswith("stem.")]
    assert set(weights) <= set(found)  # the exporters fold a norm into the convolution before it
    for name in weights:
        assert torch.equal(found[name], state[name])
    assert "stem.weight" in found
    assert found["stem.weight"].shape == state["stem.weight"].shape
