"""One operator of a graph and the values that it is given, as the rules of its family see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx

from weightatlas.anatomy.symmetries.instances import Instances
from weightatlas.anatomy.symmetries.terms import UNIT, Leaf, Term, resolved
from weightatlas.anatomy.symmetries.unification import pin, unify


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the graph.

    Attributes:
        axes: what each of its axes is made of.
        shape: its lengths.
    """

    axes: tuple[Term, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator with the values it is given.

    Attributes:
        node: of the graph.
        name: of the operator in torch's `aten`, without the underscore of those that work in place.
        arguments: by their names in the operator's schema; values stand for tensors.
        shapes: of what it gives, one for each output.
        instances: the copies made so far.
        seen: the axes of all values so far.
    """

    node: fx.Node
    name: str
    arguments: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    instances: Instances = field(default_factory=Instances)
    seen: list[tuple[Term, ...]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.shapes[0]

    def values(self) -> list[Value]:
        """All values among the arguments, in order."""
        return list(values_in(self.arguments.values()))

    def value(self, *names: str) -> Value:
        """The argument of the first of these names that the operator has."""
        found = next(self.arguments[name] for name in names if name in self.arguments)
        assert isinstance(found, Value)  # noqa: S101 - a tensor by the operator's schema
        return found

    def optional(self, name: str) -> Value | None:
        """The argument of a name, None where it is not given."""
        found = self.arguments.get(name)
        return found if isinstance(found, Value) else None

    def axis(self, length: int, *, name: str = "dim") -> int:
        """The number of an axis that an argument names, counted from the first of `length` axes."""
        return int(self.arguments.get(name) or 0) % max(length, 1)

    def made(self, axes: Sequence[Term], output: int = 0) -> Value:
        """A result with these axes."""
        shape = self.shapes[output]
        return Value(tuple(UNIT if n == 1 else axis for n, axis in zip(shape, axes, strict=True)), shape)

    def within(self, axes: Sequence[Term]) -> None:
        """Write down a value that the operator computes on its way: sums over its axes, or what is summed."""
        self.seen.append(tuple(axes))

    def fresh(self, reason: str | None = None, output: int = 0) -> Value:
        """A result whose axes are nobody else's."""
        return self.made([Leaf(length, reason) for length in self.shapes[output]], output)


Result = Value | list[Value]
Rule = Callable[[Call], Result]


def values_in(tree: Any) -> Iterator[Value]:  # noqa: ANN401 - lists of lists
    """All values in nested lists and mappings."""
    for one in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(one, Value):
            yield one
        elif isinstance(one, list | tuple | dict):
            yield from values_in(one)


def broadcast(axes: Sequence[Sequence[Term]], length: int) -> list[Term]:
    """Unify the axes of values that meet element by element, counted from the last; an axis of length 1 fits all."""
    made: list[Term] = [UNIT] * length
    for several in axes:
        for place, axis in enumerate(several, start=length - len(several)):
            if place < 0 or resolved(axis) is UNIT:
                continue
            if made[place] is UNIT:
                made[place] = axis
            else:
                unify(made[place], axis)
    return made


def hold(axes: Sequence[Term], reason: str) -> None:
    """Pin several axes."""
    for axis in axes:
        pin(axis, reason)
