"""Named points of any network: what is there, and what follows where something else is put there."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.nonlinearities import uncovered
from weightatlas.evaluation.point_hooks import INPUT, OUTPUT, Place, hooked
from weightatlas.evaluation.seeding import seed_generators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Change = Callable[[torch.Tensor], torch.Tensor]

_MAPS: Final = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)  # noqa: SLF001 - what they share
_LAST: Final = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention)


class _Reached(BaseException):
    """The last point that is wanted has been reached: no error, and nothing that a network may catch."""


class NamedPoints:
    r"""Points of a network by name, in the order in which it reaches them.

    A point is `"path"`, what goes into the module at that path; `"path:output"`, what comes out of it; `"input"` and
    `"output"`, of the network itself. (A module that is itself called so is `"output:input"`, `"output:output"`.) Of a
    module's inputs it is the first tensor, wherever it is given; of several outputs the logits, or else the first.

    The values of a point are what the network holds there, examples first. Their features are along one axis: the last
    for sequences (examples, positions, features), axis 1 for maps (examples, features, height, width); of a
    convolution, a pooling or a batch, instance or group norm it is always 1, of a linear layer, a layer norm, an
    embedding or an attention always the last. `axes` says otherwise.

    Points are meant to be cuts: all that later points know of the inputs, they know through the earlier one. `check`
    finds out.

    The network runs in evaluation mode, by hooks that are gone when a pass ends; its modes are put back.

    Attributes:
        model: the network that is run, out of its wrappers.
        names: of the points.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> points = NamedPoints(network, ["0", "2", "output"])
        >>> inputs = torch.ones(4, 2)
        >>> points.check(inputs)
        >>> [tuple(values.shape) for values in points.values(inputs).values()]
        [(4, 2), (4, 3), (4, 1)]
        >>> hidden = torch.zeros(4, 3)
        >>> bool((points.onward(inputs, "2", hidden, "output") == network[2].bias).all())
        True
    """

    def __init__(self, model: nn.Module, names: Sequence[str], *, axes: Mapping[str, int] | None = None) -> None:
        """Find the modules.

        Args:
            model: any network.
            names: of the points.
            axes: of the features, for points whose axis is another than is said above.

        Raises:
            SourceError: a module is not there.
            ValueError: a point is named twice.
        """
        if len(set(names)) < len(names) or isinstance(names, str):
            message = f"points are a sequence of different names, not {names!r}"
            raise ValueError(message)
        self.model = uncovered(model)
        self.names = tuple(names)
        self._axes = dict(axes or {})
        self._modules = dict(self.model.named_modules(remove_duplicate=False))
        self._places = {name: self._place(name) for name in self.names}

    def values(self, inputs: torch.Tensor, *names: str) -> dict[str, torch.Tensor]:
        """What is at every point.

        Args:
            inputs: of the network, examples first.
            names: of some of the points; none are all.

        Returns:
            Detached values by name, in the order of `names`.

        Raises:
            SourceError: a point is never reached, more than once, or holds no examples of floating-point numbers.
        """
        found = self._found(inputs, names or self.names)
        return {name: found[name] for name in names or self.names}

    def onward(self, inputs: torch.Tensor, source: str, values: torch.Tensor, target: str) -> torch.Tensor:
        """What is at one point where other values are put at an earlier one.

        Args:
            inputs: of the network; where the earlier point is a cut, they decide nothing but shapes.
            source: the earlier point.
            values: what is put there, in the shape that the network holds there.
            target: the later point.

        Returns:
            Its values, differentiable with respect to `values` where gradients are enabled.

        Raises:
            SourceError: the later point is not reached after the earlier one.
        """
        enabled = torch.is_grad_enabled()

        def put(_: torch.Tensor) -> torch.Tensor:
            torch.set_grad_enabled(enabled)
            return values

        return self._run(inputs, (target,), {source: put})[target]

    def linked(
        self, inputs: torch.Tensor, source: str, values: torch.Tensor, target: str, *, behind: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same with the graph between both, for derivatives.

        Args:
            inputs: as `onward` takes them.
            source: the earlier point.
            values: what is put there.
            target: the later point.
            behind: have the derivatives with respect to what the module that the earlier point goes into makes of it.

        Returns:
            The leaf (`values`, or what the module gave, detached), and the later point's values.
        """
        leaves: list[torch.Tensor] = []

        def leaf(tensor: torch.Tensor) -> torch.Tensor:
            torch.set_grad_enabled(True)  # the pass puts it back
            leaves.append(tensor.detach().requires_grad_())
            return leaves[0]

        changes: dict[str, Change] = {source: lambda _: values.detach() if behind else leaf(values)}
        if behind:
            changes[OUTPUT if source == INPUT else f"{source.removesuffix(':input')}:output"] = leaf
        found = self._run(inputs, (target,), changes)
        return leaves[0], found[target]

    def check(self, inputs: torch.Tensor) -> None:
        """See that each point comes after the one before, and knows of the inputs through it alone.

        The network is run on other inputs (other examples of the batch; one example with noise) while a point holds
        what it held before: the next one must then hold what it held before, to the square root of the precision.
        One example of integers is turned along its positions; where all that gives the same inputs, nothing is seen.

        Raises:
            SourceError: as `values`, or a point comes before the one before it, or is no cut.
        """
        found = self._found(inputs, self.names)
        reached = tuple(found)
        if reached != self.names:
            late = next(name for name, other in zip(self.names, reached, strict=True) if name != other)
            problem = "the network reaches the points in another order than they are named in"
            raise SourceError(late, problem, f"name them in its order: {', '.join(reached)}")
        others = _others(inputs)
        if others is None:
            return
        for source, target in zip(self.names, self.names[1:], strict=False):
            values = found[target]
            again = self.onward(others, source, found[source], target).detach()
            tolerance = torch.finfo(values.dtype).eps ** 0.5
            scale = values.abs().max()
            if again.shape != values.shape or bool((again - values).abs().max() > tolerance * scale):
                problem = f"it is no cut: {target} knows of the inputs by another path too"
                remedy = "name a point that all paths go through, such as the input of the block around it"
                raise SourceError(source, problem, remedy)

    def axis(self, name: str, values: torch.Tensor) -> int:
        """The axis along which the features of a point's values are, counted from the first."""
        if values.ndim == 1:
            return 1
        if name in self._axes:
            return self._axes[name] % values.ndim
        module = self._places[name].module
        if isinstance(module, _LAST) or type(module).__name__ == "Conv1D":
            return values.ndim - 1
        maps = isinstance(module, _MAPS) or "Pool" in type(module).__name__
        return 1 if maps or values.ndim > 3 else values.ndim - 1

    def rows(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A point's values as (examples, positions, features)."""
        if values.ndim == 1:
            values = values[:, None]
        moved = values.movedim(self.axis(name, values), -1)
        return moved.reshape(len(values), -1, moved.shape[-1])

    def weights(self, name: str) -> torch.Tensor | None:
        """What the features of a point are multiplied by, (outputs, features), where it goes into a linear layer.

        That is a linear layer, transformers' `Conv1D`, or a convolution of one pixel that leaves none out, as they are;
        what is behind them is the point's values times this, and a bias.
        """
        place = self._places[name]
        module = place.module
        if place.side == OUTPUT or module._forward_hooks or module._forward_pre_hooks:  # noqa: SLF001 - no other name
            return None
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor):
            return None
        if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
            return weight.detach()
        if type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils":
            return weight.detach().T
        ones = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and all(
            set(sizes) == {size}
            for sizes, size in ((module.kernel_size, 1), (module.stride, 1), (module.padding, 0), ((module.groups,), 1))
        )
        return weight.detach().flatten(1) if ones else None

    def _found(self, inputs: torch.Tensor, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """What is at points, in the order in which they are reached."""
        found = self._run(inputs, names, {})
        for name, tensor in found.items():
            if not tensor.is_floating_point():
                kind = str(tensor.dtype).removeprefix("torch.")
                raise SourceError(name, f"it holds {kind}", "name a later point, such as what the embedding gives")
            if not tensor.ndim or len(tensor) != len(inputs):
                problem = f"it holds {list(tensor.shape)} for {len(inputs)} examples"
                raise SourceError(name, problem, "name a point whose first axis is the examples")
        return {name: tensor.detach() for name, tensor in found.items()}

    def _place(self, name: str) -> Place:
        path, _, side = name.partition(":")
        if not side and path in (INPUT, OUTPUT):
            path, side = "", path
        if path not in self._modules or side not in ("", INPUT, OUTPUT):
            known = [*(path for path in self._modules if path), INPUT, OUTPUT]
            near = get_close_matches(path, known, n=3, cutoff=0.4) or known[:3]
            problem = f"the network has no module {path}" if path not in self._modules else f"a module has no {side}"
            raise SourceError(name, problem, f"name a module, such as {', '.join(near)}, or its output as path:output")
        return Place(self._modules[path], "output" if side == OUTPUT else "input")

    def _run(
        self, inputs: torch.Tensor, wanted: tuple[str, ...], changes: Mapping[str, Change]
    ) -> dict[str, torch.Tensor]:
        """Run the network until the points that are wanted are reached, with changes on the way."""
        found: dict[str, torch.Tensor] = {}
        passed: set[str] = set()

        def at(name: str, tensor: torch.Tensor) -> torch.Tensor:
            if name in passed:
                problem = "the network comes there more than once in a pass"
                raise SourceError(name, problem, "name a module that is called once")
            passed.add(name)
            tensor = changes[name](tensor) if name in changes else tensor
            if name in wanted:
                found[name] = tensor
            if len(wanted) == 1 and name == wanted[0]:
                raise _Reached
            return tensor

        with _prepared(self.model), ExitStack() as stack:
            for name in dict.fromkeys((*changes, *wanted)):
                stack.callback(hooked(self._places.get(name) or self._place(name), name, at).remove)
            with suppress(_Reached):
                self.model(inputs)
        for name in (*changes, *wanted):
            if name not in passed:
                problem = "the network never comes there" + (", or not before the later point" if changes else "")
                raise SourceError(name, problem, "name a module that runs when the network does, in its order")
        return found


@contextmanager
def _prepared(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, the same random numbers in every pass, gradients only from where they are asked for.

    Attention runs in parts: hooks see what happens inside of it, and every part can be differentiated.
    """
    devices = {each.device for each in model.parameters()}
    quick = torch.backends.mha.get_fastpath_enabled()
    math = nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH)
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with (
            in_mode(model, training=False),
            torch.random.fork_rng(devices=[each for each in devices if each.type == "cuda"]),
            torch.no_grad(),
            math,
        ):
            seed_generators(0, devices)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(quick)


def _others(inputs: torch.Tensor) -> torch.Tensor | None:
    """Other inputs of the same kind: the batch turned by one example, or one example changed."""
    others = inputs.roll(1, 0)
    if torch.equal(others, inputs) and inputs.is_floating_point():
        noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        others = inputs + noise.to(inputs) * inputs.abs().mean().clamp(min=1.0)
    elif torch.equal(others, inputs) and inputs.ndim > 1:
        others = inputs.roll(1, -1)
    return None if torch.equal(others, inputs) else others
