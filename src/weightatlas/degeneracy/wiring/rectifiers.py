"""The nonlinearities of a run, in order, and what each of them is given."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.overrides import TorchFunctionMode

from weightatlas.degeneracy.wiring.calls import attention_in_parts
from weightatlas.evaluation.elementwise import function_name, nonlinearity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINEAR_ON_EACH_SIDE: Final = frozenset({"relu", "leaky_relu", "rrelu", "prelu"})
"""Nonlinearities f with f(a x) = a f(x) for a > 0: units that are positive on the same data act linearly together."""


@contextmanager
def watching(listener: Callable[[int, torch.Tensor], object], wanted: frozenset[int]) -> Iterator[None]:
    """Hand a listener the inputs of some of the nonlinearities that run while this is open.

    Args:
        listener: takes the number of the nonlinearity among all since this was opened, from 0, and its inputs. It must
            not change them.
        wanted: the numbers to tell of.
    """
    with attention_in_parts(), _Watcher(listener, wanted):
        yield


class _Watcher(TorchFunctionMode):
    def __init__(self, listener: Callable[[int, torch.Tensor], object], wanted: frozenset[int]) -> None:
        super().__init__()
        self._listener, self._wanted, self._count = listener, wanted, 0

    def __torch_function__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: tuple[Any, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        named = named or {}
        if nonlinearity(function_name(function), arguments, named) is not None:
            inputs = arguments[0] if arguments else named["input"]
            if self._count in self._wanted:
                self._listener(self._count, inputs)
            self._count += 1
        return function(*arguments, **named)
