"""The classes and names of a network's layers, as Keras's own description of a model (its configuration) gives them.

**Source:** `Model.get_config` of Keras 1 to 3, and `keras.src.saving.saving_lib`, which addresses a layer in a list by
its class in snake case and a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEPTH_LIMIT: Final = 16
NAME_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """What a configuration says of one layer.

    Attributes:
        kind: its class in snake case: "conv2d", "batch_normalization".
        path: where Keras 3 keeps its variables: "layers/sequential/layers/dense_1".
        name: its name, with those of the models around it before: "head/dense".
        options: the arguments it was made with.
    """

    kind: str
    path: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def equation(self) -> str:
        """The sum of an `EinsumDense`, or nothing."""
        equation = self.options.get("equation")
        return equation if self.kind == "einsum_dense" and isinstance(equation, str) else ""


def read_layers(config: Any) -> tuple[LayerConfig, ...]:  # noqa: ANN401 - whatever JSON held
    """All layers of a model's configuration, in its order; none where it is no such thing.

    Example:
        >>> dense = {"class_name": "Dense", "config": {"name": "out"}}
        >>> [(layer.kind, layer.path, layer.name) for layer in read_layers({"config": {"layers": [dense, dense]}})]
        [('dense', 'layers/dense', 'out'), ('dense', 'layers/dense_1', 'out')]
    """
    return tuple(_layers(config.get("config"), "", "", 0)) if isinstance(config, dict) else ()


def snake_case(name: str) -> str:
    """A class name as Keras writes it in paths.

    Example:
        >>> snake_case("Conv2DTranspose"), snake_case("BatchNormalization")
        ('conv2d_transpose', 'batch_normalization')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _layers(config: object, path: str, name: str, depth: int) -> Iterator[LayerConfig]:
    layers = config.get("layers") if isinstance(config, dict) else config  # Keras 1 has the list itself
    if not isinstance(layers, list) or depth > DEPTH_LIMIT:
        return
    counts: dict[str, int] = {}
    for layer in layers:
        found = _class_and_options(layer)
        if found is None:
            continue
        kind, options = found
        number = counts[kind] = counts.get(kind, -1) + 1
        here = f"{path}layers/{kind}_{number}" if number else f"{path}layers/{kind}"
        own = f"{name}{_name(options, layer.get('name', kind))}"
        yield LayerConfig(kind, here, own, options)
        yield from _layers(options, f"{here}/", f"{own}/", depth + 1)
        yield from _wrapped(options, here, own)


def _wrapped(options: Mapping[str, Any], path: str, name: str) -> Iterator[LayerConfig]:
    """The layer inside a wrapper such as `TimeDistributed`; `Bidirectional` keeps it twice."""
    found = _class_and_options(options.get("layer"))
    if found is not None:
        kind, inner = found
        for place, prefix in (("layer", ""), ("forward_layer", "forward_"), ("backward_layer", "backward_")):
            yield LayerConfig(kind, f"{path}/{place}", f"{name}/{prefix}{_name(inner, kind)}", inner)


def _name(options: Mapping[str, Any], otherwise: object) -> str:
    """A layer's own name, cut: it stands before the name of every layer within."""
    return str(options.get("name", otherwise))[:NAME_LIMIT]


def _class_and_options(layer: object) -> tuple[str, Mapping[str, Any]] | None:
    if not isinstance(layer, dict) or not isinstance(layer.get("class_name"), str):
        return None
    options = layer.get("config")
    return snake_case(layer["class_name"][:80]), options if isinstance(options, dict) else {}
