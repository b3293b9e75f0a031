"""Follows a network as it runs, and tells of every product of activations and a matrix of weights."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from weightatlas.degeneracy.accumulating.products import multiplied
from weightatlas.degeneracy.accumulating.sites import Parameters, Part, Site
from weightatlas.errors import SourceError
from weightatlas.evaluation.elementwise import function_name
from weightatlas.evaluation.nonlinearities import uncovered

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from weightatlas.degeneracy.accumulating.products import Multiplied

    Listener = Callable[[tuple[Part, ...], Multiplied, torch.Tensor], None]

_PARAMETRISED: Final = ".parametrizations"
_TRAINING: Final = 5
"""The place of batch_norm's argument that says whether the batch's own statistics are taken."""

_SAME: Final = "one matrix of weights is used in two ways, and what is free of one use is not free of the other"


class Follower(TorchFunctionMode):
    """Sees the functions that a network calls, as long as it is entered, and tells of those that multiply by weights.

    Attributes:
        sites: by layer, in the order of their first use.
        skipped: after `finish`, why the weights of a module are at no site, by the module's path, and why a bias is in
            none, by its own name.
        loose: after `finish`, the names of biases with other uses, which are in no site then.
    """

    def __init__(self, model: nn.Module, listener: Listener, *, loose: Collection[str] = ()) -> None:
        """Hold the network.

        Args:
            model: the network.
            listener: given the sites, the product and its output, which it may not change.
            loose: biases that no site has.
        """
        super().__init__()
        self.sites: dict[str, Site] = {}
        self.skipped: dict[str, str] = {}
        self.loose = frozenset(loose)
        self._model = model
        self._listener = listener
        self._parameters = Parameters(model, loose=self.loose)
        self._paths = {module: name for name, module in model.named_modules()}
        self._running: list[nn.Module] = []
        self._uses: dict[str, list[Site]] = {}
        self._adds: dict[str, list[Site]] = {}
        self._others: dict[str, list[str]] = {}

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Know which module runs, while this is open; torch.compile's networks run as they are written."""
        with ExitStack() as stack:
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            for module in self._paths:
                stack.callback(module.register_forward_pre_hook(self._entered).remove)
                stack.callback(module.register_forward_hook(self._left, always_call=True).remove)
            yield

    def finish(self) -> None:
        """Take out the sites whose weights have other uses, and say of every module why it has none.

        A bias with other uses is taken out of its sites: what is free of their weights alone is free.
        """
        reasons: dict[str, str] = {}
        for name, sites in self._uses.items():
            if self._disagree(sites):
                reasons |= {site.layer: f"{_SAME} ({name})" for site in sites}
            elif self._others.get(name) and not sites[0].is_derived:
                words = ", ".join(self._others[name])
                reasons |= {site.layer: f"{name} also enters {words}, which is not followed" for site in sites}
        for layer in reasons:
            self.sites.pop(layer, None)
        loose = dict(self._loose())
        self.loose |= loose.keys()
        for layer, site in self.sites.items():
            if site.bias in self.loose:
                self.sites[layer] = replace(site, bias=None)
        self.skipped = {**self._unfollowed(), **loose, **reasons}

    def __torch_function__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """See one call."""
        del types
        named = named or {}
        if function is functional.multi_head_attention_forward:
            with self:
                return _OPEN_ATTENTION(*arguments, **named)
        output = function(*arguments, **named)
        name = function_name(function)
        if name == "batch_norm" and _bound_to_batch(arguments, named):
            raise batch_statistics(type(self._model).__name__, self._paths[self._running[-1]] if self._running else "")
        found = multiplied(name, arguments, named)
        parts = () if found is None else tuple(self._parts(found))
        taken: tuple[object, ...] = ()
        if found is not None and parts:
            taken = (found.weight, found.bias if parts[0].site.bias is not None else None)
        self._note(name, (*arguments, *named.values()), taken, output)
        if found is None or not parts:
            return output
        for part in parts:
            uses = self._uses.setdefault(part.site.weight, [])
            if part.site not in uses:
                uses.append(part.site)
            if part.site.bias is not None:
                self._adds.setdefault(part.site.bias, []).append(part.site)
        agreed = tuple(part for part in parts if self.sites.setdefault(part.site.layer, part.site).use == part.site.use)
        return self._told(agreed, found, output) if agreed else output

    def _told(self, parts: tuple[Part, ...], found: Multiplied, output: torch.Tensor) -> torch.Tensor:
        """Tell the listener; where nothing before the product has a gradient, have the product begin one."""
        given = output
        if torch.is_grad_enabled() and not output.requires_grad and output.is_floating_point():
            output = output.detach().requires_grad_()
            given = output.clone()  # what is done to it in place must not be done to the leaf
        self._listener(parts, found, output)
        return given

    def _parts(self, found: Multiplied) -> Iterator[Part]:
        parts = tuple(self._parameters.parts(found))
        if parts or not self._running or self._parameters.name(found.weight) is not None:
            yield from parts
        else:
            module = self._running[-1]
            yield from self._parameters.derived(found, self._paths[module], module)

    def _note(self, word: str, given: tuple[Any, ...], taken: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        """Note which parameters a call makes something of other than what was taken from them; views are no use."""
        if not isinstance(output, torch.Tensor | tuple | list):
            return
        made = output if isinstance(output, torch.Tensor) else next(iter(output), None)
        for tensor in _tensors(given):
            name = self._parameters.name(tensor)
            if name is None or any(tensor is one for one in taken):
                continue
            if isinstance(made, torch.Tensor) and self._parameters.name(made) != name:
                words = self._others.setdefault(name, [])
                if word not in words:
                    words.append(word)

    def _unfollowed(self) -> dict[str, str]:
        """Of every module with parameters at no site, which function they enter, or that none was called."""
        followed = {name for site in self.sites.values() for name in (site.weight, site.bias)}
        derived = {site.layer for site in self.sites.values() if site.is_derived}
        ends: dict[str, dict[str, list[str]]] = {}
        for name, _ in self._model.named_parameters():
            path, _, leaf = name.rpartition(".")
            owner = path.partition(_PARAMETRISED)[0]
            if name in followed or name in self._uses or name in self.loose or owner in derived:
                continue
            ends.setdefault(owner, {}).setdefault(", ".join(self._others.get(name, ())), []).append(leaf)
        return {owner: _reason(found) for owner, found in ends.items()}

    def _loose(self) -> Iterator[tuple[str, str]]:
        """Biases with other uses, and which."""
        for name, sites in self._adds.items():
            if words := self._others.get(name):
                yield name, f"it also enters {', '.join(words)}, which is not followed"
            layers = {(site.weight, site.rows): site.layer for site in sites}
            if _overlap([rows for _, rows in layers]):
                yield name, f"it is added in {', '.join(layers.values())}, and what is free of one is not of another"

    @staticmethod
    def _disagree(sites: list[Site]) -> bool:
        """Whether sites of one parameter are not the same matrix, or matrices of rows that overlap in part."""
        by_rows: dict[tuple[int, int] | None, Site] = {}
        for site in sites:
            known = by_rows.setdefault(site.rows, site)
            if known.use != site.use:
                return True
        if len(by_rows) == 1:
            return False
        return _overlap(list(by_rows))

    def _entered(self, module: nn.Module, arguments: object) -> None:
        del arguments
        self._running.append(module)

    def _left(self, module: nn.Module, arguments: object, output: object) -> None:
        del arguments, output
        while self._running and self._running.pop() is not module:  # those that an error has ended
            pass


def batch_statistics(network: str, path: str) -> SourceError:
    """The error of a network whose examples see each other by a norm that has no running statistics."""
    problem = f"{path or 'a batch norm'} takes the statistics of each batch in evaluation too: examples see each other"
    return SourceError(network, problem, "give a network whose batch norms have running statistics")


def followable(model: nn.Module) -> nn.Module:
    """The network whose functions can be seen, without compilation or data parallelism around it.

    Raises:
        SourceError: it is scripted.
    """
    root = uncovered(model)
    for name, module in root.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            problem = f"{name or type(model).__name__} is scripted, and nothing inside can be followed"
            raise SourceError(type(model).__name__, problem, "give the network that it was made of")
    return root


def _bound_to_batch(arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether a call of batch_norm takes the batch's own statistics."""
    return bool(arguments[_TRAINING] if len(arguments) > _TRAINING else named.get("training"))


def _overlap(rows: Sequence[tuple[int, int] | None]) -> bool:
    """Whether of several ranges of rows, None being all, two have a row in common."""
    ordered = sorted(one for one in rows if one is not None)
    overlaps = any(before[1] > after[0] for before, after in pairwise(ordered))
    return overlaps or (None in rows and len(rows) > 1)


def _reason(ends: dict[str, list[str]]) -> str:
    """Say which parameters of a module enter which functions."""
    entering = [
        f"its {' and '.join(leaves)} {'enters' if len(leaves) == 1 else 'enter'} {words}, which is not followed"
        for words, leaves in ends.items()
        if words
    ]
    return "; ".join(entering) or "it was not run"


def _tensors(given: tuple[Any, ...]) -> Iterator[torch.Tensor]:
    for one in given:
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, tuple | list):
            yield from (each for each in one if isinstance(each, torch.Tensor))


def _opened(function: Any) -> Callable[..., Any]:  # noqa: ANN401 - a function of Python's
    """The same function without its first question, whether a mode would rather have the call: its parts are seen."""
    world = {**function.__globals__, "has_torch_function": lambda _: False}
    opened = FunctionType(function.__code__, world, function.__name__, function.__defaults__, function.__closure__)
    opened.__kwdefaults__ = function.__kwdefaults__
    return opened


_OPEN_ATTENTION: Final = _opened(functional.multi_head_attention_forward)
