"""One pass through a network that follows what each convolution gives to the norm that takes it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch.utils.hooks import RemovableHandle


@dataclass(slots=True)
class Flow:
    """What a pass saw.

    Attributes:
        convolutions: how often each convolution was called.
        norms: how often each norm was called.
        passed: (convolution, norm): how often the norm's input was the very tensor that the convolution gave.
        rearranged: (convolution, norm): how often it was a view of it: flattened, permuted, a part.
        elsewhere: how often something other than a norm took what a convolution gave.
        takers: by convolution, the first operator that did.
        axes: number of axes of the inputs of each norm.
        stopped: the error that ended the pass early, or None.
    """

    convolutions: Counter[str] = field(default_factory=Counter)
    norms: Counter[str] = field(default_factory=Counter)
    passed: Counter[tuple[str, str]] = field(default_factory=Counter)
    rearranged: Counter[tuple[str, str]] = field(default_factory=Counter)
    elsewhere: Counter[str] = field(default_factory=Counter)
    takers: dict[str, str] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    stopped: Exception | None = None

    @property
    def called(self) -> set[str]:
        """The convolutions and norms that were called."""
        return set(self.convolutions) | set(self.norms)

    def join(self, other: Flow, names: set[str]) -> None:
        """Take over what another pass saw of some convolutions and norms."""
        for mine, theirs in ((self.convolutions, other.convolutions), (self.norms, other.norms)):
            mine.update({name: count for name, count in theirs.items() if name in names})
        for pairs, seen in ((self.passed, other.passed), (self.rearranged, other.rearranged)):
            pairs.update({pair: count for pair, count in seen.items() if pair[0] in names})
        self.elsewhere.update({name: count for name, count in other.elsewhere.items() if name in names})
        self.axes = other.axes | self.axes
        self.takers = other.takers | self.takers


def trace(run: Callable[[], object], convolutions: Mapping[str, nn.Module], norms: Mapping[str, nn.Module]) -> Flow:
    """Follow the tensors of one pass from convolutions to norms.

    Args:
        run: calls the model; an error of its ends the pass and is kept in `Flow.stopped`.
        convolutions: whose outputs are followed, by name.
        norms: whose inputs are looked at, by name.

    Returns:
        What was seen. No gradient is recorded, and the hooks are gone.
    """
    watch = _Watch()
    hooks = list(_hooked(watch, convolutions, norms))
    try:
        with torch.no_grad(), watch:
            answer = run()
    except Exception as error:  # noqa: BLE001 - the model's own code may fail in any way; what was seen counts
        watch.flow.stopped = error
        return watch.flow
    finally:
        for hook in hooks:
            hook.remove()
    for given in watch.given_among(list(_leaves(answer))):
        watch.flow.elsewhere[given.name] += 1
    return watch.flow


@dataclass(frozen=True, slots=True)
class _Given:
    """A tensor that a convolution gave, held so that no other takes its identity."""

    name: str
    tensor: Tensor
    version: int


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's class is untyped
    """Tells which operators outside of norms read what a convolution gave."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flow = Flow()
        self._given: dict[int, _Given] = {}
        self._within = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        if not self._within:
            for given in self.given_among([*args, *(kwargs or {}).values()]):
                self.flow.elsewhere[given.name] += 1
                self.flow.takers.setdefault(given.name, str(func.overloadpacket.__name__).strip("_"))
        return func(*args, **(kwargs or {}))

    def given_among(self, values: list[Any]) -> Iterator[_Given]:
        """Those of the values, or of lists among them, that a convolution gave."""
        for value in values:
            if isinstance(value, list | tuple):
                yield from self.given_among(list(value))
            elif isinstance(value, Tensor) and id(value) in self._given:
                yield self._given[id(value)]

    def convolved(self, name: str, output: object) -> None:
        """A convolution has given its output."""
        self.flow.convolutions[name] += 1
        if isinstance(output, Tensor):
            self._given[id(output)] = _Given(name, output, _version(output))

    def entered(self, name: str, inputs: tuple[object, ...]) -> None:
        """A norm is about to work on its input."""
        self._within += 1
        self.flow.norms[name] += 1
        if not inputs or not isinstance(inputs[0], Tensor):
            return
        values = inputs[0]
        self.flow.axes.setdefault(name, values.ndim)
        given, base = self._given.get(id(values)), self._given.get(id(_base(values)))
        if given is not None and _version(values) == given.version:
            self.flow.passed[given.name, name] += 1
        elif base is not None and _version(values) == base.version:
            self.flow.rearranged[base.name, name] += 1

    def left(self) -> None:
        """A norm is done."""
        self._within -= 1


def _leaves(answer: object, depth: int = 3) -> Iterator[object]:
    """What stands in an answer, also in objects of the model's own, which torch takes for one leaf."""
    for leaf in tree_leaves(answer):
        yield leaf
        if depth and hasattr(leaf, "__dict__") and not isinstance(leaf, Tensor | nn.Module):
            yield from _leaves(list(vars(leaf).values()), depth - 1)


def _version(tensor: Tensor) -> int:
    """How often a tensor was changed in place."""
    return tensor._version  # noqa: SLF001 - torch documents it under this name


def _base(tensor: Tensor) -> Tensor | None:
    """What a tensor is a view of."""
    return tensor._base  # noqa: SLF001 - torch documents it under this name


def _hooked(
    watch: _Watch, convolutions: Mapping[str, nn.Module], norms: Mapping[str, nn.Module]
) -> Iterator[RemovableHandle]:
    for name, module in convolutions.items():
        yield module.register_forward_hook(lambda _, __, output, name=name: watch.convolved(name, output))
    for name, module in norms.items():
        yield module.register_forward_pre_hook(lambda _, inputs, name=name: watch.entered(name, inputs))
        yield module.register_forward_hook(lambda *_: watch.left(), always_call=True)
