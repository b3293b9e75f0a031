"""A network at weights that are not its own: states that fit it, and what it gives with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.func import functional_call

from weightatlas.errors import SourceError
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.seeding import seed_generators
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from weightatlas.evaluation.batches import Batch

State = Mapping[str, torch.Tensor]
"""Parameters and buffers by the model's names."""

COUNTER: Final = "num_batches_tracked"
"""A buffer that no answer depends on: files may lack it."""

_DATA: Final = "the data"
_REMEDY: Final = "give the state of a network of the model's shape"


def own_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers of a model, each once, detached: what `functional_call` puts in the place of."""
    return {
        name: tensor.detach()
        for named in (model.named_parameters(), model.named_buffers())
        for name, tensor in named
        if tensor is not None
    }


def first_names(model: nn.Module) -> dict[str, str]:
    """From every name of a parameter or buffer to the first of the same tensor: tied ones have several.

    Example:
        >>> from torch import nn
        >>> tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        >>> tied[1].weight = tied[0].weight
        >>> first_names(tied)
        {'0.weight': '0.weight', '1.weight': '0.weight'}
    """
    first: dict[int, str] = {}
    named = (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    return {name: first.setdefault(id(tensor), name) for group in named for name, tensor in group}


def fit_state(model: nn.Module, state: State, *, name: str = "the state") -> dict[str, torch.Tensor]:
    """Give a state's tensors as the model needs them: under their first names, of its types, on its device.

    Each is read once. A buffer that the model does not save, and a count of batches, may be absent: then it is the
    model's own. Nothing is copied that fits already: do not write into what comes back.

    Args:
        model: whose names and shapes count.
        state: by these names; a tensor that is tied may stand under any of its own.
        name: of the state, for errors.

    Raises:
        SourceError: a tensor is missing, is not the model's, or has another shape.
    """
    names = first_names(model)
    saved = set(model.state_dict())
    standing: dict[str, str] = {}
    for given in state:
        if given in names:
            standing.setdefault(names[given], given)
        elif not given.endswith("_extra_state"):
            raise SourceError(name, f"{printable(given, limit=80)} is no tensor of the model", _REMEDY)
    fitted: dict[str, torch.Tensor] = {}
    for first, own in own_tensors(model).items():
        if first not in standing:
            if first in saved and not first.endswith(COUNTER):
                raise SourceError(name, f"it has no {first}", _REMEDY)
            fitted[first] = own
            continue
        tensor = state[standing[first]].detach()
        if tensor.shape != own.shape:
            shapes = f"{list(tensor.shape)} where the model has {list(own.shape)}"
            raise SourceError(name, f"{first} is {shapes}", _REMEDY)
        fitted[first] = tensor.to(own.device, own.dtype)
    return fitted


class StateOutputs:
    """What a network gives with any state, in evaluation mode and without gradients; it is left as it is.

    The network is called through `torch.func.functional_call`. Random layers that draw in evaluation mode too draw the
    same for every state.

    Attributes:
        model: the network.
        device: where it is.
    """

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        """Hold the network; `seed` fixes what random layers draw."""
        self.model = model
        self.device = next((tensor.device for tensor in own_tensors(model).values()), torch.device("cpu"))
        self._seed = seed
        self._devices = {tensor.device for tensor in own_tensors(model).values()}

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the network in evaluation mode, and torch's generators apart and seeded, while this is open."""
        gpus = [device for device in self._devices if device.type == "cuda"]
        with in_mode(self.model, training=False), torch.random.fork_rng(devices=gpus), torch.no_grad():
            seed_generators(self._seed, self._devices)
            yield

    def __call__(self, state: State, inputs: torch.Tensor) -> Any:  # noqa: ANN401 - what a network gives
        """Run it with the tensors of a state (`fit_state`); call this inside of `ready`.

        Raises:
            SourceError: the network cannot take the inputs.
        """
        try:
            return functional_call(self.model, dict(state), (inputs,))
        except (RuntimeError, TypeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            what = f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}"
            why = printable(str(error).strip().partition("\n")[0], limit=160)
            problem = f"the network cannot take inputs of {what} ({why})"
            remedy = "give inputs of the type and size that it was made for"
            raise SourceError(_DATA, problem, remedy) from error

    def run_through(self, state: State, batches: Iterable[Batch]) -> int:
        """Run it on the inputs of some batches, for what hooks see there; give how many batches there were."""
        seen = 0
        with self.ready():
            for inputs, _ in batches:
                self(state, inputs.to(self.device))
                seen += 1
        return seen
