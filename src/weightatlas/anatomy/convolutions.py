"""Tell dense, depthwise, grouped and pointwise convolutions apart by the channels that flow into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from weightatlas.anatomy.vocabulary import Part, Role

_COLOURS: Final = 3  # an image comes in; groups of three channels are not seen
_GATES: Final = ("squeeze-excite-reduce", "squeeze-excite-expand")


def convolution_roles(parts: Sequence[Part], taken: Mapping[int, Role]) -> dict[int, Role]:
    """The roles of all convolutions that have none yet, by their place in the sequence.

    A kernel of shape (out, in / groups, ...) does not say how many groups there are. Where the module does not either,
    the channels made so far do: a kernel that takes fewer than the layer before it made, and no number that its block
    could feed it, is grouped. The rules lean to "dense", the far commoner case.
    """
    groups = _groups(parts, taken)
    roles: dict[int, Role] = {}
    for index, count in groups.items():
        part = parts[index]
        if count > 1 and part.shape[1] == 1:
            roles[index] = "depthwise"
        elif count > 1:
            roles[index] = "grouped"
        else:
            roles[index] = "pointwise" if part.pointwise else "dense"
    roles.update(_projections(parts, roles, taken))
    return roles


def _groups(parts: Sequence[Part], taken: Mapping[int, Role]) -> dict[int, int]:
    groups: dict[int, int] = {}
    unsure: list[int] = []
    flow = _Flow(parts)
    for index, part in enumerate(parts):
        if part.kind == "convolution" and index not in taken:
            known = part.groups
            count, certain = (known, True) if known is not None else flow.groups(part)
            groups[index] = count
            if not certain:
                unsure.append(index)
        if (part.is_weight or (part.kind == "norm" and not _is_of_next(parts, index))) and index not in taken:
            flow.add(part.layer, part.shape[0])
        elif part.kind == "embedding" and part.parameter == "weight":
            flow.add(part.layer, part.shape[-1])
    # A first block of a stage can look dense where its sisters, of the same name and width, are clearly grouped.
    sisters = {_sister(parts[index]) for index, count in groups.items() if count > 1}
    for index in unsure:
        if _sister(parts[index]) in sisters:
            groups[index] = flow.before(parts[index].layer) // parts[index].shape[1]
    return groups


def _is_of_next(parts: Sequence[Part], index: int) -> bool:
    """Whether a norm is that of the convolution named after it: as wide as what it makes, not as what it takes."""
    after = next((part for part in parts[index + 1 :] if part.is_weight), None)
    return after is not None and len(after.shape) > 1 and after.shape[0] == parts[index].shape[0] != after.shape[1]


def _sister(part: Part) -> tuple[str, int, int]:
    names = [name for name in part.layer.split(".") if not name.isdigit()]
    return ".".join(names[-2:][-1:]), part.shape[0], part.shape[1]


class _Flow:
    """The channels made so far, and by whom."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._beside: dict[str, set[int]] = {}  # channels made in one module, in whatever order
        for part in parts:
            if part.kind == "convolution":
                self._beside.setdefault(_holder(part.layer), set()).add(part.shape[0])
        self._made: list[tuple[str, int]] = []  # (layer, channels), in the order of the file
        self._previous: dict[str, int] = {}

    def add(self, layer: str, channels: int) -> None:
        self._made.append((layer, channels))

    def before(self, layer: str) -> int:
        return self._previous.get(layer, 0)

    def groups(self, part: Part) -> tuple[int, bool]:
        """How many groups a convolution has, and whether nothing speaks against it."""
        out, taken_in = part.shape[:2]
        if not self._made or out == 0 or taken_in == 0:
            return 1, True
        if taken_in == 1:
            # Any layer before that makes a divisor of these channels will do: one channel between others is rare.
            return max((channels for _, channels in self._made if channels and out % channels == 0), default=1), True
        previous = self._made[-1][1]
        self._previous[part.layer] = previous
        possible = previous > taken_in and previous % taken_in == 0 and out % (previous // taken_in) == 0
        if not possible or taken_in == _COLOURS or taken_in in self._beside[_holder(part.layer)]:
            return 1, True
        count = previous // taken_in
        block = list(self._block(part.layer))
        chained = bool(block) and not part.pointwise
        feeds = {channels for _, channels in (block if chained else self._made)}
        if taken_in in feeds:
            return 1, True
        entering = self._made[-len(block) - 1][1] if len(block) < len(self._made) else 0
        if chained and taken_in == entering:
            return 1, False
        return count, True

    def _block(self, layer: str) -> Iterator[tuple[str, int]]:
        """What was made in the same block before: layers under the nearest ancestor that holds any of them."""
        parts = layer.split(".")[:-1]
        previous = self._made[-1][0]
        while parts and not previous.startswith(".".join(parts) + "."):
            parts.pop()
        if not parts:
            return
        prefix = ".".join(parts) + "."
        for made, channels in reversed(self._made):
            if not made.startswith(prefix):
                return
            yield made, channels


def _projections(parts: Sequence[Part], roles: Mapping[int, Role], taken: Mapping[int, Role]) -> dict[int, Role]:
    """Which pointwise convolutions are the linear projections that end an inverted residual.

    Each follows a depthwise convolution. Where modules are at hand, no activation may follow. From shapes: it narrows,
    or it keeps the width behind a squeeze-and-excitation or in a network whose others narrow.

    **Source:** Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (2018), sections 3.2 and 3.3.
    """
    assigned = {**taken, **roles}
    blocks: dict[str, list[int]] = {}
    for index in assigned:
        blocks.setdefault(_holder(parts[index].layer), []).append(index)
    followers: list[int] = []
    previous: Role | None = None
    for index in sorted(assigned):
        role = assigned[index]
        if role == "pointwise" and (previous == "depthwise" or _alone_beside_depthwise(index, blocks, parts, assigned)):
            followers.append(index)
        if role not in _GATES:
            previous = role
    narrowing = any(parts[index].shape[0] < parts[index].shape[1] for index in followers)
    gated = {_holder(_holder(parts[index].layer)) for index, role in assigned.items() if role in _GATES}
    projections: dict[int, Role] = {}
    for index in followers:
        out, taken_in = parts[index].shape[:2]
        from_shape = out < taken_in or (out == taken_in and (narrowing or _holder(parts[index].layer) in gated))
        activated = parts[index].activated
        if from_shape if activated is None else not activated:
            projections[index] = "pointwise-linear"
    return projections


def _alone_beside_depthwise(
    index: int, blocks: Mapping[str, Sequence[int]], parts: Sequence[Part], assigned: Mapping[int, Role]
) -> bool:
    """Whether a module holds one pointwise and one depthwise convolution, whose channels the pointwise one takes.

    A file in the order of the alphabet may name the second before the first.
    """
    beside = blocks[_holder(parts[index].layer)]
    depthwise = [other for other in beside if assigned[other] == "depthwise"]
    pointwise = [other for other in beside if assigned[other] == "pointwise"]
    return len(pointwise) == len(depthwise) == 1 and parts[depthwise[0]].shape[0] == parts[index].shape[1]


def _holder(layer: str) -> str:
    return layer.rpartition(".")[0]
