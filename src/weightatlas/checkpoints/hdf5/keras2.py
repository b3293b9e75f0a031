"""Keras's HDF5 weights, versions 1 and 2: groups by layer, named by the attributes `layer_names` and `weight_names`.

**Source:** `keras.src.legacy.saving.legacy_h5_format`, which Keras 3 still writes for a name that ends in `.h5`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.hdf5.keras_config import LayerConfig, read_layers
from weightatlas.checkpoints.hdf5.keras_names import canonical_names, module_path
from weightatlas.checkpoints.hdf5.keras_order import KernelKind, kernel_order, order_attention
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from weightatlas.checkpoints.hdf5.hdf5_file import Hdf5

PREFIXES: Final = ("", "model_weights")
"""Where the groups of layers lie: in a file of weights alone, and of a whole model."""
NAME_LIMIT: Final = 1000


def weights_group(file: Hdf5) -> str | None:
    """The group that lists layers, or None where Keras 1 and 2 did not write the file."""
    return next((prefix for prefix in PREFIXES if file.names(prefix, "layer_names") is not None), None)


def open_keras2(file: Hdf5, prefix: str) -> Contents:
    """List the weights, one layer after the other."""
    layers = {layer.name: layer for layer in read_layers(_config(file))}
    headers: list[Header] = []
    skipped: list[Skipped] = []
    taken: set[str] = set()
    for layer in file.names(prefix, "layer_names") or ():
        if layer in taken or len(layer) > NAME_LIMIT:
            reason = "a layer named twice" if layer in taken else f"a name of more than {NAME_LIMIT} letters"
            skipped.append(Skipped(layer[:80], reason))
            continue
        taken.add(layer)
        headers.extend(_list_layer(file, prefix, layer, layers, skipped))
    paths = {header.name: f"{prefix}/{header.name}".lstrip("/") for header in headers}
    metadata = {
        name: text
        for name in ("keras_version", "backend")
        if (text := file.text("", name) or file.text(prefix, name)) is not None
    }
    return Contents(
        "Keras HDF5",
        order_attention(headers),
        lambda name: file.read(_inside(paths[name])),
        metadata=metadata,
        skipped=skipped,
        fixed_layout=True,
        in_order=True,
    )


def _config(file: Hdf5) -> object:
    """The model's configuration, where the whole model was saved; None where only its weights were."""
    text = file.text("", "model_config")
    try:
        return None if text is None else bounded_json(text.encode(), file.part.blob.name, "its configuration")
    except (SourceError, UnicodeEncodeError):
        return None


def _inside(path: str) -> str:
    """A path as HDF5 takes it: one "/" between parts."""
    return re.sub("/+", "/", path).strip("/")


def _list_layer(
    file: Hdf5, prefix: str, layer: str, layers: Mapping[str, LayerConfig], skipped: list[Skipped]
) -> Iterator[Header]:
    group = _inside(f"{prefix}/{layer}")
    found: list[tuple[str, tuple[int, ...]]] = []
    taken: set[str] = set()
    weights = file.names(group, "weight_names")
    if weights is None:
        skipped.append(Skipped(layer, "a layer whose weights the file does not list"))
    for weight in weights or ():
        path = _inside(f"{group}/{weight}")
        reason = "named twice" if path in taken else file.reason(path)
        taken.add(path)
        if reason is not None:
            skipped.append(Skipped(f"{layer}/{weight}", reason))
        else:
            found.append((weight, file.arrays[path].shape))
    for (weight, shape), (inner, parameter) in zip(found, canonical_names(layer, found), strict=True):
        array = file.arrays[_inside(f"{group}/{weight}")]
        config = layers.get(f"{layer}/{inner}") or layers.get(layer)
        axes, merge = kernel_order(parameter, shape, _kind(inner, weight, config))
        key = f"{module_path(layer, inner)}.{parameter}"
        yield file.header(array, f"{layer}/{weight}", key, axes=axes, merge=merge)


def _kind(inner: str, weight: str, config: LayerConfig | None) -> KernelKind:
    known = "" if config is None else config.kind
    return KernelKind(
        depthwise="depthwise" in inner or "depthwise" in known or "depthwise" in weight.lower(),
        table="embeddings" in weight,
        equation="" if config is None else config.equation,
    )
