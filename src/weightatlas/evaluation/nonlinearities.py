"""What every elementwise nonlinearity of a network is given, told as the network runs and without changing it."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from weightatlas.checkpoints.wrapping import INSERTED
from weightatlas.errors import SourceError
from weightatlas.evaluation.elementwise import CLAMPS, GATES, function_name, nonlinearity, written_out
from weightatlas.evaluation.origins import (
    FIRST,
    KEPT,
    LAST,
    MOVED,
    NORMS,
    RESHAPED,
    WORDS,
    Affine,
    Call,
    Origin,
    affine_of,
    affine_of_module,
    channel_axis,
    followed,
    tensors_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Listener = Callable[["Point", torch.Tensor], object]

INPUTS: Final = "inputs"
"""The layer that is said to have made what the network is given."""

_KINDS: Final = {
    "BatchChannelNorm": "batch-channel",
    "BatchNorm": "batch",
    "InstanceNorm": "instance",
    "GroupNorm": "group",
    "LayerNorm": "layer",
    "RMSNorm": "rms",
}

_LAST: Final = frozenset({"layer", "rms"})
"""Norms whose channels are last."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place of a network where channels meet a nonlinearity.

    Attributes:
        layer: path of the module that made the inputs, most often the norm or the convolution right before. Where no
            layer did, the containing module with what it did in brackets: `layer1.0 (sum)` behind a residual branch.
            A second call in one pass through the network is `... #2`, so that names are unique.
        function: the nonlinearity: "relu", "gelu", ...
        norm: kind of the norm right before, "batch", "group", "layer", "instance", "rms" or "batch-channel"; None
            where something else is.
        axis: of the channels in the inputs.
        affine: what the norm ended with; it holds tensors of the network and takes no part in comparisons.
    """

    layer: str
    function: str
    norm: str | None = None
    axis: int = 1
    affine: Affine | None = field(default=None, compare=False, repr=False)


@contextmanager
def nonlinearities(model: nn.Module, listener: Listener, *, gates: bool = False) -> Iterator[nn.Module]:
    """Tell a listener what every elementwise nonlinearity of a network is given, before each call.

    Modules, functions, methods, operations in place, the activations inside timm's norms and the operators of an
    exported graph are all seen, in training and evaluation, under autocast and in any memory format. Nothing of the
    network is replaced: hooks follow which module runs, and a mode of torch's follows the functions while the network
    does. Both are gone when the block ends, however it ends. Compiled networks run uncompiled while it is open.

    Told are relu, relu6, leaky_relu, prelu, rrelu, elu, celu, selu, gelu, silu, mish, hardswish, hardtanh, softplus,
    softsign, the shrinks, threshold, log-sigmoid, tanh, and a clamp from 0 up. Sigmoid and hardsigmoid are gates: they
    scale another tensor (squeeze-and-excitation) and eliminate no channel; they are told with `gates`. What happens
    outside of every module's `forward`, inside one function of torch's (an LSTM's gates), inside an `autograd.Function`
    and in the recomputation of checkpointed activations is not seen.

    Args:
        model: the network, which the block calls as it likes; wrapped by data parallelism or `torch.compile` too.
        listener: takes the `Point` and its inputs, the network's own tensor: (examples, ...), floating point, channels
            along `point.axis`. It must not change them, and must copy what it keeps.
        gates: also tell of sigmoid and hardsigmoid.

    Yields:
        The model, as it was given.

    Raises:
        SourceError: the model is scripted: what happens inside cannot be seen.

    Example:
        >>> from torch.nn import functional
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        ...     def forward(self, inputs):
        ...         return functional.relu(functional.relu(self.norm(self.conv(inputs))) + inputs)
        >>> block = Block()
        >>> with nonlinearities(block, lambda point, inputs: print(point.layer, point.norm, tuple(inputs.shape))):
        ...     outputs = block(torch.zeros(2, 3, 4, 4))
        norm batch (2, 3, 4, 4)
        (sum) None (2, 3, 4, 4)
    """
    root = uncovered(model)
    for name, module in root.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            problem = f"{name or type(model).__name__} is scripted, and nothing inside can be followed"
            raise SourceError(type(model).__name__, problem, "give the network that it was made of")
    follower = _Follower(root, listener, gates=gates)
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(follower.leave)
        for handle in follower.hooks():
            stack.callback(handle.remove)
        yield model


def uncovered(model: nn.Module) -> nn.Module:
    """The network inside of `torch.compile` and of data parallelism, which names no layer of its own."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


class _Follower(TorchFunctionMode):
    """Follows one network: which module runs, what made each tensor."""

    def __init__(self, root: nn.Module, listener: Listener, *, gates: bool) -> None:
        super().__init__()
        self._listener, self._gates = listener, gates
        self._paths = {module: _plain(name) for name, module in root.named_modules()}
        self._norms = {module for module in self._paths if norm_kind(module) and not list(module.children())}
        self._owners = _owners(root)
        self._running: list[nn.Module] = []
        self._origins = WeakTensorKeyDictionary()
        self._told: dict[str, int] = {}
        self._is_on = False
        self._inside: nn.Module | None = None

    def hooks(self) -> Iterator[Any]:
        """Open the hooks, one handle after the other."""
        for module in self._paths:
            yield module.register_forward_pre_hook(self._entered, with_kwargs=True)
            yield module.register_forward_hook(self._left, always_call=True)

    def leave(self) -> None:
        """Stop following, if an interruption has left it on."""
        self._running.clear()
        self._origins = WeakTensorKeyDictionary()
        self._inside = None
        if self._is_on:
            self._is_on = False
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _begin(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Follow a pass forward from its outermost module on."""
        self._told.clear()
        self.__enter__()  # type: ignore[no-untyped-call]
        self._is_on = True
        for tensor in torch.utils._pytree.tree_leaves((arguments, named)):  # noqa: SLF001 - torch names no other
            if isinstance(tensor, torch.Tensor):
                self._origins[tensor] = Origin(INPUTS)

    def _entered(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not self._is_on:
            if torch._C._current_graph_task_id() >= 0:  # noqa: SLF001 - backward: what was forgotten is computed again
                return
            self._begin(arguments, named)
        self._running.append(module)
        name = written_out(module)
        if name is not None and arguments and isinstance(arguments[0], torch.Tensor) and self._inside is None:
            self._tell(name, arguments[0])
            self._inside = module

    def _left(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        if not self._is_on or module not in self._running:
            return
        while self._running.pop() is not module:  # those that an error has ended
            pass
        if self._inside is module:
            self._inside = None
            if isinstance(output, torch.Tensor):
                self._origins[output] = Origin(self._paths[module], nonlinear=True)
        elif isinstance(output, torch.Tensor):
            self._name_norm(module, arguments, output)
        if not self._running:
            self.leave()

    def _name_norm(self, module: nn.Module, arguments: tuple[Any, ...], output: torch.Tensor) -> None:
        """Say of a norm's output that the norm made it, whatever it is made of inside."""
        kind = norm_kind(module)
        origin = self._origin(output)
        if kind is None or (origin is not None and origin.nonlinear):
            return
        path = self._paths[module]
        if origin is not None and origin.norm is not None:
            if kind == "batch-channel" != origin.norm:
                self._origins[output] = replace(origin, layer=path, norm=kind)
            return
        axis = output.ndim - 1 if kind in _LAST else 1
        affine = affine_of_module(module, arguments, axis, output.shape[axis])
        self._origins[output] = Origin(path, output.shape[axis], axis, kind, affine)

    def __torch_function__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        named = named or {}
        if self._inside is not None or not self._running:
            return function(*arguments, **named)
        sources = [tensor for tensor in tensors_of(arguments, named) if tensor in self._origins]
        if not sources:
            return function(*arguments, **named)
        call = Call(function, function_name(function), arguments, named)
        main = self._origins[sources[0]]
        found = nonlinearity(call.name, arguments, named)
        if found is None and self._gates and call.name in GATES:
            found = call.name
        if self._running[-1] in self._norms or (call.name in CLAMPS and main.axis is None):
            found = None  # of variances, or of coordinates
        if found is not None:
            self._tell(found, sources[0])
        output = function(*arguments, **named)
        given = next((tensor for tensor in tensors_of((output,)) if tensor.ndim), None)
        if given is not None:
            origin = self._made(call, main, given)
            if found is not None:
                origin = replace(origin, axis=main.axis, channels=main.channels, nonlinear=True)
            for tensor in tensors_of((output,)):
                self._origins[tensor] = origin
        return output

    def _origin(self, tensor: torch.Tensor) -> Origin | None:
        return cast("Origin | None", self._origins.get(tensor))  # type: ignore[no-untyped-call]

    def _tell(self, name: str, inputs: torch.Tensor) -> None:
        origin = self._origin(inputs)
        if origin is None or inputs.ndim < 2 or not inputs.is_floating_point():
            return
        number = self._told[origin.layer] = self._told.get(origin.layer, 0) + 1
        layer = origin.layer if number == 1 else f"{origin.layer} #{number}"
        point = Point(layer, name, origin.norm, channel_axis(inputs, origin), origin.affine)
        with torch.no_grad():
            self._listener(point, inputs.detach())

    def _made(self, call: Call, main: Origin, output: torch.Tensor) -> Origin:
        """Say what made the output of a call, given where its first input came from."""
        if call.name in KEPT or call.name in MOVED or call.name in RESHAPED:
            return followed(call, main, output)
        if call.name in NORMS:
            kind = NORMS[call.name][0]
            axis = output.ndim - 1 if kind in _LAST else 1
            return Origin(self._layer(call), output.shape[axis], axis, kind, affine_of(call))
        if call.name in FIRST or call.name in LAST:
            axis = 1 if call.name in FIRST else output.ndim - 1
            return Origin(self._layer(call), output.shape[axis], axis)
        if main.axis is None or main.axis >= output.ndim:
            return Origin(self._place(call.name))
        return Origin(self._place(call.name), output.shape[main.axis], main.axis)

    def _layer(self, call: Call) -> str:
        """The module that runs, or the one inside whose parameters a function is given: graphs run no modules."""
        running = self._running[-1]
        if next(running.children(), None) is not None:
            owners = {
                self._owners[id(one)] for one in tensors_of(call.arguments, call.named) if id(one) in self._owners
            }
            if len(owners) == 1:
                return owners.pop()
        return self._paths[running]

    def _place(self, name: str) -> str:
        """The module that runs, and what it does there where it is no layer of torch's."""
        running = self._running[-1]
        if type(running).__module__.startswith("torch.nn.") and next(running.children(), None) is None:
            return self._paths[running]
        return f"{self._paths[running]} ({WORDS.get(name, name)})".strip()


def norm_kind(module: nn.Module) -> str | None:
    """Name the kind of a norm by its class; None for what is none.

    Example:
        >>> norm_kind(nn.SyncBatchNorm(4)), norm_kind(nn.LayerNorm(4)), norm_kind(nn.Conv2d(1, 1, 1))
        ('batch', 'layer', None)
    """
    for kind in type(module).__mro__:
        for word, name in _KINDS.items():
            if word in kind.__name__:
                return name
    return None


def _owners(root: nn.Module) -> dict[int, str]:
    """From the identity of each parameter and buffer to the path of the module that has it."""
    named = (*root.named_parameters(), *root.named_buffers())
    return {id(tensor): _plain(name).rpartition(".")[0] for name, tensor in named}


def _plain(path: str) -> str:
    """A path without the parts that wrappers of submodules put in."""
    dotted = f"{path}."
    for part in INSERTED:
        dotted = dotted.replace(f".{part}", ".").removeprefix(part)
    return dotted.removesuffix(".")
