"""What a run of training is made from: frozen values that flags and TOML files give, and that a manifest keeps."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from weightatlas.checkpoints.untrusted import summary
from weightatlas.data import Augmentation
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Mapping

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
        _require_kinds(self)
        for name, choices in CHOICES.items():
            _require(self, name, getattr(self, name) in choices, f"one of {', '.join(choices)}")
        for name in ("steps", "batch_size", "accumulate", "threads"):
            _require(self, name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more")
        for name in ("warmup", "label_smoothing", "momentum"):
            _require(self, name, 0 <= getattr(self, name) < 1, "0 or more and below 1")
        _require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        for name in ("learning_rate", "epochs", "clip"):
            _require(self, name, getattr(self, name) is None or getattr(self, name) > 0, "above 0")
        if self.steps is not None and self.epochs is not None:
            message = "give steps or epochs: one of them, not both"
            raise ValueError(message)
        if self.schedule == "one-cycle" and self.warmup == 0:
            message = "one cycle needs a warmup above 0"
            raise ValueError(message)
        rising = list(self.milestones) == sorted(set(self.milestones)) and all(
            0 < share < 1 for share in self.milestones
        )
        _require(self, "milestones", rising, "rising shares of the updates, between 0 and 1")
        pairs = all(
            isinstance(pair, tuple) and len(pair) == 2 and _is_number(pair[0]) and type(pair[1]) is int
            for pair in self.batch_schedule
        )
        what = "pairs of a rising epoch above 0 and a size of 1 or more"
        _require(self, "batch_schedule", pairs, what)
        starts = [epoch for epoch, _ in self.batch_schedule]
        rising = starts == sorted(set(starts)) and all(epoch > 0 and size >= 1 for epoch, size in self.batch_schedule)
        _require(self, "batch_schedule", rising, what)


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

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            ValueError: and says which field and what it may be.
        """
        _require_kinds(self)
        _require(self, "seed", self.seed >= 0, "0 or more")
        _require(self, "keep", self.keep in get_args(Keep), f"one of {', '.join(get_args(Keep))}")
        for name in ("every", "save_every"):
            _require(self, name, getattr(self, name) is None or getattr(self, name) >= 1, "1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON has it: nested mappings, lists, numbers and text."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @property
    def identity(self) -> str:
        """A digest that two configurations share if they are equal, and only then; 16 hexadecimal digits."""
        values = json.loads(json.dumps(self.to_dict()), parse_int=_float_if_exact)  # 2 epochs are 2.0 epochs
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def configuration_from(values: Mapping[str, Any], *, source: str = "configuration") -> Configuration:
    """Make a configuration of nested mappings, as `Configuration.to_dict` and TOML give them.

    Raises:
        SourceError: a field is missing, unknown (near names are given) or has no meaning.

    Example:
        >>> values = {"model": "timm:resnet18", "data": "scenes", "recipe": {"epochs": 2, "optimizer": "sgd"}}
        >>> configuration_from(values).recipe.optimizer
        'sgd'
    """
    check_fields(values, source=source)
    made = {
        key: _filled(TABLES[key], value, source, f"{key}.") if key in TABLES else value for key, value in values.items()
    }
    answer: Configuration = _filled(Configuration, made, source, "")
    return answer


def check_fields(values: Mapping[str, Any], *, source: str, others: Collection[str] = ()) -> None:
    """See that nested mappings hold known fields of the right kinds, each in its place; whether they fit is not asked.

    Args:
        values: some of the fields of a configuration.
        source: what a message names.
        others: what else may stand beside the tables, of any kind.

    Raises:
        SourceError: a field is unknown (near names are given), in the wrong table, or of another kind than declared.
    """
    for key, value in values.items():
        if key in TABLES:
            if not isinstance(value, dict):
                raise SourceError(source, f"{key} is no table", f"write its fields under [{key}]")
            for name, item in value.items():
                _check_field(TABLES[key], name, item, source, f"{key}.")
        elif key not in others or key in PLACES:
            _check_field(Configuration, key, value, source, "")


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Read a configuration from a TOML file: the fields of `Configuration`, then tables [recipe] and [augmentation].

    Raises:
        SourceError: it cannot be read, is no TOML, or a field is missing, unknown or has no meaning.
    """
    return configuration_from(read_toml(path), source=str(path))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SourceError: it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(path, error.strerror or "cannot be read", "name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(path, f"no TOML ({summary(error)})", "correct the line it names") from error


def _require(values: object, name: str, holds: bool, what: str) -> None:
    """Refuse a field that is not what it must be."""
    if not holds:
        message = f"{name} must be {what}, not {getattr(values, name)!r}"
        raise ValueError(message)


def _require_kinds(values: Recipe | Configuration) -> None:
    """Refuse a field of another kind than it is declared."""
    for item in fields(values):
        what = _other_kind(item, getattr(values, item.name))
        _require(values, item.name, what is None, str(what))


def _other_kind(item: Field[Any], value: object) -> str | None:
    """What a field must be, where a value is not of its kind; TOML does not know which it is to be."""
    declared, optional, _ = str(item.type).partition(" | None")
    holds, what = KINDS.get(declared, (None, ""))
    return None if holds is None or (optional and value is None) or holds(value) else what


def _check_field(kind: type[Any], name: str, value: object, source: str, prefix: str) -> None:
    known = {item.name: item for item in fields(kind)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {prefix}{near[0]}?" if near else f"there is {', '.join(known)}"
        remedy = f"it stands under {PLACES[name]}" if name in PLACES else remedy
        raise SourceError(source, f"there is no field {prefix}{name[:80]}", remedy)
    what = _other_kind(known[name], _frozen(value))
    if what is not None:
        raise SourceError(source, f"{prefix}{name} must be {what}, not {value!r}"[:200], "correct it")


def _float_if_exact(digits: str) -> float:
    number = int(digits)
    return float(number) if abs(number) < 2**53 else number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(values: object) -> bool:
    return isinstance(values, tuple) and all(map(_is_number, values))


def _are_names(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(name, str) for name in values)


KINDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = MappingProxyType(
    {
        "int": (lambda value: type(value) is int, "a whole number"),
        "float": (_is_number, "a number"),
        "bool": (lambda value: type(value) is bool, "true or false"),
        "str": (lambda value: isinstance(value, str) and value != "", "a name"),
        "Rotate": (lambda value: isinstance(value, str), 'text in quotes, such as "90"'),
        "tuple[str, ...]": (_are_names, "a list of names"),
        "tuple[float, float]": (lambda value: _are_numbers(value) and len(value) == 2, "two numbers"),
        "tuple[float, ...]": (_are_numbers, "numbers"),
        "tuple[tuple[float, int], ...]": (lambda value: isinstance(value, tuple), "pairs of an epoch and a size"),
    }
)


def _filled(kind: type[Any], values: Mapping[str, Any], source: str, prefix: str) -> Any:  # noqa: ANN401 - of that kind
    try:
        return kind(**{key: _frozen(value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise SourceError(source, summary(error), f"correct {prefix.rstrip('.') or 'it'}") from error


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    """Lists as tuples, at every depth."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


TABLES: Final[Mapping[str, type[Recipe | Augmentation]]] = MappingProxyType(
    {"recipe": Recipe, "augmentation": Augmentation}
)
"""What stands in tables of its own."""

PLACES: Final = MappingProxyType(
    {item.name: f"[{key}]" for key, kind in TABLES.items() for item in fields(kind)}
    | {item.name: "no table, at the top" for item in fields(Configuration) if item.name not in TABLES}
)
"""Where each field stands in a file."""
