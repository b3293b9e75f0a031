"""What linear maps and norms write and read with no nonlinearity between: bases, scales and shifts that are free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from weightatlas.degeneracy.wiring.calls import followed_run
from weightatlas.degeneracy.wiring.streaming import EACH, Streaming, streaming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    from torch import nn

    from weightatlas.anatomy.graph.exporting import Example
    from weightatlas.degeneracy.wiring.flows import Statistics
    from weightatlas.degeneracy.wiring.slots import Part, Roots

    Integers = npt.NDArray[np.int64]

Kind = Literal["linear", "norm"]

Key = tuple[tuple[int, int], ...]

Changes = dict[str, list[tuple[torch.Tensor, torch.Tensor]]]
"""From a parameter's name to numbers of it, flattened, and their changes, which are added up; others stay."""


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Channels that move together.

    Attributes:
        kind: "linear" where only linear maps write and read them, "norm" where scales of a norm or a layer do too.
        weight: the parameter that they are told by: of the first layer that writes them, else of the first that reads.
        unit: of the first of them in that parameter.
        labels: of their slots, one a channel.
        skipped: why nothing is claimed of them, or None.
    """

    kind: Kind
    weight: str
    unit: int
    labels: tuple[int, ...]
    skipped: str | None = None

    @property
    def width(self) -> int:
        """How many channels may be mixed with each other; 1 where they can only be scaled."""
        return len(self.labels)

    @property
    def directions(self) -> int:
        """How many directions their change frees: the square of the width; 0 where they were skipped."""
        return 0 if self.skipped is not None else self.width**2


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """The places of one channel in one parameter.

    Attributes:
        part: of the parameter.
        places: int64, in an order that those of channels that may be mixed share.
        key: equal for channels that may be mixed, as far as this parameter goes; None where this one may not.
    """

    part: Part
    places: Integers
    key: Key | None

    def numbers(self, numbers: torch.Tensor, place: int) -> torch.Tensor:
        """Those of a parameter at a place, given all of its numbers in its shape; flattened."""
        part = self.part
        if part.axis is None:
            return numbers.reshape(-1)[place : place + 1]
        if part.side == "gives":
            return numbers.select(part.axis, place).reshape(-1)
        size, rows = part.count // part.groups, numbers.shape[1 - part.axis] // part.groups
        own = numbers.narrow(1 - part.axis, place // size * rows, rows)
        return own.select(part.axis, place % size).reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """All streams of a network.

    Attributes:
        streams: in the order of their parameters in the run.
        wiring: what was followed.
        roots: which places of the parameters belong to which channel.
        members: the places of each channel.
    """

    streams: tuple[Stream, ...]
    wiring: Streaming
    roots: Roots
    members: Mapping[int, tuple[Member, ...]]


def streams(model: nn.Module, example_inputs: Example) -> Streams:
    r"""Find the channels of a network that only linear maps write and read, and those that a norm scales.

    A value x is the sum of what some maps write, \(x = \sum_w (W_w z_w + b_w)\), and others read it, \(W_r x\): layers,
    convolutions, embeddings, parameters that are added. If nothing else takes it,

    - \(W_w \to R W_w\), \(b_w \to R b_w\), \(W_r \to W_r R^{-1}\) changes nothing for any invertible R: the square of
      the width (**linear**). Groups of convolutions and channels that part ways leave blocks, max pooling the
      diagonal.
    - a batch norm in evaluation mode, \(\gamma (x - \mu) / \sigma + \beta\), reads each channel by itself and writes
      another one: R is diagonal (**norm**). A LayerNorm, RMSNorm or GroupNorm writes channels by its \(\gamma\) and
      \(\beta\), and reads none. A parameter that each channel is multiplied by (LayerScale) does both.

    The network runs once, as for `rectified_layers`. Weights that are used for something else as well, values added
    to what no parameter makes, nonlinearities and outputs of the network end it, with a reason.

    Args:
        model: any module; left as it was.
        example_inputs: what to call it with: a tensor of two examples best, arguments, or arguments by name.

    Raises:
        SourceError: the model is scripted, or does not run on these inputs.

    **Source:** Bushnaq and others, *Using Degeneracy in the Loss Landscape for Mechanistic Interpretability* (2024),
    name the freedom of linear layers; that of residual streams and norms is ours.

    Example:
        >>> from torch import nn
        >>> found = streams(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), torch.zeros(2, 3))
        >>> [(stream.kind, stream.directions) for stream in found.streams if stream.skipped is None]
        [('linear', 16)]
    """
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    wiring = streaming(followed_run(model, example_inputs), sizes)
    roots = wiring.slots.solved()
    members = _members(wiring, roots)
    return Streams(tuple(_streams(wiring, roots, members)), wiring, roots, members)


def _members(wiring: Streaming, roots: Roots) -> dict[int, tuple[Member, ...]]:
    """The places of each channel, those of layers first, of these those that give, and those of norms last."""
    found: dict[int, list[Member]] = {}
    parts = [part for several in wiring.slots.parts.values() for part in several]
    for part in sorted(parts, key=lambda one: (one.name in wiring.norms, one.side == "reads")):
        own: dict[int, list[int]] = {}
        for place, label in enumerate(roots.of(part).tolist()):
            own.setdefault(label, []).append(place)
        for label, (places, key) in _keys(part, own, wiring).items():
            found.setdefault(label, []).append(Member(part, np.array(places, dtype=np.int64), key))
    return {label: tuple(several) for label, several in found.items()}


def _keys(part: Part, own: Mapping[int, list[int]], wiring: Streaming) -> dict[int, tuple[list[int], Key | None]]:
    """The places of each channel in order, and what it shares with those that it may be mixed with.

    Channels are written by one place of a weight each, in one group; or by one a row, if each number is a place. They
    are read by columns of the same groups and places.
    """
    size = max(1, part.count // part.groups)
    uses = wiring.places.get(part.name, []) if part.side == "reads" else []
    rows, width = wiring.lines.get(part.name, (None, 1)) if wiring.slots.kinds[part.name] == EACH else (None, 1)
    found: dict[int, tuple[list[int], Key | None]] = {}
    for label, several in own.items():
        if part.side == "reads":
            whole = bool(uses) and all(one.equal(uses[0]) for one in uses)
            ordered = sorted((place // size, int(uses[0][place]) if whole else 0, place) for place in several)
            key = tuple(one[:2] for one in ordered)
            whole = whole and len(set(key)) == len(key)
        elif rows is not None:
            ordered = sorted((int(rows[place]) // width, int(rows[place]) % width, place) for place in several)
            key = tuple((row, 0) for row, _, _ in ordered)
            whole = len(set(key)) == len(key) and len({one[1] for one in ordered}) == 1
        else:
            ordered = [(place // size, 0, place) for place in several]
            key, whole = tuple(one[:2] for one in ordered), len(several) == 1
        found[label] = [one[2] for one in ordered], key if whole and part.mixes else None
    return found


def _streams(wiring: Streaming, roots: Roots, members: Mapping[int, tuple[Member, ...]]) -> Iterator[Stream]:
    """Channels that are both written and read, those together that may be mixed, or that are refused for one reason."""
    blocks: dict[object, list[int]] = {}
    kinds: dict[object, tuple[Kind, str | None]] = {}
    for label, several in members.items():
        if len({one.part.side for one in several}) == 1:
            continue
        kind: Kind = "norm" if any(one.part.name in wiring.norms for one in several) else "linear"
        reason = roots.pinned.get(label)
        alone = label in roots.alone or any(one.key is None for one in several)
        own = tuple((one.part.start, one.key) for one in several)
        block: object = (own, label if alone else None)
        if reason is not None:
            block = (kind, reason, several[0].part.name)
        blocks.setdefault(block, []).append(label)
        kinds[block] = kind, reason
    for block, labels in blocks.items():
        first = members[labels[0]][0]
        unit = int(first.places[0]) if first.part.side == "gives" else 0
        kind, reason = kinds[block]
        yield Stream(kind, first.part.name, unit, tuple(labels), reason)


class Moving:
    """The numbers of a network's parameters, and what is added to them.

    Args:
        parameters: by the model's names, those that may move.
        buffers: for the statistics of batch norms.
        found: as `streams` gives it.
    """

    def __init__(
        self, parameters: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor], found: Streams
    ) -> None:
        self.parameters, self.buffers, self.found = parameters, buffers, found
        self._numbers: dict[str, torch.Tensor] = {}

    def numbers(self, name: str) -> torch.Tensor:
        """The places of a parameter's numbers, in its shape."""
        if name not in self._numbers:
            tensor = self.parameters[name]
            self._numbers[name] = torch.arange(tensor.numel()).reshape(tensor.shape)
        return self._numbers[name]

    def values(self, name: str) -> torch.Tensor:
        """A parameter's numbers, flattened."""
        return self.parameters[name].detach().reshape(-1).cpu()

    def mixed(self, label: int, other: int) -> Changes | None:
        """What changes where a channel gets what another one is, or it itself, once more; None where that cannot be."""
        changes: Changes = {}
        members = self.found.members
        for one, two in zip(members[label], members[other], strict=True):
            name = one.part.name
            if name not in self.parameters:
                return None
            gives = one.part.side == "gives"
            for place, from_place in zip(one.places.tolist(), two.places.tolist(), strict=True):
                pair = one.numbers(self.numbers(name), place), two.numbers(self.numbers(name), from_place)
                target, source = pair if gives else pair[::-1]
                changes.setdefault(name, []).append((target, self.values(name)[source] * (1 if gives else -1)))
            statistics = None if gives else self.found.wiring.statistics.get(name)
            if statistics is not None and not self._centred(changes, one, statistics):
                return None
        return changes

    def slopes(self, name: str) -> torch.Tensor:
        """What a batch norm, or a factor, multiplies each channel by."""
        statistics = self.found.wiring.statistics.get(name)
        if statistics is None:
            return self.values(name)
        variance = self.buffers[statistics.variance].detach().cpu().to(self.values(name))
        return self.values(name) * (variance + statistics.epsilon).rsqrt()

    def _centred(self, changes: Changes, member: Member, statistics: Statistics) -> bool:
        """Keep what a batch norm gives where the scale of what it takes changes."""
        bias = statistics.bias
        if bias is None or bias not in self.parameters:
            return False
        mean = self.buffers[statistics.mean].detach().cpu()
        own = torch.from_numpy(member.places)
        moved = -(self.slopes(member.part.name) * mean.to(self.values(bias)))[own]
        changes.setdefault(bias, []).append((own, moved))
        return True


def stream_changes(moving: Moving, stream: Stream) -> Iterator[Changes]:
    r"""Give the directions that the change of a stream's basis frees, one for each entry of A.

    To first order, with \(A = e_i e_j^\top\): \(\delta W_w = A W_w\) and \(\delta b_w = A b_w\) in all that writes,
    \(\delta W_r = -W_r A\) in all that reads. For a batch norm that reads channel i (i = j):
    \(\delta\gamma_i = -\gamma_i\), \(\delta\beta_i = -\gamma_i \mu_i / \sigma_i\), since
    \(\gamma (1 - \varepsilon) ((1 + \varepsilon) x - \mu) / \sigma = \gamma (x - \mu) / \sigma + \varepsilon \gamma
    \mu / \sigma\) to first order.

    Args:
        moving: the parameters that may move, and the streams.
        stream: one of them.

    Yields:
        For each (i, j) the changes; none where a parameter that must move is not among these. Free on any data.
    """
    if stream.skipped is not None:
        return
    for label in stream.labels:
        for other in stream.labels:
            changes = moving.mixed(label, other)
            if changes is not None:
                yield changes
