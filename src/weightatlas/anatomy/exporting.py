"""A model as the graph of operators that `torch.export` makes of it; the model is left as it was."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from torch import fx

Example = torch.Tensor | Sequence[Any] | Mapping[str, Any]
"""What a model is called with: one tensor, its arguments, or its arguments by name."""

_REMEDY: Final = "give inputs that it runs on, or a model whose forward() torch.export can follow"


@dataclass(frozen=True, slots=True, eq=False)
class Exported:
    """A model's graph and what stands behind the graph's inputs.

    Attributes:
        module: the graph, of torch's operators as the model calls them (no decompositions).
        names: for each input that is a parameter or a buffer, its name in the state dict.
        parameters: those of these names that are parameters.
        state: for each input that is a parameter, a buffer or a constant, its value.
        inputs: the inputs of the graph that are the model's own.
        example: the tensors among what the model was called with, in the order of `inputs`.
    """

    module: fx.GraphModule
    names: Mapping[str, str]
    parameters: frozenset[str]
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
    with _evaluating(model), _quiet(), torch.no_grad():
        try:
            program = torch.export.export(model, arguments, named, strict=False)
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
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of its own workings off the standard streams."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
