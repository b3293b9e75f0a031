"""HDF5 files that lie, written by h5py itself: what it can write, a stranger can."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from tests.hostile.case import Hostile

FILE: Final = "model.h5"
KERNEL: Final = np.arange(4, dtype=np.float32).reshape(2, 2)
Fill = Callable[[h5py.File, Path], None]


def keras(file: h5py.File, weights: dict[str, Any], layer: str = "dense") -> h5py.Group:
    """The skeleton that Keras 2 writes, one layer with these weights; a weight of None is named and not there."""
    file.attrs["layer_names"] = np.array([layer.encode()])
    group = file.create_group(layer)
    group.attrs["weight_names"] = np.array([name.encode() for name in weights])
    for name, value in weights.items():
        if value is not None:
            group[name] = value
    return group


def _bomb(file: h5py.File, _: Path) -> None:
    group = keras(file, {"kernel:0": None})
    data = group.create_dataset("kernel:0", (2**14, 2**20), "f4", chunks=(1, 2**18), compression="gzip")
    data[0, : 2**18] = 1


def _sparse(file: h5py.File, _: Path) -> None:
    group = keras(file, {"kernel:0": None})
    group.create_dataset("kernel:0", (2**30, 2**30), "f4", chunks=(2**10, 2**10))


def _unwritten(file: h5py.File, _: Path) -> None:
    group = keras(file, {"kernel:0": None})
    group.create_dataset("kernel:0", (2**20,), "f4")


def _wide_chunk(file: h5py.File, _: Path) -> None:
    group = keras(file, {"kernel:0": None})
    data = group.create_dataset("kernel:0", (2**28,), "f4", chunks=(2**28,), compression="gzip", fillvalue=1.0)
    packed = zlib.compress(bytes(2**20))
    data.id.write_direct_chunk((0,), packed)


def _external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["kernel"] = KERNEL
    keras(file, {"kernel:0": None})["kernel:0"] = h5py.ExternalLink("secret.h5", "/kernel")


def _external_group(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        keras(other, {"kernel:0": KERNEL})
    file.attrs["layer_names"] = np.array([b"dense"])
    file["dense"] = h5py.ExternalLink("secret.h5", "/dense")


def _soft_circle(file: h5py.File, _: Path) -> None:
    group = keras(file, {"kernel:0": None})
    group["kernel:0"] = h5py.SoftLink("/dense/bias:0")
    group["bias:0"] = h5py.SoftLink("/dense/kernel:0")


def _soft_to_nothing(file: h5py.File, _: Path) -> None:
    keras(file, {"kernel:0": None})["kernel:0"] = h5py.SoftLink("/gone")


def _hard_circle(file: h5py.File, _: Path) -> None:
    group = keras(file, {"kernel:0": KERNEL})
    group["again"] = file["/"]


def _virtual(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["kernel"] = KERNEL
    layout = h5py.VirtualLayout((2, 2), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "kernel", (2, 2))
    keras(file, {"kernel:0": None}).create_virtual_dataset("kernel:0", layout)


def _external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(bytes(16))
    group = keras(file, {"kernel:0": None})
    group.create_dataset("kernel:0", (2, 2), "f4", external=[(str(folder / "secret.bin"), 0, 16)])


def _names(value: object, **kind: Any) -> Fill:  # noqa: ANN401 - h5py's own options
    def fill(file: h5py.File, _: Path) -> None:
        keras(file, {"kernel:0": KERNEL})
        del file.attrs["layer_names"]
        file.attrs.create("layer_names", value, **kind)

    return fill


def _lists(file: h5py.File, _: Path) -> None:
    keras(file, {"kernel:0": KERNEL})
    del file.attrs["layer_names"]
    kind = h5py.h5t.vlen_create(h5py.h5t.NATIVE_INT32)
    h5py.h5a.create(file.id, b"layer_names", kind, h5py.h5s.create_simple((1,)))


def _weight_names(value: object, **kind: Any) -> Fill:  # noqa: ANN401
    def fill(file: h5py.File, _: Path) -> None:
        group = keras(file, {"kernel:0": KERNEL})
        del group.attrs["weight_names"]
        group.attrs.create("weight_names", value, **kind)

    return fill


def _weights(value: Any) -> Fill:  # noqa: ANN401
    return lambda file, _: keras(file, {"kernel:0": value}) and None


def _config(text: str) -> Fill:
    def fill(file: h5py.File, _: Path) -> None:
        keras(file.create_group("model_weights"), {"kernel:0": KERNEL})
        file.attrs["model_config"] = text

    return fill


def _deep(file: h5py.File, _: Path) -> None:
    group = file
    for _number in range(2000):
        group = group.create_group("g")
    group["kernel"] = KERNEL


def _wide(file: h5py.File, _: Path) -> None:
    for number in range(20_000):
        file.create_group(f"layers/g{number}/vars")


def _empty_dimension(file: h5py.File, _: Path) -> None:
    keras(file, {"kernel:0": np.zeros((0, 2**30), np.float32)})


NOT_LISTED: Final = r"cannot be read|corrupt|no list|another file|link|no array|no torch tensor|no tensors|structure"
LIES: Final[dict[str, tuple[Fill, str]]] = {
    "an array that unpacks to gigabytes": (_bomb, r"would unpack|never written"),
    "an array of 2^60 elements": (_sparse, r"never written|would unpack|claims"),
    "an array that was never written": (_unwritten, r"never written"),
    "a link to another file": (_external_link, NOT_LISTED),
    "a layer linked to another file": (_external_group, NOT_LISTED),
    "links in a circle": (_soft_circle, NOT_LISTED),
    "a link to nothing": (_soft_to_nothing, NOT_LISTED),
    "a group that holds the root": (_hard_circle, ""),
    "a virtual array over another file": (_virtual, NOT_LISTED),
    "values in another file": (_external_storage, NOT_LISTED),
    "layer names that are numbers": (_names(np.arange(3)), NOT_LISTED),
    "layer names of variable length": (_names(np.array(["dense"], object), dtype=h5py.string_dtype()), ""),
    "layer names in two dimensions": (_names(np.array([[b"dense"]])), NOT_LISTED),
    "layer names that are lists": (_lists, NOT_LISTED),
    "a layer name that is a scalar": (_names(np.bytes_(b"dense")), NOT_LISTED),
    "a layer name of another file": (_names(np.array([b"../../../etc/passwd"])), NOT_LISTED),
    "a layer that is an array": (_names(np.array([b"dense/kernel:0"])), NOT_LISTED),
    "a layer without a name": (_names(np.array([b""])), NOT_LISTED + r"|^$"),
    "the same layer twice": (_names(np.array([b"dense", b"dense"])), r"twice|corrupt"),
    "five thousand layers that are not there": (_names(np.array([b"%d" % n for n in range(5000)])), NOT_LISTED),
    "weight names that are numbers": (_weight_names(np.arange(3)), NOT_LISTED),
    "a weight that is missing": (lambda file, _: keras(file, {"kernel:0": None}) and None, NOT_LISTED),
    "a weight that is a group": (_weight_names(np.array([b"."])), NOT_LISTED),
    "a weight that leads up": (_weight_names(np.array([b"../../dense/kernel:0"])), NOT_LISTED + r"|^$"),
    "an array of text": (_weights(np.array([b"abc"])), r"no torch tensor"),
    "an array of records": (_weights(np.zeros(2, [("a", "f4"), ("b", "i4")])), r"no torch tensor"),
    "an array of nothing": (_weights(h5py.Empty("f4")), r"no torch tensor|no shape|never written|no array"),
    "an array without elements": (_empty_dimension, ""),
    "a configuration that is no JSON": (_config("{"), ""),
    "a configuration a hundred thousand lists deep": (_config("[" * 50_000), ""),
    "a configuration that is a list of numbers": (_config(json.dumps({"config": {"layers": [1, 2]}})), ""),
    "two thousand groups in one another": (_deep, NOT_LISTED + r"|deep|Keras|^$"),
    "twenty thousand groups": (_wide, NOT_LISTED + r"|Keras|many|^$"),
}


def _build(fill: Fill) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        with h5py.File(folder / FILE, "w") as file:
            fill(file, folder)
        return folder / FILE

    return build


def cases() -> list[Hostile]:
    """All of them."""
    found = [Hostile(f"{name}, HDF5", _build(fill), says) for name, (fill, says) in LIES.items()]
    found.append(
        Hostile(
            "one chunk that unpacks to less than it says, HDF5", _build(_wide_chunk), r"unpack|cannot be read|chunk|^$"
        )
    )
    return found
