"""One run of a network as the list of torch's functions that it calls, and the values that each takes and makes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from weightatlas.anatomy.graph.exporting import arguments_of
from weightatlas.errors import SourceError
from weightatlas.evaluation.elementwise import function_name
from weightatlas.evaluation.modes import in_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.anatomy.graph.exporting import Example

WRITTEN: Final = "written into"
"""The name of the call that is said to have made a value which another one's writing has changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call of one of torch's functions.

    Attributes:
        number: its place in the run.
        name: the function's plain name.
        function: itself.
        arguments: as given.
        named: as given.
        path: of the module that ran.
        taken: the tensors among its arguments, each with the number of its value before the call.
        made: the tensors it gave, or wrote into, each with the number of its value afterwards.
    """

    number: int
    name: str
    function: Any
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    path: str
    taken: tuple[tuple[torch.Tensor, int], ...]
    made: tuple[tuple[torch.Tensor, int], ...]

    def argument(self, place: int, name: str, default: Any = None) -> Any:  # noqa: ANN401 - what the function takes
        """One argument, by its place or its name."""
        return self.arguments[place] if len(self.arguments) > place else self.named.get(name, default)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a network did with one input.

    Attributes:
        calls: in order.
        names: for each value that is a parameter or a buffer, its first name.
        outputs: the values that the network gave.
    """

    calls: tuple[Call, ...]
    names: Mapping[int, str]
    outputs: frozenset[int]

    def name_of(self, call: Call, tensor: object) -> str | None:
        """The name of an argument that is a parameter or a buffer as it stands in the network."""
        return next((self.names.get(value) for one, value in call.taken if one is tensor), None)


def followed_run(model: nn.Module, example: Example) -> Run:
    """Run a network once in evaluation mode, without gradients, and write down each function of torch's that it calls.

    A value is a tensor at one time: what is written into has another number afterwards, and so has whatever shares its
    memory. Hidden are scripted modules (refused) and functions of autograd that a user wrote: what they make has no
    source. Attention runs as its parts, not by the fast path of torch's.

    Raises:
        SourceError: the model is scripted, or does not run on this input.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            problem = f"{name or type(model).__name__} is scripted, and nothing inside can be followed"
            raise SourceError(type(model).__name__, problem, "give the network that it was made of")
    arguments, named = arguments_of(example)
    recorder = _Recorder(model)
    with in_mode(model, training=False), torch.no_grad(), attention_in_parts(), ExitStack() as stack:
        for handle in recorder.hooks(model):
            stack.callback(handle.remove)
        try:
            with recorder:
                output = model(*arguments, **named)
        except Exception as error:  # the model's own code may fail in any way
            lines = str(error).strip().splitlines() or [""]
            problem = f"does not run on the example ({type(error).__name__}: {lines[0][:200]})"
            raise SourceError(type(model).__name__, problem, "give inputs that it runs on") from error
    given = (one for one in tensors_in(output) if id(one) in recorder.values)
    return Run(tuple(recorder.calls), recorder.names, frozenset(recorder.values[id(one)] for one in given))


def tensors_in(tree: object) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples, mappings and outputs of transformers."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    leaves = torch.utils._pytree.tree_leaves(tree)  # noqa: SLF001 - torch names no other
    found = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor) and hasattr(leaf, "__dict__"):
            found += [one for one in vars(leaf).values() if isinstance(one, torch.Tensor)]
    return found


@contextmanager
def attention_in_parts() -> Iterator[None]:
    """Keep torch's modules of attention from calling one function for all that they do."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=fast)


@dataclass(slots=True)
class _Known:
    """Tensors kept alive, so that no other one takes their identity, by the memory that they share."""

    tensors: dict[int, list[torch.Tensor]] = field(default_factory=dict)

    def add(self, tensor: torch.Tensor) -> None:
        self.tensors.setdefault(_memory(tensor), []).append(tensor)

    def sharing(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        return self.tensors.get(_memory(tensor), [])


class _Recorder(TorchFunctionMode):
    """Numbers every value of a run."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.values: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self._known = _Known()
        self._running: list[str] = []
        self._count = 0
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self.names[self._number(tensor)] = name

    def hooks(self, model: nn.Module) -> Iterator[Any]:
        """Follow which module runs."""
        for path, module in model.named_modules():
            yield module.register_forward_pre_hook(lambda *_, path=path: self._running.append(path))
            yield module.register_forward_hook(self._left, always_call=True)

    def _left(self, *_: object) -> None:
        self._running.pop()

    def __torch_function__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        # Lists that the network goes on filling (features.append) stay here as they are now.
        arguments, named = torch.utils._pytree.tree_map(lambda one: one, (tuple(arguments), dict(named or {})))  # noqa: SLF001 - torch names no other
        given = {id(one): one for one in tensors_in((arguments, named))}
        taken = tuple((one, self._value(one)) for one in given.values())
        versions = [one._version for one in given.values()]  # noqa: SLF001 - torch's only word on writing
        output = function(*arguments, **named)
        written = [
            one
            for one, before in zip(given.values(), versions, strict=True)
            if one._version != before  # noqa: SLF001
        ]
        made = {id(one): one for one in (*tensors_in(output), *written)}
        if not made:
            return output
        fresh = [one for key, one in made.items() if key not in given or any(one is other for other in written)]
        results = [(one, self._number(one)) for one in fresh]
        results += [(one, self.values[key]) for key, one in made.items() if not any(one is other for other in fresh)]
        path = self._running[-1] if self._running else ""
        self._add(
            Call(len(self.calls), function_name(function), function, arguments, named, path, taken, tuple(results))
        )
        for one in written:
            self._spoil(one, path)
        return output

    def _add(self, call: Call) -> None:
        self.calls.append(call)

    def _spoil(self, written: torch.Tensor, path: str) -> None:
        """Give new numbers to whatever shares the memory of a tensor that was written into."""
        for other in self._known.sharing(written):
            if other is not written:
                taken = tuple((one, self.values[id(one)]) for one in (other, written))
                made = ((other, self._number(other)),)
                self.calls.append(Call(len(self.calls), WRITTEN, None, (other, written), {}, path, taken, made))

    def _value(self, tensor: torch.Tensor) -> int:
        return self.values[id(tensor)] if id(tensor) in self.values else self._number(tensor)

    def _number(self, tensor: torch.Tensor) -> int:
        if id(tensor) not in self.values:
            self._known.add(tensor)
        self._count += 1
        self.values[id(tensor)] = self._count
        return self._count


def _memory(tensor: torch.Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # sparse tensors have none of their own
        return id(tensor)
