"""A network run over data, and back from each of its outputs, with every product by weights told on the way."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from weightatlas.degeneracy.accumulating.following import Follower, followable
from weightatlas.degeneracy.accumulating.tape import Sizes, Tape
from weightatlas.errors import SourceError
from weightatlas.evaluation.copies import cast, in_precision
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.outputs import output_tensor
from weightatlas.evaluation.seeding import seed_generators
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from weightatlas.degeneracy.accumulating.products import Multiplied
    from weightatlas.degeneracy.accumulating.sites import Part, Site
    from weightatlas.degeneracy.accumulating.unfolding import Form
    from weightatlas.evaluation.batches import Batch
    from weightatlas.progress import Progress

    OnActivations = Callable[[Part, Multiplied], None]
    OnGradients = Callable[[Part, Form, torch.Tensor], None]

BATCH: Final = 128
"""Examples at a time: their graph is kept for as many passes back as there are outputs."""

FEW: Final = 16
"""Examples of a batch that windows are laid out for at a time, on a CPU: the memory for more is taken anew in every
layer, and clearing it takes twice as long as the product."""

TRIED: Final = 8
"""Examples that tell which layers give something for each."""

_DATA: Final = "the data"
_NETWORK: Final = "the network"


class Passes:
    """A network, the examples it is run on, and how one goes back from its outputs.

    The network is in evaluation mode, in which examples do not see each other: so one pass back gives the gradients of
    an output for all examples of a batch. Gradients are those of what a product gives, before anything is done to it.

    What a product gives may be one thing for all examples: rows of a table of positions, or a matrix made of two
    others. There such a pass gives the sum of the examples' gradients, which says nothing of each: so one goes back to
    these products for each example alone. They are those of layers that do not give twice as much for twice the
    examples, or did not run on the first ones.

    Attributes:
        model: the network, or its copy.
        batches: of the data.
        seed: of probes, and of layers that draw.
        examples: how many there are.
        outputs: numbers that the network gives of an example; 0 before the first pass.
        dtype: of the network.
        layers: names of those whose products can be told of, after a pass.
        skipped: why modules' weights, and biases, are not told of, after a pass.
        loose: biases with other uses, after a pass; later ones tell of their layers as if they had none.
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
            root = cast(copy.deepcopy(root), dtype=self.dtype, device=self.device)
        self._casts = dtype is not None
        self.model, self.seed, self._size = root, seed, batch_size
        self.batches = HeldBatches(data, examples=examples, device=self.device)
        self.examples = self.batches.examples
        self.outputs = 0
        self.probes = probes
        windows = any(isinstance(module, nn.modules.conv._ConvNd) for module in root.modules())  # noqa: SLF001 - torch names no other base
        self._few = FEW if windows and self.device.type == "cpu" else batch_size
        self.blind: set[str] = set()
        self.layers: tuple[str, ...] = ()
        self.skipped: Mapping[str, str] = {}
        self.loose: frozenset[str] = frozenset()
        self._own: frozenset[str] | None = None  # layers that give something for each example; None until it is tried
        self._is_resized = True  # whether the network takes other numbers of examples

    def run(
        self,
        on_activations: OnActivations,
        on_gradients: OnGradients | None = None,
        *,
        progress: Progress,
        label: str,
        wants: Callable[[Site], bool] = lambda _: True,
        draw: int = 0,
    ) -> None:
        """Go through the data once.

        Args:
            on_activations: told of every product, as the network runs.
            on_gradients: told of the gradient at every product's outputs, once for each output of the network (or each
                probe) and batch, or example; without it no pass goes back.
            progress: told of examples.
            label: what progress is told.
            wants: whether a layer's products and gradients are told.
            draw: with probes, which ones: of another number they are others.

        Raises:
            SourceError: the network cannot take the inputs, gives no tensor or one without gradients, or normalises by
                the statistics of each batch.
        """
        is_own = self._owning() if on_gradients is not None else lambda _: False
        tape = Tape(wants, on_activations, is_own)
        alone = Tape(lambda site: wants(site) and not is_own(site), lambda *_: None, lambda _: True)
        follower, again = (Follower(self.model, each, loose=self.loose) for each in (tape, alone))
        state = np.random.SeedSequence([self.seed, draw]).generate_state(1)  # torch's takes 32 bits of a seed
        generator = torch.Generator().manual_seed(int(state[0]))
        done = 0
        with self._ready(gradients=on_gradients is not None), follower.hooked(), again.hooked():
            for inputs in self._inputs():
                drawn: Iterator[Iterable[torch.Tensor]] | None = None
                for part in torch.split(inputs, self._few):
                    given = self._followed(follower, part)
                    if on_gradients is not None:
                        drawn = drawn or self._drawn(len(inputs), generator)
                        weights = next(drawn)
                        if tape.has_left:
                            weights = list(weights)
                        self._back(given, tape, on_gradients, weights)
                        for place in range(len(part) if tape.has_left else 0):
                            here = slice(place, place + 1)
                            given = self._followed(again, part[here])
                            self._back(given, alone, on_gradients, (each[here] for each in weights))
                            alone.clear()
                    tape.clear()
                done += len(inputs)
                progress(done, self.examples, label)
        follower.finish()
        self.blind |= tape.blind | alone.blind
        self.layers, self.skipped, self.loose = tuple(follower.sites), follower.skipped, follower.loose

    def _followed(self, follower: Follower, inputs: torch.Tensor) -> torch.Tensor:
        with follower:
            output = self._called(inputs)
        return self._flat(output, len(inputs))

    def _owning(self) -> Callable[[Site], bool]:
        """Which layers' gradients one pass back gives for all examples; of all, if the network takes no other number.

        Then `_back` goes back for each example.
        """
        if self._own is None:
            first = next(self._inputs())[:TRIED]
            try:
                once, twice = (self._sizes(inputs) for inputs in (first, torch.cat([first, first])))
            except (SourceError, ValueError, AssertionError):
                once, twice, self._is_resized = Counter(), Counter(), False
            self._own = frozenset(layer for layer, size in once.items() if 0 < 2 * size == twice[layer])
        own = self._own
        is_single = min(self._few, self._size) == 1
        return lambda site: is_single or not self._is_resized or site.layer in own

    def _sizes(self, inputs: torch.Tensor) -> Counter[str]:
        sizes = Sizes()
        follower = Follower(self.model, sizes)
        with self._ready(gradients=False), follower.hooked():
            self._followed(follower, inputs)
        return sizes.given

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
            own = in_precision(inputs, self.dtype) if self._casts else inputs
            yield from torch.split(own, self._size)

    def _called(self, inputs: torch.Tensor) -> Any:  # noqa: ANN401 - what a network gives
        try:
            return self.model(inputs.clone())  # it may write into them, and parts of them are run once more
        except (RuntimeError, TypeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            what = f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)}"
            why = printable(str(error).strip().partition("\n")[0], limit=160)
            problem = f"the network cannot take inputs of {what} ({why})"
            raise SourceError(_DATA, problem, "give inputs of the type and size that it was made for") from error

    def _flat(self, output: Any, examples: int) -> torch.Tensor:  # noqa: ANN401 - what a network gives
        """What the network gives as (examples, numbers)."""
        given = real_output(output)
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

    def _drawn(self, examples: int, generator: torch.Generator) -> Iterator[Iterable[torch.Tensor]]:
        """For each part of a batch, what outputs count in each pass back; nothing without probes.

        They are drawn for the whole batch, so that they do not depend on its parts.
        """
        drawn = (_weights((examples, self.outputs), generator) for _ in range(self.probes or 0))
        if examples <= self._few:
            yield drawn
            return
        kept = list(drawn)
        for start in range(0, examples, self._few):
            yield [one[start : start + self._few] for one in kept]

    def _back(
        self,
        given: torch.Tensor,
        tape: Tape,
        on_gradients: OnGradients,
        drawn: Iterable[torch.Tensor],
    ) -> None:
        if not tape.entries:
            return
        if not given.requires_grad:
            problem = "its output has no gradient with respect to what its layers give"
            raise SourceError(type(self.model).__name__, problem, "give the network whose output is its last layer's")
        edges = [edge for _, _, edge in tape.entries]
        count = self.outputs if self.probes is None else self.probes
        every = _one_by_one(given) if self.probes is None else (one.to(given) for one in drawn)
        if not self._is_resized:
            count *= len(given)
            every = (part for weights in every for part in _example_by_example(weights))
        for number, weights in enumerate(every):
            found = torch.autograd.grad(given, edges, weights, retain_graph=number + 1 < count, allow_unused=True)
            for (parts, form, _), gradient in zip(tape.entries, found, strict=True):
                for part in parts if gradient is not None else ():
                    on_gradients(part, form, _own_outputs(part, form, gradient))


def _one_by_one(given: torch.Tensor) -> Iterator[torch.Tensor]:
    """Weights that single out one output after the other."""
    for number in range(given.shape[1]):
        weights = torch.zeros_like(given)
        weights[:, number] = 1
        yield weights


def _example_by_example(weights: torch.Tensor) -> Iterator[torch.Tensor]:
    """The same weights, 0 but for one example after the other."""
    for place in range(len(weights)):
        own = torch.zeros_like(weights)
        own[place] = weights[place]
        yield own


def _weights(shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Random numbers of mean 0 and mean square 1, between .7 and 1.2 and of either sign.

    With signs alone what two outputs depend on alike would cancel half the time, and look as if none depended on it.
    """
    drawn = 2 * torch.rand(shape, generator=generator) - 1
    return torch.copysign((0.5 + drawn.abs()).sqrt(), drawn)


def real_output(output: Any) -> torch.Tensor:  # noqa: ANN401 - what a network gives
    """The answer of a network (`output_tensor`), which must be of real floating-point numbers.

    Raises:
        SourceError: there is none, or it is of other numbers.

    Example:
        >>> real_output({"out": torch.ones(2)}).tolist()
        [1.0, 1.0]
    """
    given = output_tensor(output)
    if given is None or not given.is_floating_point():
        what = type(output).__name__ if given is None else str(given.dtype)
        remedy = "give a network that gives a tensor of floating-point numbers, or an object that has logits"
        raise SourceError(_NETWORK, f"it gives {what}", remedy)
    return given


def _own_outputs(part: Part, form: Form, gradient: torch.Tensor) -> torch.Tensor:
    """The gradients of a part's own outputs, with an axis of examples."""
    if form.kind == "convolution" and gradient.ndim == len(form.kernel) + 1:
        gradient = gradient[None]
    return gradient if part.outputs is None else gradient[..., slice(*part.outputs)]
