"""What a network gives as a function of its trained parameters, and the derivatives of that."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, vjp, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from weightatlas.degeneracy.accumulating.following import batch_statistics
from weightatlas.degeneracy.accumulating.passes import real_output
from weightatlas.errors import NotFiniteError, SourceError
from weightatlas.evaluation.copies import cast, in_precision
from weightatlas.evaluation.seeding import seed_generators
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from weightatlas.evaluation.batches import Batch

Parameters = Mapping[str, torch.Tensor]

FEW: Final = 16
"""Examples that windows are laid out for at a time, on a CPU: with more, their memory is taken anew in every layer."""

SAME: Final = 1e-6
"""Share by which derivatives forwards may differ from those backwards, if they are to be used."""

_DATA: Final = "the data"
_NETWORK: Final = "the network"


class CastBatches:
    """Data, to be gone through as often as they can be, with inputs as a copy of a network takes them."""

    def __init__(self, network: ParameterMap, data: Iterable[Batch]) -> None:
        self._network, self._data = network, data

    def __iter__(self) -> Iterator[Batch]:
        """Start a pass."""
        return ((self._network.cast(inputs), targets) for inputs, targets in self._data)


class _WholeEmbedding(nn.Embedding):
    """An embedding whose derivative is that of what it gives.

    Torch leaves the row of `padding_idx` out of the gradient, and scales the others by how often they are looked up,
    where it is told to; what a network gives depends on that row as on any other.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """Look rows up."""
        return functional.embedding(input, self.weight, max_norm=self.max_norm, norm_type=self.norm_type)


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
            SourceError: one that does is complex, or a batch norm has no running statistics.
        """
        self.dtype = torch.float64 if dtype is None else dtype
        own = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
        self.device = own if device is None else torch.device(device)
        _check(model)
        self.model = cast(copy.deepcopy(model), dtype=self.dtype, device=self.device)
        for module in self.model.modules():
            module.training = False
            if type(module) is nn.Embedding:
                module.__class__ = _WholeEmbedding
        self.parameters: dict[str, torch.Tensor] = {
            name: tensor.detach() for name, tensor in self.model.named_parameters() if tensor.requires_grad
        }
        self.size = sum(tensor.numel() for tensor in self.parameters.values())
        self._rest = {
            name: tensor.detach() for name, tensor in self.model.named_parameters() if not tensor.requires_grad
        }
        self._seed = seed
        windows = any(isinstance(module, nn.modules.conv._ConvNd) for module in self.model.modules())  # noqa: SLF001 - torch names no other base
        self._is_slow = windows and self.device.type == "cpu"
        self._vectorised = not self._is_slow  # each example's own filters take far longer so
        self._forwards: bool | None = None  # whether derivatives forwards can be had; None until it is tried
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

        A name that is absent stays as it is. They are derivatives forwards where every operator has them and they agree
        with derivatives backwards of one backwards, on the first example; else these, which every operator has.
        """
        parts = torch.split(inputs, FEW) if self._is_slow else (inputs,)
        with self.ready(), torch.enable_grad():
            return torch.cat([self._along_directions(part, directions) for part in parts], dim=1)

    def _along_directions(self, inputs: torch.Tensor, directions: Sequence[Parameters]) -> torch.Tensor:
        if self._forwards is None:
            self._forwards = self._agrees(inputs[:1])
        if self._forwards:
            return torch.stack([self._forward(inputs, direction) for direction in directions])
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

    def _agrees(self, inputs: torch.Tensor) -> bool:
        """Whether derivatives forwards are those backwards: networks may hold gradients back, or write their own."""
        generator = torch.Generator().manual_seed(self._seed)
        drawn = torch.randn(self.size, generator=generator, dtype=torch.float64).to(self.device, self.dtype)
        direction = self.named(drawn)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`torch.jit.script` is", DeprecationWarning)  # torch's own use of it
                forwards = self._forward(inputs, direction)
        except (RuntimeError, NotImplementedError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return False
        self._forwards = False
        backwards = self._along_directions(inputs, [direction])[0]
        return bool((forwards - backwards).norm() <= SAME * backwards.norm())

    def _forward(self, inputs: torch.Tensor, direction: Parameters) -> torch.Tensor:
        """J v by one run with dual numbers."""
        dual: Any = forward_ad  # torch gives its functions no types
        with dual.dual_level():
            parameters = {
                name: dual.make_dual(tensor, direction[name].to(tensor)) if name in direction else tensor
                for name, tensor in self.parameters.items()
            }
            output, along = dual.unpack_dual(self._run(self.cast(inputs), parameters))
        found: torch.Tensor = torch.zeros_like(output) if along is None else along.detach()
        return found

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
        output = functional_call(self.model, {**buffers, **self._rest, **parameters}, (inputs.clone(),))
        return self._flat(output, len(inputs))

    def cast_batches(self, data: Iterable[Batch]) -> CastBatches:
        """Some data with the inputs as the copy takes them."""
        return CastBatches(self, data)

    def cast(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs as the copy takes them: of its type or the complex one of it, on its device; whole numbers stay."""
        return in_precision(inputs.to(self.device), self.dtype)

    def _flat(self, output: Any, examples: int) -> torch.Tensor:  # noqa: ANN401 - what a network gives
        found = real_output(output)
        if not found.ndim or len(found) != examples:
            problem = f"the network gives {list(found.shape)} for {examples} inputs"
            raise SourceError(_NETWORK, problem, "give one whose outputs have an axis of examples")
        return found.reshape(examples, -1)


def _check(model: nn.Module) -> None:
    """Refuse networks whose outputs are no function of an example and of real parameters."""
    name = next((one for one, each in model.named_parameters() if each.requires_grad and each.is_complex()), None)
    if name is not None:
        problem = f"its parameter {name} is complex, and directions of real parameters are what is counted"
        remedy = "hold it as real and imaginary parts (torch.view_as_complex joins them), or freeze it"
        raise SourceError(type(model).__name__, problem, remedy)
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:  # noqa: SLF001 - torch names no other base
            raise batch_statistics(type(model).__name__, path)
