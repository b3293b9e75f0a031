"""What the names of a run's checkpoints tell: step, epoch, tokens. Pure functions on text; nothing is opened.

A number after a word that training scripts use (`step1000`, `checkpoint-1000`, `epoch=3`) is what the word says. A bare
number (`model_1000.pt`) is a step only where several names of the run share everything but that number.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST: Final = 400
"""The letters of a name that are looked at, from its end; no file system has longer names."""

_SCALED: Final = r"(?:[0-9]{1,6}(?:\.[0-9]{1,6})?[kmbt]|[0-9]{1,3}(?:\.[0-9]{1,6})?e\+?[0-9]{1,2})"
"""`10k`, `1.5M`, `1e3`, `1.5e+04`; never the `1000e5` of step 1000 in epoch 5."""

_NUMBER: Final = rf"({_SCALED}(?![a-z0-9])|[0-9]{{1,15}}(?![0-9]|\.[0-9]))"
_BETWEEN: Final = r"(?:_{1,2}|[ =.:-])?"


def _number_after(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{words}){_BETWEEN}{_NUMBER}", re.IGNORECASE)


def _number_before(words: str) -> re.Pattern[str]:
    """`21000step`, `10_epochs`; never the 3 of `3-step=1000`."""
    number = rf"({_SCALED}|[0-9]{{1,15}})"
    return re.compile(rf"(?<![0-9.]){number}[ _-]?(?:{words})(?![a-z]|{_BETWEEN}[0-9])", re.IGNORECASE)


_STEP_WORDS: Final = "global[_-]?steps?|steps?|iterations?|iters?|it|num_updates|updates?"
_STEP: Final = (_number_after(_STEP_WORDS), _number_before("steps?|iterations?|iters?|updates?"))
_EPOCH: Final = (_number_after("epochs?|ep"), _number_before("epochs?|ep"))
_TOKENS: Final = (_number_after("tokens?"), _number_before("tokens?"))
_CHECKPOINT: Final = _number_after("checkpoints?|chkpt|ckpt|snapshot")
_FAIRSEQ: Final = re.compile(r"checkpoint_([0-9]{1,9})_([0-9]{1,15})", re.IGNORECASE)
_STAGE: Final = re.compile(r"(?<![a-z0-9])stage[_-]?[0-9]+(?:[_-]ingredient[_-]?[0-9]+)?", re.IGNORECASE)
_COPY: Final = re.compile(r"-v([0-9]{1,4})$")
_SUFFIXES: Final = re.compile(
    r"(?:\.(?:safetensors|pt|pth|th|bin|ckpt|npz|h5|hdf5|weights|keras|onnx|gguf|pkl|pickle|tar|index|json))+$",
    re.IGNORECASE,
)
_METRIC: Final = re.compile(
    rf"(?<![a-z_/])(?!(?:{_STEP_WORDS}|epochs?|ep|tokens?)[=:])[a-z_/]+[=:]-?[0-9]+\.[0-9]+(?:e[+-]?[0-9]+)?",
    re.IGNORECASE,
)
_DATE: Final = re.compile(
    r"(?<![0-9])(?:19|20)[0-9]{2}([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12][0-9]|3[01])(?![0-9])"
    r"(?:[-_T ][0-9]{2}[-_:.h]?[0-9]{2}(?:[-_:.m]?[0-9]{2})?(?![0-9]))?"
)
_DECOY: Final = re.compile(rf"{_DATE.pattern}|-[0-9]{{5,6}}-of-[0-9]{{5,6}}|[0-9.]{{1,9}}e-[0-9]+", re.IGNORECASE)
_BARE: Final = re.compile(
    r"(?<![0-9.])(?:[0-9]{1,6}(?:\.[0-9]{1,6})?[km](?![a-z0-9])|[0-9]{1,3}(?:\.[0-9]{1,6})?e\+?[0-9]{1,2}(?![a-z0-9])|"
    r"[0-9]{1,15}(?![0-9a-z]|\.[0-9]))",
    re.IGNORECASE,
)
_WORD_BEFORE: Final = re.compile(r"([a-z]+)([^a-z0-9]*)$", re.IGNORECASE)
_GLUED: Final = frozenset({"model", "net", "network", "weights", "params", "state", "save", "w"})
"""Words that a step may follow without anything between: `model1000.pt`, but not `resnet50.pt`."""

_NO_STEP: Final = re.compile(
    "alpha|batch|beta|block|bs|depth|dim|exp|experiment|expert|fold|gpu|group|head|job|layer|lr|node|part|rank|replica|"
    "runs?|seed|shard|size|split|stage|task|trial|v|version|width|worker",
    re.IGNORECASE,
)
"""Words whose number is no step, though names may share everything but it: `version_0`, `version_1`."""

_MULTIPLES: Final = {"": 0, "k": 3, "m": 6, "b": 9, "t": 12}
"""The powers of ten that letters stand for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the name of a checkpoint tells.

    Attributes:
        step: the optimizer's steps until then.
        epoch: the passes over the data until then.
        tokens: the tokens seen until then.
        stage: the part of a staged run, as the name says it; empty where there is none.
        copy: the number of Lightning's `-v1` behind a name that was taken.
        is_bare: whether the name does not say what its number counts: it may be an epoch as well as a step.
    """

    step: int | None = None
    epoch: int | None = None
    tokens: int | None = None
    stage: str = ""
    copy: int = 0
    is_bare: bool = False

    @property
    def tells(self) -> bool:
        """Whether there is any number to order by."""
        return (self.step, self.epoch, self.tokens) != (None, None, None)


def parse_number(text: str) -> int | None:
    """A whole number as names write it, with k, M, B or T for its multiples or a power of ten; None where it is none.

    Example:
        >>> parse_number("0001000"), parse_number("10k"), parse_number("1.5M"), parse_number("2e3"), parse_number("v2")
        (1000, 10000, 1500000, 2000, None)
    """
    match = re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?(?:([kmbt]?)|e\+?([0-9]{1,2}))", text, re.IGNORECASE)
    if match is None or (match[2] is not None and not (match[3] or match[4])):
        return None
    fraction = match[2] or ""
    power = int(match[4]) if match[4] else _MULTIPLES[match[3].lower()]
    whole, rest = divmod(int(match[1] + fraction) * 10**power, 10 ** len(fraction))
    return None if rest else whole


def stem(name: str) -> str:
    """A name without what says its format.

    Example:
        >>> stem("epoch=3-val=0.12.ckpt"), stem("checkpoint_10.pth.tar"), stem("step1000/")
        ('epoch=3-val=0.12', 'checkpoint_10', 'step1000')
    """
    return _SUFFIXES.sub("", name[-LONGEST:].rstrip("/"))


def read_name(name: str) -> Reading:
    """What one name tells by words: the number after (or before) `step`, `iter`, `checkpoint`, `epoch`, `tokens`, ...

    Example:
        >>> read_name("epoch=3-step=1000.ckpt")
        Reading(step=1000, epoch=3, tokens=None, stage='', copy=0, is_bare=False)
        >>> read_name("resnet50.pt").tells
        False
    """
    text = stem(name)
    copy = _COPY.search(text)
    text = _METRIC.sub("", _COPY.sub("", text))
    step, epoch, tokens = _first(_STEP, text), _first(_EPOCH, text), _first(_TOKENS, text)
    is_bare = False
    if step is None and epoch is None:
        dateless = _DATE.sub("", text)
        if both := _FAIRSEQ.search(dateless):
            epoch, step = int(both[1]), int(both[2])
        else:
            step = _first((_CHECKPOINT,), dateless)
            is_bare = step is not None
    stage = _STAGE.search(text)
    return Reading(step, epoch, tokens, stage[0] if stage else "", int(copy[1]) if copy else 0, is_bare)


def read_names(names: Iterable[str]) -> dict[str, Reading]:
    """What the names of a run tell, each by its words, else by the bare number that alone tells them apart.

    Example:
        >>> {name: reading.step for name, reading in read_names(["net_10.pt", "net_20.pt", "resnet50.pt"]).items()}
        {'net_10.pt': 10, 'net_20.pt': 20, 'resnet50.pt': None}
    """
    readings = {name: read_name(name) for name in names}
    silent = [name for name, reading in readings.items() if not reading.tells]
    for name, step in _bare_steps(silent).items():
        readings[name] = replace(readings[name], step=step, is_bare=True)
    return readings


def _first(patterns: Iterable[re.Pattern[str]], text: str) -> int | None:
    for pattern in patterns:
        match = pattern.search(text)
        if match is not None:
            return parse_number(match[1])
    return None


def _bare_steps(names: list[str]) -> dict[str, int]:
    places = {name: dict(_bare_numbers(_DECOY.sub("", _COPY.sub("", stem(name))))) for name in names}
    shared = Counter(template for templates in places.values() for template in templates)
    steps = {}
    for name, templates in places.items():
        best = max(templates, key=lambda template: shared[template], default=None)
        if best is not None and (shared[best] > 1 or best == "#"):
            steps[name] = templates[best]
    return steps


def _bare_numbers(text: str) -> Iterator[tuple[str, int]]:
    """Every number that may be a step, and the name without it; the last first, since steps stand behind."""
    for match in reversed(list(_BARE.finditer(text))):
        before = text[: match.start()]
        word = _WORD_BEFORE.search(before)
        if word and (_NO_STEP.fullmatch(word[1]) or not (word[2] or word[1].lower() in _GLUED)):
            continue
        step = parse_number(match[0])
        if step is not None:
            yield f"{before}#{text[match.end() :]}", step
