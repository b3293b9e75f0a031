"""One layer that a checkpoint and a model call by two names, as `linear` and `fc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Mapping


class Shaped(Protocol):
    """Anything with a shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""


Value = TypeVar("Value", bound=Shaped)


def one_renamed(found: Mapping[str, Value], wanted: Mapping[str, Shaped]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Give the one layer that only a checkpoint has the name of the one that only the model has, if they are alike.

    That is done where all that the checkpoint has beyond the model is the parameters of one module, all that the model
    has beyond the checkpoint is those of one module, and these have the same names and shapes: then nothing else could
    be meant. The classifiers of public networks are called fc, linear, head or classifier.

    Args:
        found: what the checkpoint has, by key.
        wanted: what the model has, by key.

    Returns:
        The values by their new keys, in their order, and a sentence if any was renamed.

    Example:
        >>> import torch
        >>> model = {"conv.weight": torch.zeros(4, 3), "fc.weight": torch.zeros(2, 4)}
        >>> saved = {"conv.weight": torch.zeros(4, 3), "linear.weight": torch.zeros(2, 4)}
        >>> list(one_renamed(saved, model)[0]), one_renamed(saved, model)[1]
        (['conv.weight', 'fc.weight'], ("'linear' was taken for 'fc'",))
    """
    theirs = _one_layer({key: value for key, value in found.items() if key not in wanted})
    ours = _one_layer({key: value for key, value in wanted.items() if key not in found})
    if theirs is None or ours is None or theirs[1] != ours[1]:
        return dict(found), ()
    (before, shapes), (after, _) = theirs, ours
    names = {f"{before}.{parameter}": f"{after}.{parameter}" for parameter in shapes}
    renamed = {names.get(key, key): value for key, value in found.items()}
    return renamed, (f"'{printable(before, limit=80)}' was taken for '{printable(after, limit=80)}'",)


def _one_layer(tensors: Mapping[str, Shaped]) -> tuple[str, dict[str, tuple[int, ...]]] | None:
    """The module that holds all of these, and the shapes of its parameters by name; None where there is no such one."""
    layers = {key.rpartition(".")[0] for key in tensors}
    if len(layers) != 1 or "" in layers:
        return None
    return layers.pop(), {key.rpartition(".")[2]: tuple(value.shape) for key, value in tensors.items()}
