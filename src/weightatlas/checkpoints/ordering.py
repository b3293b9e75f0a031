"""The order of the network, where a file has only the order of the alphabet.

Safetensors writers sort tensors by name, so `fc` stands before `layer1` and `layer3.10` before `layer3.2`. Depth, onset
and "the last layer" mean something only in the order in which a signal passes the layers; names tell most of it.

A name says more beside its siblings: `norm` closes a network that has `blocks`, and opens a block that has `attn`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.ordering_words import (
    ATTENTION,
    ATTENTION_NORM,
    BATCH_NORM,
    BEHIND,
    CROSS,
    DEPTHWISE,
    FIRST,
    FIRST_BESIDE_A_LIST,
    LAST,
    LAST_BESIDE_A_LIST,
    LIST,
    MLP,
    NORM,
    QUERY,
    SECOND_NORMS,
    WITHIN_A_BLOCK,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from weightatlas.checkpoints.checkpoint import TensorInfo

RANKS: Final = {name: 1 + rank for rank, names in enumerate(WITHIN_A_BLOCK) for name in names}
NORM_BEFORE, UNKNOWN, NORM_AFTER, LATEST = 0, 15, 20, 30
PARAMETERS: Final = {"weight": 0, "bias": 1}
NUMBERED: Final = re.compile(r"(.*?)[_.-]?(\d+)(.*)$", re.DOTALL)  # a line break would make it try every split
LETTER: Final = re.compile(r"[a-z]")
DIGITS: Final = re.compile(r"(\d+)")
INFINITE: Final = float("inf")

Key = tuple[int, float, float, int, float, str, list[tuple[float, str]], str]


@dataclass(slots=True, eq=False)
class Module:
    """One module: its part of the name, its own tensors, and the modules in it."""

    part: str
    tensors: list[TensorInfo] = field(default_factory=list)
    modules: dict[str, Module] = field(default_factory=dict)


def in_network_order(tensors: Sequence[TensorInfo]) -> tuple[TensorInfo, ...]:
    """Tensors in the order in which a signal passes them, if the file has them in the order of the alphabet.

    A file in any other order was written in the order of its modules, and is left as it is.

    Example:
        >>> from weightatlas.checkpoints import TensorInfo
        >>> names = ["bn1", "conv1", "fc", "layer1.0", "layer1.10", "layer1.2"]
        >>> tensors = [TensorInfo(name, name, "", (), "float32", 0, "") for name in names]
        >>> [tensor.name for tensor in in_network_order(tensors)]
        ['conv1', 'bn1', 'layer1.0', 'layer1.2', 'layer1.10', 'fc']
    """
    if not _alphabetical(tensors):
        return tuple(tensors)
    ordered: list[TensorInfo] = []
    waiting = [_tree(tensors)]
    while waiting:
        module = waiting.pop()
        ordered.extend(sorted(module.tensors, key=_parameter_key))
        siblings = _Siblings(module)
        waiting.extend(sorted(module.modules.values(), key=lambda child: siblings.key(child.part), reverse=True))
    return tuple(ordered)


def _alphabetical(tensors: Sequence[TensorInfo]) -> bool:
    """Whether names are sorted within each type of each file, as the safetensors package writes them."""
    runs = [
        (key, [tensor.name for tensor in run])
        for key, run in groupby(tensors, lambda tensor: (tensor.file, tensor.dtype))
    ]
    return len({key for key, _ in runs}) == len(runs) and all(names == sorted(names) for _, names in runs)


def _tree(tensors: Iterable[TensorInfo]) -> Module:
    root = Module("")
    for tensor in tensors:
        module = root
        for part in tensor.layer.split(".") if tensor.layer else ():
            module = module.modules.setdefault(part, Module(part))
        module.tensors.append(tensor)
    return root


def _parameter_key(tensor: TensorInfo) -> tuple[int, int, str]:
    """The tokens and positions of a network, then weight, bias and the rest."""
    return _among(FIRST, tensor.parameter), PARAMETERS.get(tensor.parameter, 2), tensor.name


def _among(patterns: Sequence[re.Pattern[str]], part: str) -> int:
    return next((rank for rank, pattern in enumerate(patterns) if pattern.fullmatch(part)), len(patterns))


def _natural(rest: str) -> list[tuple[float, str]]:
    return [(float(piece), "") if piece.isdecimal() else (-1, piece) for piece in DIGITS.split(rest)]


class _Siblings:
    """The modules in one module, and what they say of each other."""

    def __init__(self, module: Module) -> None:
        self.names = frozenset(part.lower() for part in module.modules)
        self.has_list = any(LIST.fullmatch(part.lower()) and child.modules for part, child in module.modules.items())
        self.has_cross = self._has(CROSS)
        self.has_attention = self.has_cross or self._has(ATTENTION)
        self.has_query = self._has(QUERY)
        self.has_mlp = self._has(MLP)
        self.is_transition = module.part.lower().startswith(("transition", "downsampl"))
        self.is_stem = self.has_list or module.part.lower().startswith("stem")
        self.is_head = module.part.lower().startswith("head")
        self.feed_forward = 3 if self.has_cross else 2

    def _has(self, pattern: re.Pattern[str]) -> bool:
        return any(pattern.fullmatch(name) for name in self.names)

    def key(self, part: str) -> Key:
        """First, middle or last of its siblings; then the number; then what comes first within a block."""
        name = part.lower()
        match = NUMBERED.match(name)
        text, number, rest = (match[1], float(match[2]), match[3]) if match else (name, INFINITE, "")
        if text.isalpha() and LETTER.fullmatch(rest):  # conv5a, conv5b: the parts of stage 5
            number, rest = number + (ord(rest) - ord("a") + 1) / 100, ""
        place = self._around_a_list(name, text, number) if self.has_list else None
        slot = self._in_attention(name, text, number) if self.has_attention else self._in_block(name, text, number)
        return *(place or self._at_an_end(name)), *slot, number, text, _natural(rest), part

    def _around_a_list(self, name: str, text: str, number: float) -> tuple[int, float] | None:
        """What stands before and after the blocks of a network, or of a stage."""
        if text in {"conv", "bn", "norm"} and number < INFINITE:
            return (1, 1.5) if number > (1 if "conv_head" in self.names else 2) else (-1, 1)
        if NORM.fullmatch(name) or name in {"post_layernorm", "norm_f"}:
            return 1, 2
        if name in FIRST_BESIDE_A_LIST:
            return -1, FIRST_BESIDE_A_LIST.index(name)
        if name in LAST_BESIDE_A_LIST:
            return 1, len(LAST)
        if name == "norm_pre" and "stages" in self.names:
            return 1, 2
        return (-1, 0) if name.startswith("downsampl") else None

    def _at_an_end(self, name: str) -> tuple[int, float]:
        first, last = _among(FIRST, name), _among(LAST, name)
        if first < len(FIRST):
            return -1, first
        return (1, last) if last < len(LAST) and not (self.has_attention and name.startswith("final")) else (0, 0)

    def _in_attention(self, name: str, text: str, number: float) -> tuple[float, int]:
        """The first norm, attention, the second norm, the feed-forward part: of a block of a transformer."""
        after = self.feed_forward
        if ATTENTION.fullmatch(name) or CROSS.fullmatch(name):
            return (2 if CROSS.fullmatch(name) else 1), UNKNOWN
        if MLP.fullmatch(name):
            return after, RANKS.get(name, UNKNOWN)
        if ATTENTION_NORM.fullmatch(name):
            return (2 if name.startswith("encoder") else 1), NORM_AFTER
        if name in SECOND_NORMS:
            closes_attention = name.startswith("post_att") and "pre_feedforward_layernorm" in self.names
            return (
                1 if closes_attention else after
            ), NORM_AFTER if closes_attention or "post_f" in name else NORM_BEFORE
        if "norm" in name or NORM.fullmatch(text):
            is_last = name.startswith(("final", "output"))
            return (after, NORM_AFTER) if is_last else (number if number < INFINITE else 1, NORM_BEFORE)
        return number, RANKS.get(name, RANKS.get(text, NORM_AFTER if text in {"ls", "layer_scale"} else UNKNOWN))

    def _in_block(self, name: str, text: str, number: float) -> tuple[float, int]:
        """Convolutions with their norms, and the parts of attention and of a feed-forward part."""
        rank = RANKS.get(name, RANKS.get(text, UNKNOWN))
        if BATCH_NORM.fullmatch(text) or name == "bns":
            return 1.5 if name == "bns" or "dw" in name else number, NORM_BEFORE if self.is_head else NORM_AFTER
        if NORM.fullmatch(text):
            return self._norm(number)
        if BEHIND.fullmatch(name):
            return INFINITE, LATEST
        return self._numbers().get(name, number), rank

    def _norm(self, number: float) -> tuple[float, int]:
        if number < INFINITE:
            return number, NORM_AFTER if self.is_stem or not number.is_integer() else NORM_BEFORE
        if "fc1" in self.names:
            return 1, NORM_AFTER
        if self.names & DEPTHWISE:
            return 0.5, NORM_AFTER
        opens = self.is_transition or self.has_query or "reduction" in self.names or self.has_mlp
        return (0, NORM_BEFORE) if opens else (INFINITE, NORM_AFTER)

    def _numbers(self) -> dict[str, float]:
        """The numbers that the parts of a block go without, though their norms have them."""
        if "conv_exp" in self.names:
            return {"conv_exp": 1, "se": 1.5, "conv_pwl": 2}
        if "conv_pwl" in self.names:
            return {"conv_pw": 1, "conv_dw": 2, "se": 2.5, "conv_pwl": 3}
        if "conv_pw" in self.names:
            return {"conv_dw": 1, "se": 1.5, "conv_pw": 2}
        return {"convs": 1.5, "se": 1.7 if "conv_dw" in self.names else INFINITE} | dict.fromkeys(DEPTHWISE, 0.5)
