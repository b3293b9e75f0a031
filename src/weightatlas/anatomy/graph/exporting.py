"""A model as the graph of operators that `torch.export` makes of it; the model is left as it was."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import fx, nn

from weightatlas.errors import SourceError

Example = torch.Tensor | Sequence[Any] | Mapping[str, Any]
"""What a model is called with: one tensor, its arguments, or its arguments by name."""

_FACTORY: Final = re.compile(r"::new_|_like$")
_REMEDY: Final = "give inputs that it runs on, or a model whose forward() torch.export can follow"


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """A model's graph and what stands behind the graph's inputs.

    Attributes:
        module: the graph, of torch's operators as the model calls them; where it writes into parts of values, as they
            are without that.
        names: for each input that is a parameter or a buffer, its name in the state dict.
        parameters: those of these names that are parameters.
        aliases: for each parameter that has several names, all of them.
        state: for each input that is a parameter, a buffer or a constant, its value.
        inputs: the inputs of the graph that are the model's own.
        example: the tensors among what the model was called with, in the order of `inputs`.
    """

    module: fx.GraphModule
    names: Mapping[str, str]
    parameters: frozenset[str]
    aliases: Mapping[str, tuple[str, ...]]
    state: Mapping[str, Any]
    inputs: tuple[str, ...]
    example: tuple[Any, ...]


def export_graph(model: nn.Module, example: Example) -> Exported:
    """Export a model in evaluation mode, with static shapes.

    Args:
        model: any module; its mode, its weights and its gradients are as before afterwards.
        example: inputs that it runs on.

    Raises:
        SourceError: the model cannot be exported, or does not run on these inputs.
    """
    arguments, named = arguments_of(example)
    with _evaluating(model), quiet_torch(), torch.no_grad():
        try:
            program = torch.export.export(model, arguments, named, strict=False)
            if _writes_into_parts(program.graph_module.graph, frozenset(program.graph_signature.user_inputs)):
                program = program.run_decompositions({})  # each write becomes a value of its own
        except Exception as error:  # the model's own code may fail in any way
            lines = str(error).strip().splitlines() or [""]
            problem = f"cannot be exported ({type(error).__name__}: {lines[0][:200]})"
            raise SourceError(type(model).__name__, problem, _REMEDY) from error
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = {spec.arg.name: spec.target for spec in signature.input_specs if spec.target in program.constants}
    state = {node: program.state_dict[name] for node, name in names.items() if name in program.state_dict}
    state |= {node: program.constants[str(name)] for node, name in constants.items()}
    flat, _ = torch.utils._pytree.tree_flatten((arguments, named))  # noqa: SLF001 - the order that export uses
    return Exported(
        program.graph_module,
        MappingProxyType(names),
        frozenset(signature.inputs_to_parameters.values()),
        MappingProxyType(_aliases(model)),
        MappingProxyType(state),
        tuple(str(name) for name in signature.user_inputs),
        tuple(flat),
    )


def arguments_of(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and named arguments for a call of the model.

    Example:
        >>> arguments_of({"input_ids": 3}), arguments_of((1, 2))
        (((), {'input_ids': 3}), ((1, 2), {}))
    """
    if isinstance(example, torch.Tensor):
        return (example,), {}
    if isinstance(example, Mapping):
        return (), dict(example)
    return tuple(example), {}


def _aliases(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The names of every parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, one in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(one), []).append(name)
    return {name: tuple(several) for several in names.values() if len(several) > 1 for name in several}


def _writes_into_parts(graph: fx.Graph, inputs: frozenset[Any]) -> bool:
    """Whether what depends on the input is written into a part of another value, which then changes unseen."""
    depending: set[fx.Node] = set()
    node: fx.Node
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        takes_shape_only = schema is not None and _FACTORY.search(schema.name) is not None
        if node.name in inputs or not (takes_shape_only or depending.isdisjoint(node.all_input_nodes)):
            depending.add(node)
        writes = schema is not None and schema.name.endswith("_") and not schema.name.endswith("__")
        if writes and node in depending and (not node.users or _shares_memory(node.args[0])):
            return True
    return False


def _shares_memory(value: object) -> bool:
    """Whether a value is a view of another one that is used elsewhere too."""
    schema = getattr(getattr(value, "target", None), "_schema", None)
    aliases = schema is not None and any(one.alias_info is not None for one in schema.returns)
    sources = value.all_input_nodes if isinstance(value, fx.Node) and aliases else []
    return any(len(source.users) > 1 or _shares_memory(source) for source in sources[:1])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and attention as its parts: the fast path would hide them in one operator."""
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=fast)
        for module, mode in modes:
            module.training = mode


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep what torch says of its own workings, and of old files, off the standard streams."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
