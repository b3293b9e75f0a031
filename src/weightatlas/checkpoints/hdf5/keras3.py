"""Keras 3's weights: groups by the objects of a network, each with its variables under `vars`, numbered.

Variables have no names of their own: what they are is told by the class of their layer, which the configuration says
in a `.keras` archive, and otherwise the path (`layers/conv2d_1`) or the layer's name.

**Source:** `keras.src.saving.saving_lib` of Keras 3, and of 2.12 to 2.15, which wrote the same without names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.hdf5.keras3_paths import layer_paths
from weightatlas.checkpoints.hdf5.keras3_variables import class_of, variable_names
from weightatlas.checkpoints.hdf5.keras_config import LayerConfig, read_layers
from weightatlas.checkpoints.hdf5.keras_names import canonical_names, module_path
from weightatlas.checkpoints.hdf5.keras_order import KernelKind, kernel_order, order_attention

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from weightatlas.checkpoints.hdf5.hdf5_file import Array, Hdf5

STATE: Final = frozenset(
    {"optimizer", "_optimizer", "metrics", "_metrics", "compiled_metrics", "_compile_metrics", "_loss_tracker"}
)
"""What training keeps beside the weights, at the top of a file."""
CONTAINERS: Final = frozenset({"layers", "_layer_checkpoint_dependencies"})
"""Where the layers of a functional or sequential network stand, in their order."""
_NUMBERS: Final = re.compile(r"(\d+)")


def is_keras3(file: Hdf5) -> bool:
    """Whether a file has variables where Keras 3 puts them."""
    return any("vars" in path.split("/")[-2:-1] for path in (*file.arrays, *file.links))


def open_keras3(file: Hdf5, config: Any = None, *, metadata: Mapping[str, str] | None = None) -> Contents:  # noqa: ANN401
    """List the weights: in the order of the network's configuration, else in which Keras wrote it, else by path.

    Keras writes the layers of a functional or sequential network (under `layers`) in their order, and each array after
    those before it, except that HDF5 gathers small arrays in blocks of 2 KiB. The end of a layer tells its place up to
    such a block, and the numbers in the paths tell the order within a class (`conv2d`, `conv2d_1`).

    Args:
        file: what the HDF5 file holds.
        config: the network's configuration, as JSON gives it, where there is one.
        metadata: what else is known about the file.
    """
    layers = {layer.path: layer for layer in read_layers(config)}
    groups, skipped = _groups(file)
    order = {path: number for number, path in enumerate(layers)} or _written(file, groups)
    paths = layer_paths(groups, lambda group: file.text(_vars(group), "name"), layers)
    headers: list[Header] = []
    for group in sorted(groups, key=lambda group: (_place(group, order), _natural(group))):
        names = sorted(groups[group], key=_natural)
        arrays = [file.arrays[name] for name in names]
        kind = class_of(group, file.text(_vars(group), "name"), layers.get(group))
        headers.extend(_headers(file, arrays, paths[group], kind, layers.get(group)))
    return Contents(
        "Keras 3",
        order_attention(headers),
        file.read,
        metadata=metadata or {},
        skipped=skipped,
        fixed_layout=True,
        in_order=bool(order),
    )


def _vars(group: str) -> str:
    return f"{group}/vars".lstrip("/")


def _groups(file: Hdf5) -> tuple[dict[str, list[str]], list[Skipped]]:
    """Arrays that can be read, by the object they belong to; the rest, with training's state in one row a group."""
    groups: dict[str, list[str]] = {}
    state: dict[str, int] = {}
    skipped: list[Skipped] = []
    for name in (*file.arrays, *file.links):
        top = name.partition("/")[0]
        reason = file.reason(name)
        if top in STATE:
            state[top] = state.get(top, 0) + 1
        elif reason is not None:
            skipped.append(Skipped(name, reason))
        else:
            group, _, last = f"/{name}".rpartition("/")[0].rpartition("/")
            groups.setdefault(group.strip("/") if last == "vars" else f"{group}/{last}".strip("/"), []).append(name)
    for top, count in state.items():
        arrays = "1 array" if count == 1 else f"{count} arrays"
        skipped.append(Skipped(top, f"what training keeps beside the weights, {arrays}"))
    return groups, skipped


def _headers(file: Hdf5, arrays: list[Array], path: str, kind: str, config: LayerConfig | None) -> Iterator[Header]:
    variables = [array.name.rpartition("/")[2] for array in arrays]
    names = variable_names(kind, arrays, config)
    known = [(f"{path}/{name}", array.shape) for name, array in zip(names, arrays, strict=True) if name]
    canonical = iter(canonical_names(path, known))
    for array, name, variable in zip(arrays, names, variables, strict=True):
        inner, parameter = next(canonical) if name else ("", variable)
        kernel = KernelKind(
            depthwise="depthwise" in kind or "depthwise" in name,
            table="embeddings" in name,
            equation="" if config is None else config.equation,
        )
        axes, merge = kernel_order(parameter, array.shape, kernel) if name else (None, None)
        key = f"{module_path(path, inner)}.{parameter}".lstrip(".")
        yield file.header(array, array.name, key, axes=axes, merge=merge)


def _written(file: Hdf5, groups: Mapping[str, list[str]]) -> dict[str, int]:
    """Layers of a functional or sequential network by where their last arrays lie; nothing where that is not known."""
    ends: dict[str, int] = {}
    for group, names in groups.items():
        offsets = [file.arrays[name].offset for name in names if file.arrays[name].nbytes]
        known = [offset for offset in offsets if offset is not None]
        container, _, inner = group.partition("/")
        if len(known) < len(offsets) or container not in CONTAINERS:
            return {}
        layer = f"{container}/{inner.partition('/')[0]}"
        ends[layer] = max([*known, ends.get(layer, 0)])
    places: dict[str, tuple[int, int]] = {}
    last: dict[str, int] = {}
    for number, layer in enumerate(sorted(ends, key=_natural)):
        kind = _NUMBERS.split(layer)[0].rstrip("_") if layer[-1].isdecimal() else layer
        last[kind] = max(last.get(kind, 0), ends[layer])
        places[layer] = (last[kind], number)
    return {layer: number for number, layer in enumerate(sorted(places, key=places.__getitem__))}


def _place(group: str, order: Mapping[str, int]) -> int:
    """Where the layer around a group stands in the network; a group that no layer is around stands last."""
    parts = group.split("/")
    around = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((order[path] for path in around if path in order), len(order))


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that puts 2 before 10."""
    parts = _NUMBERS.split(text)
    return [(1, int(part[:18]), "") if number % 2 else (0, 0, part) for number, part in enumerate(parts)]
