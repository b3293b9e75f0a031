"""What a network gives as a function of its trained parameters, and the derivatives of that."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from weightatlas.degeneracy.accumulating.passes import output_tensor
from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.evaluation.seeding import seed_generators
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from weightatlas.evaluation.batches import Batch

Parameters = Mapping[str, torch.Tensor]

_DATA: Final = "the data"
_NETWORK: Final = "the network"


class CastBatches:
    """Data, to be gone through as often as they can be, with inputs as a copy of a network takes them."""

    def __init__(self, network: ParameterMap, data: Iterable[Batch]) -> None:
        self._network, self._data = network, data

    def __iter__(self) -> Iterator[Batch]:
        """Start a pass."""
        return ((self._network.cast(inputs), targets) for inputs, targets in self._data)


class ParameterMap:
    r"""The outputs of a network on given inputs as a function of its trained parameters \(\theta\).

    It holds a copy of the network, in evaluation mode and cast to one type: the network itself is never touched. What
    requires no gradient stays as it is; parameters that are tied have one name, their first.

    Attributes:
        model: the copy.
        parameters: the trained ones by name, detached, in the order of their names in the network.
        size: how many numbers these are: columns of the Jacobian.
        dtype: of all computation.
        device: where.

    Example:
        >>> line = ParameterMap(torch.nn.Linear(2, 1, bias=False))
        >>> line.size, line.rows(torch.tensor([[3.0, 4.0]])).tolist()
        (2, [[3.0, 4.0]])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int = 0,
    ) -> None:
        """Copy the network.

        Args:
            model: inputs to a tensor whose first axis is the examples', to an object with `logits`, or to a mapping
                with "out".
            dtype: of the copy; None is float64.
            device: of the copy; None is the network's.
            seed: of what layers draw that are random in evaluation mode too.

        Raises:
            ValueError: no parameter requires a gradient.
        """
        self.dtype = torch.float64 if dtype is None else dtype
        own = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
        self.device = own if device is None else torch.device(device)
        self.model = copy.deepcopy(model).to(self.device, self.dtype)
        for module in self.model.modules():
            module.training = False
        self.parameters: dict[str, torch.Tensor] = {
            name: tensor.detach() for name, tensor in self.model.named_parameters() if tensor.requires_grad
        }
        self.size = sum(tensor.numel() for tensor in self.parameters.values())
        self._rest = {
            name: tensor.detach() for name, tensor in self.model.named_parameters() if not tensor.requires_grad
        }
        self._seed = seed
        windows = any(isinstance(module, nn.modules.conv._ConvNd) for module in self.model.modules())  # noqa: SLF001 - torch names no other base
        self._vectorised = not (windows and self.device.type == "cpu")  # each example's own filters take far longer so
        if not self.parameters:
            message = "the network has no parameter that requires a gradient"
            raise ValueError(message)

    def outputs(self, inputs: torch.Tensor, parameters: Parameters | None = None) -> torch.Tensor:
        """What the network gives, (examples, d_out), with these parameters or its own; differentiable by them.

        Raises:
            SourceError: the network cannot take the inputs, or gives no tensor with an axis of examples.
        """
        try:
            return self._run(self.cast(inputs), self.parameters if parameters is None else parameters)
        except (RuntimeError, TypeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            what = f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}"
            why = printable(str(error).strip().partition("\n")[0], limit=160)
            problem = f"the network cannot take inputs of {what} ({why})"
            raise SourceError(_DATA, problem, "give inputs of the type and size that it was made for") from error

    def rows(self, inputs: torch.Tensor, mixing: torch.Tensor | None = None) -> torch.Tensor:
        r"""Rows of the Jacobian \(J = \partial f / \partial \theta\), or combinations of them.

        Args:
            inputs: (examples, ...).
            mixing: (examples / group, combinations, group, d_out), weights with which the outputs of each `group`
                examples that follow each other are added up; None is every output of every example by itself.

        Returns:
            (examples * d_out, parameters), example by example; or (examples / group * combinations, parameters).
            Parameters are flattened and joined in the order of `parameters`.

        Raises:
            NotFiniteError: one of them is infinite or NaN.
        """
        with self.ready():
            if mixing is None:
                width = self.outputs(inputs[:1]).shape[1]
                eye = torch.eye(width, dtype=self.dtype, device=self.device)
                mixing = eye[:, None].expand(len(inputs), width, 1, width)
            groups = self.cast(inputs).reshape(len(mixing), mixing.shape[2], *inputs.shape[1:])
            found = self._pulled_back(groups, mixing)
        if not found.isfinite().all():
            message = "derivatives of the network's outputs are not finite: check the inputs and the weights"
            raise NotFiniteError(message)
        return found

    def along(self, inputs: torch.Tensor, directions: Sequence[Parameters]) -> torch.Tensor:
        """The derivatives of the outputs along some directions, J v, (directions, examples, d_out).

        A name that is absent stays as it is. They are derivatives backwards of one backwards: every operator has that,
        where some lack derivatives forwards.
        """
        with self.ready(), torch.enable_grad():
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in self.parameters.items()}
            output = self.outputs(inputs, leaves)
            weights = torch.zeros_like(output, requires_grad=True)
            found = torch.autograd.grad(
                output, tuple(leaves.values()), weights, create_graph=True, allow_unused=True, retain_graph=True
            )
            gradients = {
                name: gradient
                for name, gradient in zip(leaves, found, strict=True)
                if gradient is not None and gradient.requires_grad
            }
            return torch.stack([self._along(direction, gradients, weights) for direction in directions])

    def _along(self, direction: Parameters, gradients: Parameters, weights: torch.Tensor) -> torch.Tensor:
        """One of them, from gradients that depend on the outputs' weights linearly."""
        parts = [
            (gradients[name] * change.to(self.device, self.dtype)).sum()
            for name, change in direction.items()
            if name in gradients
        ]
        if not parts:
            return torch.zeros_like(weights)
        return torch.autograd.grad(torch.stack(parts).sum(), weights, retain_graph=True)[0].detach()

    def named(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """A vector over all parameters as tensors of their shapes, by name."""
        return {name: flat[place].reshape(self.parameters[name].shape) for name, place in self.columns().items()}

    def columns(self) -> dict[str, slice]:
        """Where each parameter stands among the columns of the Jacobian."""
        found: dict[str, slice] = {}
        start = 0
        for name, tensor in self.parameters.items():
            found[name] = slice(start, start + tensor.numel())
            start += tensor.numel()
        return found

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have torch's generators apart, and attention written out, while this is open."""
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus), sdpa_kernel(SDPBackend.MATH):
            seed_generators(self._seed, [self.device])
            yield

    def _pulled_back(self, groups: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
        if self._vectorised:
            try:
                return self._together(groups, mixing)
            except (RuntimeError, NotImplementedError) as error:
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                self._vectorised = False  # an operator that vmap does not know, or a branch that depends on the data
        return self._one_by_one(groups, mixing)

    def _together(self, groups: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
        def of_group(inputs: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
            pull: Any = vjp(lambda parameters: self._run(inputs, parameters), self.parameters)[1]
            found: dict[str, torch.Tensor] = vmap(lambda weight: pull(weight)[0])(weights)
            return found

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            found = vmap(of_group, randomness="same")(groups, mixing)
        rows = len(groups) * mixing.shape[1]
        return torch.cat([found[name].detach().reshape(rows, -1) for name in self.parameters], dim=1)

    def _one_by_one(self, groups: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
        rows = torch.zeros(len(groups) * mixing.shape[1], self.size, dtype=self.dtype, device=self.device)
        places = self.columns()
        with torch.enable_grad():
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in self.parameters.items()}
            for number, (inputs, weights) in enumerate(zip(groups, mixing, strict=True)):
                output = self._run(inputs, leaves)
                for place, weight in enumerate(weights):
                    found = torch.autograd.grad(
                        output, tuple(leaves.values()), weight, retain_graph=True, allow_unused=True
                    )
                    row = rows[number * len(weights) + place]
                    for name, gradient in zip(leaves, found, strict=True):
                        if gradient is not None:
                            row[places[name]] = gradient.reshape(-1)
        return rows

    def _run(self, inputs: torch.Tensor, parameters: Parameters) -> torch.Tensor:
        buffers = {name: buffer.detach().clone() for name, buffer in self.model.named_buffers()}
        output = functional_call(self.model, {**buffers, **self._rest, **parameters}, (inputs,))
        return self._flat(output, len(inputs))

    def cast_batches(self, data: Iterable[Batch]) -> CastBatches:
        """Some data with the inputs as the copy takes them."""
        return CastBatches(self, data)

    def cast(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs as the copy takes them: of its type, if they are of a floating one, on its device."""
        return inputs.to(self.device, self.dtype) if inputs.is_floating_point() else inputs.to(self.device)

    def _flat(self, output: Any, examples: int) -> torch.Tensor:  # noqa: ANN401 - what a network gives
        found = output_tensor(output)
        if not found.ndim or len(found) != examples:
            problem = f"the network gives {list(found.shape)} for {examples} inputs"
            raise SourceError(_NETWORK, problem, "give one whose outputs have an axis of examples")
        return found.reshape(examples, -1)
