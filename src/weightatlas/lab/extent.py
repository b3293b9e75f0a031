"""Keep the extent of a network's last map on small images: its first strides and pools go, its weights stay."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation.example import IMAGE_SIZE, image_size
from weightatlas.lab.last_map import LastMap, find_last_map
from weightatlas.lab.sample_images import trace_images
from weightatlas.nn import L2Pool2d
from weightatlas.nn.networks import LARGEST_MAP, SMALLEST_MAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.calls import Call, Trace

WANTED: Final = f"a last map of {SMALLEST_MAP} x {SMALLEST_MAP} to {LARGEST_MAP} x {LARGEST_MAP}"
REMEDY: Final = "give larger images, or name another model"
WINDOWS: Final = (nn.MaxPool2d, nn.AvgPool2d)


def keep_extent(model: nn.Module, source: str, input_size: int | tuple[int, int] | None) -> nn.Module:
    r"""Give a copy of a network whose last map is 6 x 6 to 8 x 8 on small images.

    A reduction is a convolution with a stride above 1, or a module without parameters that keeps the channels and
    gives at most three quarters of the rows. All reductions that read maps of one size are one level: a residual
    block's strided convolution and that of its shortcut, or branches side by side. The first levels are dropped, as
    few as leave a last map of 6 x 6: convolutions get the stride 1, pools become the identity. If the map is larger
    than 8 x 8 then, the last of them keeps the longest stride that will do, between 1 and its own (AlexNet's first is
    4). Else the first level that is left takes longer steps, the shortest that bring the map to 8 x 8; a pool's window
    grows with them. So the rule is that of `SimplifiedNetwork`.

    The last map is what `find_last_map` finds: in VGG19 and AlexNet the one before the last max pool. Of a map that is
    not square the shorter side counts. A network whose map is 6 x 6 or larger as it is stays as it is.

    Args:
        model: a network of images; it is left as it was.
        source: its name, for errors.
        input_size: side of the images, or (height, width); None is the model's own.

    Returns:
        The copy, every weight the same. Its attributes say what was done: `dropped_pools`, the names of what was
        dropped; `pools`, name and step of what is kept; `map_size`, the shorter side of the last map; `input_size`.

    Raises:
        SourceError: the last map cannot be found, no choice of steps gives such a map, a reduction that would go is
            called several times, or the parts of a level do not fit together afterwards.

    **Source:** ours, for Weight Banding (Petrov et al., Distill 2021), whose networks all end in 7 x 7: on images of 32
    x 32 the published strides leave 1 x 1, where nothing can band.

    Example:
        >>> parts = (nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, stride=2, padding=1))
        >>> network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
        >>> small = keep_extent(network, "mine", 16)
        >>> small.dropped_pools, small.pools, small.map_size
        (('0', '1'), (('2', 2),), 8)
    """
    size = image_size(model, input_size)
    changed = copy.deepcopy(model)
    seen = _look(changed, source, size)
    dropped: list[str] = []
    if seen.side < SMALLEST_MAP:
        large = trace_images(model, source, (max(IMAGE_SIZE, size[0]), max(IMAGE_SIZE, size[1])))
        levels = _levels(large, find_last_map(source, large))
        _check_alone(source, large, levels)
        while seen.side < SMALLEST_MAP and levels:
            level = levels.pop(0)
            _drop(changed, level)
            seen = _look(changed, source, size)
            shorter = _shorten(changed, source, level, size) if seen.side > LARGEST_MAP else None
            seen = shorter or seen
            dropped += [] if shorter else [call.name for call in level]
        if seen.side > LARGEST_MAP and levels:
            seen = _lengthen(changed, source, levels[0], size)
        _check(source, size, dropped, large, seen)
    _say(changed, size, dropped, seen)
    return changed


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What images of the wanted size leave of a network: its calls and its last map, or the reason why there is none.

    Attributes:
        found: its calls; None where it does not run.
        last: its last map; None where it has none.
        problem: why.
    """

    found: Trace | None = None
    last: LastMap | None = None
    problem: str = ""

    @property
    def side(self) -> int:
        """Shorter side of the last map, 0 without one."""
        return 0 if self.last is None else min(self.last.height, self.last.width)


def _look(network: nn.Module, source: str, size: tuple[int, int]) -> _Seen:
    try:
        found = trace_images(network, source, size)
        return _Seen(found, find_last_map(source, found))
    except SourceError as error:
        return _Seen(problem=error.problem)


def _levels(found: Trace, last: LastMap) -> list[list[Call]]:
    """The reductions before the last map, those of one size of map together, the largest first."""
    levels: dict[tuple[int, int], list[Call]] = {}
    for call in found.calls:
        shape = call.map_shape
        if shape is not None and call.name not in last.pooling and _reduces(call):
            levels.setdefault(shape[1:], []).append(call)
    return [levels[size] for size in sorted(levels, reverse=True)]


def _reduces(call: Call) -> bool:
    """Whether a call gives a map of clearly fewer rows, by its stride."""
    if call.map_shape is None or not call.leaf or call.outputs.ndim != 4:
        return False
    channels, rows, _ = call.map_shape
    given = call.outputs.shape[2]
    if given == 1 or 4 * given > 3 * rows:
        return False
    if isinstance(call.module, nn.Conv2d):
        return max(call.module.stride) > 1
    return call.outputs.shape[1] == channels and not any(True for _ in call.module.parameters())


def _check_alone(source: str, found: Trace, levels: Sequence[Sequence[Call]]) -> None:
    """Refuse a reduction that serves several maps: it cannot go from one and stay at another."""
    times = Counter(id(call.module) for call in found.calls)
    for call in (one for level in levels for one in level):
        if times[id(call.module)] > 1:
            problem = f"{call.name} is called {times[id(call.module)]} times, so it cannot be dropped once"
            raise SourceError(source, problem, "write it as modules, each called once, or name another model")


def _drop(network: nn.Module, level: Sequence[Call]) -> None:
    """Let a level keep the size of its maps, in place."""
    for call in level:
        module = network.get_submodule(call.name)
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        else:
            network.set_submodule(call.name, nn.Identity().train(module.training))


def _shorten(network: nn.Module, source: str, level: Sequence[Call], size: tuple[int, int]) -> _Seen | None:
    """Give a level of convolutions the longest steps below its own that leave a map of the right size, in place.

    Where none do, its steps are 1, as they were.
    """
    if not all(isinstance(call.module, nn.Conv2d) for call in level):
        return None
    for step in range(min(_step(call) for call in level) - 1, 1, -1):
        _set_steps(network, source, level, step)
        seen = _look(network, source, size)
        if SMALLEST_MAP <= seen.side <= LARGEST_MAP:
            return seen
    _drop(network, level)
    return None


def _lengthen(network: nn.Module, source: str, level: Sequence[Call], size: tuple[int, int]) -> _Seen:
    """Lengthen the steps of a level, in place, until the last map is small enough."""
    step = max(_step(call) for call in level)
    seen = _Seen()
    while step < min(size):
        step += 1
        _set_steps(network, source, level, step)
        seen = _look(network, source, size)
        if seen.side <= LARGEST_MAP:
            break
    return seen


def _set_steps(network: nn.Module, source: str, level: Sequence[Call], step: int) -> None:
    for call in level:
        _set_step(network.get_submodule(call.name), source, call.name, step)


def _set_step(module: nn.Module, source: str, name: str, step: int) -> None:
    """Let a reduction take longer steps; a pool leaves no pixel out."""
    if isinstance(module, nn.Conv2d):
        module.stride = (step, step)
    elif isinstance(module, L2Pool2d):
        module.size = step
    elif isinstance(module, WINDOWS):
        sides = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,) * 2
        module.kernel_size = (max(sides[0], step), max(sides[1], step))
        module.stride = step
    else:
        problem = f"{name} ({type(module).__name__}) would have to take steps of {step}, which it cannot be told"
        raise SourceError(source, problem, REMEDY)


def _step(call: Call) -> int:
    """The step of a reduction, by its stride or else by what it read and gave."""
    stride: Any = getattr(call.module, "stride", None)
    if isinstance(stride, tuple | list):
        stride = stride[0]
    return stride if isinstance(stride, int) else round(call.inputs.shape[2] / call.outputs.shape[2])


def _check(source: str, size: tuple[int, int], dropped: Sequence[str], large: Trace, seen: _Seen) -> None:
    """Refuse a network that has no such map now, or that gives or learns something else than before."""
    images = " x ".join(map(str, size))
    without = f"without the reductions {', '.join(dropped)}" if dropped else "with other strides"
    if seen.found is None or seen.last is None:
        _refuse(source, f"{without} it does not end in a map on images of {images}: {seen.problem}")
    if not SMALLEST_MAP <= seen.side <= LARGEST_MAP:
        _refuse(source, f"{without} images of {images} leave {seen.last.height} x {seen.last.width}, not {WANTED}")
    if seen.found.answer.shape != large.answer.shape:
        was, now = tuple(large.answer.shape), tuple(seen.found.answer.shape)
        _refuse(source, f"{without} it gives {now}, not {was}")
    if lost := sorted(large.used - seen.found.used):
        _refuse(source, f"{without} no gradient reaches {', '.join(lost[:4])}")


def _say(network: nn.Module, size: tuple[int, int], dropped: Sequence[str], seen: _Seen) -> None:
    """Write on the network what it is now."""
    levels = _levels(seen.found, seen.last) if seen.found is not None and seen.last is not None else []
    vars(network).update(
        dropped_pools=(*getattr(network, "dropped_pools", ()), *dropped),
        pools=tuple((call.name, _step(call)) for level in levels for call in level),
        map_size=seen.side,
        input_size=size[0] if size[0] == size[1] else size,
    )


def _refuse(source: str, problem: str) -> NoReturn:
    raise SourceError(source, problem, REMEDY)
