"""Keras's HDF5 weights, versions 1 and 2: groups by layer, named by the attributes `layer_names` and `weight_names`.

Kernels are stored (h, w, in, out) and come out (out, in, h, w); weights take torch's names. Links that leave the file
are refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.dtypes import numpy_name
from weightatlas.checkpoints.keras_names import canonical_names, module_path
from weightatlas.checkpoints.layout import output_first
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import h5py
    import torch

    from weightatlas.checkpoints.blob import Blob

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
BOMB_SIZE: Final = 2**30
BOMB_RATIO: Final = 100
NAMES_LIMIT: Final = 10_000_000


def detect_keras(_blob: Blob, head: bytes) -> bool:
    """Whether a file is HDF5."""
    return head.startswith(SIGNATURE)


def open_keras(blob: Blob) -> Contents:
    """List the weights of a Keras file, one layer after the other.

    Raises:
        SourceError: the file is truncated or corrupt, or it is HDF5 that Keras 1 or 2 did not write.
    """
    import h5py  # loads numpy: only for this format

    path = blob.path()
    headers: list[Header] = []
    skipped: list[Skipped] = []
    with untrusted(path, "a truncated or corrupt HDF5 file"), h5py.File(path, "r") as file:
        root = _weights_group(path, file)
        classes = _layer_classes(file)
        taken: set[str] = set()
        for layer in _names(root, "layer_names"):
            for header in _list_layer(path, root, layer, classes.get(layer, ""), skipped):
                if header.name in taken:
                    skipped.append(Skipped(header.name, "named twice"))
                else:
                    taken.add(header.name)
                    headers.append(header)
        prefix = root.name.strip("/")

    def read(name: str) -> torch.Tensor:
        import torch

        with h5py.File(path, "r") as file:
            group = file[prefix] if prefix else file
            values = _dataset(group, name)[()]
        if not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        return torch.as_tensor(values)

    return Contents("Keras HDF5", headers, read, skipped=skipped, fixed_layout=True)


def _weights_group(path: Path, file: h5py.File) -> h5py.Group:
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        return file
    if "model_weights" in file and isinstance(file["model_weights"], _group_type()):
        return file["model_weights"]
    if "layers" in file or "_layer_checkpoint_dependencies" in file:
        raise SourceError(path, "Keras 3 weights, which are not read", "save them as .npz, or as a Keras 2 .h5")
    raise SourceError(path, "an HDF5 file that Keras did not write", "save its arrays as .npz")


def _group_type() -> type:
    import h5py

    group: type = h5py.Group
    return group


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """An attribute that lists names; Keras splits a long one into attribute0, attribute1, ..."""
    if attribute in group.attrs:
        values = _attribute(group, attribute)
    else:
        values, number = [], 0
        while f"{attribute}{number}" in group.attrs:
            values.extend(_attribute(group, f"{attribute}{number}"))
            number += 1
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def _attribute(group: h5py.Group, attribute: str) -> list[Any]:
    """A list of texts, its type and size checked before it is read: HDF5 2.0 crashes on some it cannot hold."""
    import h5py

    header = group.attrs.get_id(attribute)
    if header.shape == (0,):
        return []  # numpy gives an empty list a type of number
    is_text = isinstance(header.get_type(), h5py.h5t.TypeStringID)
    if not is_text or len(header.shape) != 1 or max(header.get_storage_size(), header.shape[0]) > NAMES_LIMIT:
        message = f"the attribute {attribute!r} is no list of names"
        raise ValueError(message)
    return list(group.attrs[attribute])


def _layer_classes(file: h5py.File) -> dict[str, str]:
    """The class of every layer, where the whole model was saved; {} where only its weights were."""
    try:
        text = file.attrs["model_config"]
        config = json.loads(text)["config"]
        layers = config["layers"] if isinstance(config, dict) else config
        return {str(layer["config"]["name"]): str(layer["class_name"]) for layer in layers}
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A dataset of this very file; links to other files are not followed."""
    import h5py

    node = group
    for part in (part for part in name.split("/") if part):
        if isinstance(node.get(part, getlink=True), h5py.ExternalLink):
            message = "a link to another file"
            raise ValueError(message)  # noqa: TRY004 - what is wrong is the link's value
        node = node[part]
    if not isinstance(node, h5py.Dataset):
        message = "no array"
        raise TypeError(message)
    if node.is_virtual or node.external:
        message = "its values are in another file"
        raise ValueError(message)
    return node


def _list_layer(path: Path, root: h5py.Group, layer: str, layer_class: str, skipped: list[Skipped]) -> Iterator[Header]:
    group = root[layer]
    found: list[tuple[str, tuple[int, ...], str, int]] = []
    for weight in _names(group, "weight_names"):
        name = f"{layer}/{weight}"
        try:
            dataset = _dataset(root, name)
            reason = _unreadable(dataset)
        except (KeyError, TypeError, ValueError, OSError) as error:
            reason = f"cannot be read: {str(error).splitlines()[0][:80] if str(error) else type(error).__name__}"
        if reason is not None:
            skipped.append(Skipped(name, reason))
            continue
        dtype = numpy_name(dataset.dtype.str)
        found.append((weight, tuple(map(int, dataset.shape)), str(dtype), int(dataset.nbytes)))
    parameters = canonical_names(layer, [(weight, shape) for weight, shape, _, _ in found])
    for (weight, shape, dtype, nbytes), (inner, parameter) in zip(found, parameters, strict=True):
        depthwise = "depthwise" in inner or "depthwise" in layer_class.lower() or "depthwise" in weight.lower()
        is_table = "embeddings" in weight  # (words, features) in both
        axes, merge = (None, None) if is_table else _order(parameter, shape, depthwise=depthwise)
        key = f"{module_path(layer, inner)}.{parameter}"
        yield Header(f"{layer}/{weight}", key, shape, dtype, nbytes, str(path), axes=axes, merge=merge)


def _unreadable(dataset: h5py.Dataset) -> str | None:
    if dataset.shape is None or numpy_name(dataset.dtype.str) is None:
        return f"its type {str(dataset.dtype)[:40]!r} has no torch tensor"
    stored = dataset.id.get_storage_size()
    if dataset.nbytes and not stored:
        return "its values were never written"
    if dataset.nbytes > BOMB_SIZE and dataset.nbytes > BOMB_RATIO * stored:
        return f"would unpack to {dataset.nbytes} bytes from {stored}"
    return None


def _order(
    parameter: str, shape: tuple[int, ...], *, depthwise: bool
) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
    """Permutation and merged shape that give torch's order."""
    if parameter not in {"weight", "recurrent_weight"} or not 2 <= len(shape) <= 5:
        return None, None
    if depthwise and len(shape) >= 3:
        *space, channels, multiplier = shape
        axes = (len(space), len(space) + 1, *range(len(space)))
        return axes, (channels * multiplier, 1, *space)
    return output_first(len(shape)), None
