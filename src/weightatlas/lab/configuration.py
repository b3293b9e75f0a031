"""What a run of training is made from: frozen values that flags and TOML files give, and that a manifest keeps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from weightatlas.data import Augmentation
from weightatlas.lab.kinds import is_number, require, require_kinds
from weightatlas.lab.stopping import StopRule

if TYPE_CHECKING:
    from weightatlas.lab.forking import Fork

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["one-cycle", "cosine", "step", "constant"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"]
Keep = Literal["last", "epochs", "log"]

CHOICES: Final = MappingProxyType(
    {"optimizer": get_args(Optimizer), "schedule": get_args(Schedule), "precision": get_args(Precision)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        steps: updates; the command line makes 400 where neither these nor epochs are given.
        epochs: passes over the data, instead of steps; fractions are allowed.
        batch_size: examples an update sees, over all processes and accumulated parts together.
        batch_schedule: an epoch and a size: from that epoch on batches have that size; several such pairs, rising. The
            article has 30 1024.
        optimizer: what makes the updates.
        learning_rate: highest learning rate of the schedule.
        momentum: of SGD (Nesterov's), and Adam's first beta; one cycle moves it between .85 and .95.
        weight_decay: of every parameter; coupled in SGD and Adam, decoupled in AdamW.
        schedule: of the learning rate: one-cycle; cosine, to zero; step, a tenth at each milestone; constant. Cosine
            and step begin with a linear warm-up.
        warmup: share of the updates before the highest learning rate, 0 to 1; one cycle needs more than 0.
        milestones: shares of the updates after which the schedule "step" divides the learning rate by ten.
        label_smoothing: share of the target's probability that is spread over all classes, 0 to 1.
        accumulate: parts that each process splits its batch into, so that it fits into memory.
        clip: largest norm of the gradient; without it nothing is clipped.
        precision: of weights and arithmetic, as Lightning Fabric names it.
        channels_last: keep images and kernels with their channels innermost in memory.
        compile: compile the network (torch.compile).
        synchronise: give batch norms the statistics of the whole batch where several processes train together.
        threads: cores that a run on the CPU uses; the last bits of its numbers depend on it.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 64
    batch_schedule: tuple[tuple[float, int], ...] = ()
    optimizer: Optimizer = "adamw"
    learning_rate: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 0.01
    schedule: Schedule = "one-cycle"
    warmup: float = 0.15
    milestones: tuple[float, ...] = (1 / 3, 2 / 3, 8 / 9)
    label_smoothing: float = 0.0
    accumulate: int = 1
    clip: float | None = None
    precision: Precision = "32-true"
    channels_last: bool = False
    compile: bool = False
    synchronise: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: and says which field and what it may be.
        """
        require_kinds(self)
        for name, choices in CHOICES.items():
            require(self, name, getattr(self, name) in choices, f"one of {', '.join(choices)}")
        for name in ("steps", "batch_size", "accumulate", "threads"):
            require(self, name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more")
        for name in ("warmup", "label_smoothing", "momentum"):
            require(self, name, 0 <= getattr(self, name) < 1, "0 or more and below 1")
        require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        for name in ("learning_rate", "epochs", "clip"):
            require(self, name, getattr(self, name) is None or getattr(self, name) > 0, "above 0")
        if self.steps is not None and self.epochs is not None:
            message = "give steps or epochs: one of them, not both"
            raise ValueError(message)
        if self.schedule == "one-cycle" and self.warmup == 0:
            message = "one cycle needs a warmup above 0"
            raise ValueError(message)
        rising = list(self.milestones) == sorted(set(self.milestones)) and all(
            0 < share < 1 for share in self.milestones
        )
        require(self, "milestones", rising, "rising shares of the updates, between 0 and 1")
        pairs = all(
            isinstance(pair, tuple) and len(pair) == 2 and is_number(pair[0]) and type(pair[1]) is int
            for pair in self.batch_schedule
        )
        what = "pairs of a rising epoch above 0 and a size of 1 or more"
        require(self, "batch_schedule", pairs, what)
        starts = [epoch for epoch, _ in self.batch_schedule]
        rising = starts == sorted(set(starts)) and all(epoch > 0 and size >= 1 for epoch, size in self.batch_schedule)
        require(self, "batch_schedule", rising, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One run: which network, changed how, on which data, trained how, from which seed.

    Attributes:
        model: a name that `open_model` takes.
        data: a name that `open_data` takes.
        interventions: names that `intervene` takes, applied in order.
        held_out: data to measure accuracy on; None is the test (or validation) split of `data`, where it has one.
        recipe: how it is trained.
        augmentation: what is done to images.
        keep: which checkpoints stay: the "last", one after each of the "epochs", or "log": steps 0, 1, 2, 4, 8, ...
        every: also keep one every so many steps.
        save_every: steps between two states that a killed run can go on from; None is a twentieth of the run.
        seed: fixes the first weights, the order of the data, and whatever else is drawn.
        fork: where the run leaves the unforked one of the same seed; None is the unforked one.
        stop: end the run before its last update once this holds: test_accuracy>0.999, test_loss<0.1 or test_top5>0.99;
            None never does.
        stop_every: updates between two looks at that.
        stop_held: looks in a row that must find it so.
    """

    model: str
    data: str
    interventions: tuple[str, ...] = ()
    held_out: str | None = None
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=400))
    augmentation: Augmentation = field(default_factory=Augmentation)
    keep: Keep = "last"
    every: int | None = None
    save_every: int | None = None
    seed: int = 0
    fork: Fork | None = None
    stop: str | None = None
    stop_every: int = 100
    stop_held: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: and says which field and what it may be.
        """
        require_kinds(self)
        require(self, "seed", self.seed >= 0, "0 or more")
        require(self, "keep", self.keep in get_args(Keep), f"one of {', '.join(get_args(Keep))}")
        for name in ("every", "save_every", "stop_every", "stop_held"):
            require(self, name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more")
        _ = self.stop_rule

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON has it: nested mappings, lists, numbers and text."""
        values = asdict(self)
        if self.fork is None:  # as configurations were before there were forks, so that their identities stay
            del values["fork"]
        if self.stop is None:
            for name in ("stop", "stop_every", "stop_held"):
                del values[name]
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @property
    def stop_rule(self) -> StopRule | None:
        """When the run ends before its last update; None where it does not."""
        return None if self.stop is None else StopRule.parsed(self.stop, every=self.stop_every, held=self.stop_held)

    @property
    def first_seed(self) -> int:
        """The seed of which the first weights are drawn."""
        return self.seed if self.fork is None else self.fork.first_seed(seed=self.seed)

    @property
    def identity(self) -> str:
        """A digest that two configurations share if they are equal, and only then; 16 hexadecimal digits."""
        values = json.loads(json.dumps(self.to_dict()), parse_int=_float_if_exact)  # 2 epochs are 2.0 epochs
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _float_if_exact(digits: str) -> float:
    number = int(digits)
    return float(number) if abs(number) < 2**53 else number
