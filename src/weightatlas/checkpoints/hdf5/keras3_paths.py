"""A layer's path as people name it, from the path of its variables in a file of Keras 3.

`layers/bidirectional/forward_layer/cell` becomes `bi/forward_gru/gru_cell`: each object has a name, which newer files
keep beside its variables, and lists of objects have none.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from weightatlas.checkpoints.hdf5.keras_config import LayerConfig

LISTS: Final = re.compile(r"layers|_layer_checkpoint_dependencies|container(_\d+)?")
NAME_LIMIT: Final = 200
ATTRIBUTES: Final = {
    "query_dense": "query",
    "key_dense": "key",
    "value_dense": "value",
    "output_dense": "attention_output",
}
"""What attention calls its parts, by the attributes they are kept in."""


def layer_paths(
    groups: Iterable[str], named: Callable[[str], str | None], layers: Mapping[str, LayerConfig]
) -> dict[str, str]:
    """The path of names for every group of variables; where two would be the same, both keep the file's.

    Args:
        groups: paths of objects that have variables.
        named: the name that the file gives an object, if it gives one.
        layers: the configuration's layers by their paths in the file.

    Example:
        >>> names = {"layers/sequential": "head", "layers/sequential/layers/dense": "last"}
        >>> layer_paths(["layers/sequential/layers/dense"], names.get, {})
        {'layers/sequential/layers/dense': 'head/last'}
    """
    groups = list(groups)
    has_names = any(named(group) for group in groups)
    paths = {group: _path(group, named, layers, has_names=has_names) for group in groups}
    counts = Counter(paths.values())
    return {group: path if counts[path] == 1 else _without_lists(group) for group, path in paths.items()}


def _path(group: str, named: Callable[[str], str | None], layers: Mapping[str, LayerConfig], *, has_names: bool) -> str:
    parts = [part for part in group.split("/") if part]
    found: list[str] = []
    for number, part in enumerate(parts):
        here = "/".join(parts[: number + 1])
        name = named(here)
        if not name and here in layers:
            name = layers[here].name.rpartition("/")[2]
        if name:
            found.append(name.strip("/")[:NAME_LIMIT])
        elif LISTS.fullmatch(part) or (has_names and number < len(parts) - 1):
            continue
        else:
            found.append(ATTRIBUTES.get(part, part))
    return "/".join(part for part in found if part)


def _without_lists(group: str) -> str:
    return "/".join(part for part in group.split("/") if not LISTS.fullmatch(part))
