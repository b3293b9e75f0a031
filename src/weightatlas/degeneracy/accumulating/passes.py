"""A network run over data, and back from each of its outputs, with every product by weights told on the way."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.autograd.graph import get_gradient_edge

from weightatlas.degeneracy.accumulating.following import Follower, followable
from weightatlas.errors import SourceError
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.seeding import seed_generators
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import nn
    from torch.autograd.graph import GradientEdge

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.sites import Part, Site
    from weightatlas.degeneracy.accumulating.unfolding import Form
    from weightatlas.evaluation.batches import Batch
    from weightatlas.progress import Progress

    OnActivations = Callable[[Part, Multiplied], None]
    OnGradients = Callable[[Part, Form, torch.Tensor], None]

BATCH: Final = 128
"""Examples at a time: their graph is kept for as many passes back as there are outputs."""

_DATA: Final = "the data"
_NETWORK: Final = "the network"


class Passes:
    """A network, the examples it is run on, and how one goes back from its outputs.

    The network is in evaluation mode, in which examples do not see each other: so one pass back gives the gradients of
    an output for all examples of a batch. Gradients are those of what a product gives, before anything is done to it.

    Attributes:
        model: the network, or its copy.
        batches: of the data.
        seed: of probes, and of layers that draw.
        examples: how many there are.
        outputs: numbers that the network gives of an example; 0 before the first pass.
        dtype: of the network.
        layers: names of those whose products can be told of, after a pass.
        skipped: why modules' weights are not told of, after a pass.
        blind: layers that ran where torch was told to keep no gradients.
        probes: as given.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Iterable[Batch],
        *,
        examples: int | None = None,
        probes: int | None = None,
        dtype: torch.dtype | None = None,
        seed: int = 0,
        batch_size: int = BATCH,
        device: torch.device | str | None = None,
    ) -> None:
        """Hold the network and its data, or a copy of it in another type or on another device.

        Raises:
            SourceError: the network is scripted.
            ValueError: there are no examples, or a number is below 1.
        """
        if batch_size < 1 or (probes is not None and probes < 1):
            message = f"batch_size and probes must be 1 or more, not {batch_size} and {probes}"
            raise ValueError(message)
        root = followable(model)
        own = next((each for each in root.parameters() if each.is_floating_point()), torch.empty(0))
        self.device = own.device if device is None else torch.device(device)
        self.dtype = own.dtype if dtype is None else dtype
        if self.device != own.device or self.dtype != own.dtype:
            root = copy.deepcopy(root).to(self.device, self.dtype)
        self._casts = dtype is not None
        self.model, self.seed, self._size = root, seed, batch_size
        self.batches = HeldBatches(data, examples=examples, device=self.device)
        self.examples = self.batches.examples
        self.outputs = 0
        self.probes = probes
        self.blind: set[str] = set()
        self.layers: tuple[str, ...] = ()
        self.skipped: Mapping[str, str] = {}

    def run(
        self,
        on_activations: OnActivations,
        on_gradients: OnGradients | None = None,
        *,
        progress: Progress,
        label: str,
        wants: Callable[[Site], bool] = lambda _: True,
    ) -> None:
        """Go through the data once.

        Args:
            on_activations: told of every product, as the network runs.
            on_gradients: told of the gradient at every product's outputs, once for each output of the network (or each
                probe) and batch; without it no pass goes back.
            progress: told of examples.
            label: what progress is told.
            wants: whether a layer's products and gradients are told.

        Raises:
            SourceError: the network cannot take the inputs, or gives no tensor, or one without gradients.
        """
        tape: list[tuple[tuple[Part, ...], Form, GradientEdge]] = []

        def listen(parts: tuple[Part, ...], found: Multiplied, output: torch.Tensor) -> None:
            wanted = tuple(part for part in parts if wants(part.site))
            for part in wanted:
                on_activations(part, found)
            if on_gradients is not None and wanted:
                if output.requires_grad:
                    tape.append((wanted, found.form, get_gradient_edge(output)))
                else:
                    self.blind.update(part.site.layer for part in wanted)

        follower = Follower(self.model, listen)
        signs = torch.Generator().manual_seed(self.seed)
        done = 0
        with self._ready(gradients=on_gradients is not None), follower.hooked():
            for inputs in self._inputs():
                with follower:
                    output = self._called(inputs)
                given = self._flat(output, len(inputs))
                if on_gradients is not None:
                    self._back(given, tape, on_gradients, signs)
                tape.clear()
                done += len(inputs)
                progress(done, self.examples, label)
        follower.finish()
        self.layers = tuple(follower.sites)
        self.skipped = follower.skipped

    @contextmanager
    def _ready(self, *, gradients: bool) -> Iterator[None]:
        gpus = [self.device] if self.device.type == "cuda" else []
        with (
            in_mode(self.model, training=False),
            torch.random.fork_rng(devices=gpus),
            torch.enable_grad() if gradients else torch.no_grad(),
        ):
            seed_generators(self.seed, gpus)
            yield

    def _inputs(self) -> Iterator[torch.Tensor]:
        for inputs, _ in self.batches:
            cast = inputs.to(self.dtype) if self._casts and inputs.is_floating_point() else inputs
            yield from torch.split(cast, self._size)

    def _called(self, inputs: torch.Tensor) -> Any:  # noqa: ANN401 - what a network gives
        try:
            return self.model(inputs)
        except (RuntimeError, TypeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            what = f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}"
            why = printable(str(error).strip().partition("\n")[0], limit=160)
            problem = f"the network cannot take inputs of {what} ({why})"
            raise SourceError(_DATA, problem, "give inputs of the type and size that it was made for") from error

    def _flat(self, output: Any, examples: int) -> torch.Tensor:  # noqa: ANN401 - what a network gives
        """What the network gives as (examples, numbers)."""
        given = output_tensor(output)
        if given.ndim == 0 or len(given) != examples:
            problem = f"it gives {list(given.shape)} for {examples} inputs, not something for each"
            raise SourceError(
                type(self.model).__name__, problem, "give a network whose outputs have an axis of examples"
            )
        flat = given.reshape(examples, -1)
        if self.outputs and flat.shape[1] != self.outputs:
            problem = f"it gives {flat.shape[1]} numbers for some inputs, and {self.outputs} for others"
            raise SourceError(type(self.model).__name__, problem, "give inputs of one size")
        self.outputs = flat.shape[1]
        return flat

    def _back(
        self,
        given: torch.Tensor,
        tape: list[tuple[tuple[Part, ...], Form, GradientEdge]],
        on_gradients: OnGradients,
        signs: torch.Generator,
    ) -> None:
        if not tape:
            return
        if not given.requires_grad:
            problem = "its output has no gradient with respect to what its layers give"
            raise SourceError(type(self.model).__name__, problem, "give the network whose output is its last layer's")
        edges = [edge for _, _, edge in tape]
        count = self.outputs if self.probes is None else self.probes
        for number in range(count):
            if self.probes is None:
                weights = torch.zeros_like(given)
                weights[:, number] = 1
            else:
                drawn = torch.randint(0, 2, given.shape, generator=signs)
                weights = (2 * drawn - 1).to(given.device, given.dtype)
            found = torch.autograd.grad(given, edges, weights, retain_graph=number + 1 < count, allow_unused=True)
            for (parts, form, _), gradient in zip(tape, found, strict=True):
                for part in parts if gradient is not None else ():
                    on_gradients(part, form, _own_outputs(part, form, gradient))


def output_tensor(output: Any) -> torch.Tensor:  # noqa: ANN401 - what a network gives
    """The tensor that a network gives: as it is, as `logits`, or a mapping's "logits" or "out".

    Raises:
        SourceError: there is none of these, or it is no floating-point tensor.

    Example:
        >>> output_tensor({"out": torch.ones(2)}).tolist()
        [1.0, 1.0]
    """
    given = output
    if isinstance(output, Mapping):
        given = output.get("logits", output.get("out"))
    elif not isinstance(output, torch.Tensor):
        given = getattr(output, "logits", None)
    if not isinstance(given, torch.Tensor) or not given.is_floating_point():
        what = str(given.dtype) if isinstance(given, torch.Tensor) else type(output).__name__
        remedy = "give a network that gives a tensor of floating-point numbers, or an object that has logits"
        raise SourceError(_NETWORK, f"it gives {what}", remedy)
    return given


def _own_outputs(part: Part, form: Form, gradient: torch.Tensor) -> torch.Tensor:
    """The gradients of a part's own outputs, with an axis of examples."""
    if form.kind == "convolution" and gradient.ndim == len(form.kernel) + 1:
        gradient = gradient[None]
    return gradient if part.outputs is None else gradient[..., slice(*part.outputs)]
