"""Where a network stops looking at positions: the last map, the pooling that reads it, the classifier behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from torch import nn

from weightatlas.errors import SourceError
from weightatlas.nn import MapHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.lab.calls import Call, Trace

ADAPTIVE: Final = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
WIDTHS: Final = ("normalized_shape", "num_features")
"""Where normalisations, torch's and others', keep the number of features they take."""

AS_MODULES: Final = "write its pooling, flattening and classifier as modules, each called once, or name another model"


@dataclass(frozen=True, slots=True)
class LastMap:
    """The last map of a network, and what stands between it and the answer.

    Attributes:
        channels: its channels C.
        height: its rows H.
        width: its columns W.
        pooling: paths of the modules that shrink or average its positions, in the order of their calls; empty where a
            convolution reads the map whole.
        norms: paths of the normalisations between the pooling and the classifier.
        classifier: path of the first fully connected layer: linear, or a convolution that covers all there is.
        covering: whether that layer is a convolution that reads the map itself, with a tap for each position.
        flat: whether the pooling gives (batch, features), not (batch, features, height, width).
    """

    channels: int
    height: int
    width: int
    pooling: tuple[str, ...]
    norms: tuple[str, ...]
    classifier: str
    covering: bool
    flat: bool


def find_last_map(source: str, found: Trace) -> LastMap:
    r"""Find the last map of a network in the order in which it calls its modules.

    The last call that reads a map, (batch, C, H, W) with two positions or more, must be a pooling (a module that keeps
    the channels and reduces the positions, an adaptive pool of any kind, a flattening, a head of ours) or a convolution
    whose kernel covers the map: a fully connected layer in disguise. From there the way leads back, in the graph of
    gradients, as long as it does not fork and no module on it has parameters. The map that the first pooling on it
    reads is the last map: a convolution, norm or activation made it. The way on leads to the first linear layer or
    convolution: the classifier, or the first of its layers. Every path from the answer to the images must lead through
    it.

    Args:
        source: the model's name, for errors.
        found: one forward pass, as `trace` writes it down.

    Raises:
        SourceError: there is no convolution, the map has one position, something else than a pooling reads the last
            map (so it is pooled inside a forward method, or its features are tokens), or the classifier is not to be
            found, is not one, or does not take what the pooling gives.

    **Source:** ours. It looks at calls and shapes, not at names, so it needs no list of architectures.

    Example:
        >>> from weightatlas.lab.calls import trace
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 4))
        >>> last = find_last_map("mine", trace(network, (2, 3, 6, 6)))
        >>> last.channels, last.height, last.width, last.pooling, last.classifier
        (8, 4, 4, ('2', '3'), '4')
    """
    calls = found.calls
    readers = [place for place, call in enumerate(calls) if call.leaf and call.map_shape]
    if not any(isinstance(call.module, nn.Conv2d) for call in calls) or not readers:
        _refuse(source, "it has no convolution that reads a map", "name a convolutional network")
    end = calls[readers[-1]]
    covering = is_covering(end)
    if not covering and not _pools(end):
        _lost_at(source, end, calls[readers[-1] + 1 :])
    pooling = _way_back(calls, readers[-1])
    rest = calls[readers[-1] :] if covering else calls[readers[-1] + 1 :]
    classifier = next((call for call in rest if isinstance(call.module, nn.Linear | nn.Conv2d)), None)
    if classifier is None:
        problem = f"no fully connected layer stands after {end.name}, the last module to read a map"
        _refuse(source, problem, "name a model whose classifier follows its pooling, with its classes left on")
    if not covering:
        _check_features(source, end, classifier)
    norms = [call for call in rest[: rest.index(classifier)] if any(True for _ in call.module.parameters())]
    _check_between(source, norms, classifier)
    changed = [*pooling, *norms, classifier]
    _check_alone(source, changed, calls)
    if not found.is_bottleneck(classifier):
        problem = f"lost track after {end.name}: its answer knows the map by other ways than {classifier.name}"
        _refuse(source, problem, AS_MODULES)
    first = pooling[0] if pooling else classifier
    channels, height, width = first.map_shape or (0, 0, 0)
    return LastMap(
        channels,
        height,
        width,
        tuple(call.name for call in pooling),
        tuple(call.name for call in norms),
        classifier.name,
        covering,
        flat=end.outputs.ndim == 2,
    )


def is_covering(call: Call) -> bool:
    """Whether a convolution's kernel is as large as the map it reads, so that it is a fully connected layer."""
    module = call.module
    return (
        isinstance(module, nn.Conv2d)
        and call.map_shape is not None
        and module.kernel_size == call.map_shape[1:]
        and tuple(call.outputs.shape[2:]) == (1, 1)
        and module.groups == 1
        and module.padding in ((0, 0), "valid")
    )


def _pools(call: Call) -> bool:
    """Whether a call reads a map and gives fewer positions of the same channels."""
    if call.map_shape is None or isinstance(call.module, nn.Conv2d):
        return False
    if isinstance(call.module, (*ADAPTIVE, MapHead)):
        return True
    channels, height, width = call.map_shape
    given = tuple(call.outputs.shape[1:])
    if len(given) == 1:
        return given[0] in (channels, 2 * channels, channels * height * width)  # twice: mean and maximum side by side
    return len(given) == 3 and given[0] in (channels, 2 * channels) and given[1] * given[2] < height * width


def _way_back(calls: Sequence[Call], place: int) -> list[Call]:
    """The poolings that end at a call, first to last: as far back as there is one way only and no parameter on it."""
    found = [calls[place]] if _pools(calls[place]) else []
    while (earlier := _giver(calls, place)) is not None:
        call = calls[earlier]
        if _pools(call):
            found.insert(0, call)
        elif any(True for _ in call.module.parameters()):
            break
        place = earlier
    return found


def _giver(calls: Sequence[Call], place: int) -> int | None:
    """The call whose answer, alone, another call reads: as it is, or after operations of a forward method."""
    node = calls[place].entry
    while node is not None:
        for back in range(place - 1, -1, -1):
            if calls[back].origin is node:
                return back
        earlier = [one for one, _ in node.next_functions if one is not None]
        node = earlier[0] if len(earlier) == 1 else None
    return None


def _check_features(source: str, end: Call, classifier: Call) -> None:
    """Refuse a classifier that does not take what the pooling gives, image by image."""
    features = end.outputs[0].numel()
    taken = classifier.inputs[0].numel()
    if classifier.inputs.shape[0] != end.outputs.shape[0] or taken != features or classifier.inputs.ndim == 3:
        problem = f"lost track after {end.name}: it gives {features} features, and {classifier.name} takes {taken}"
        _refuse(source, problem, AS_MODULES)


def _check_between(source: str, between: Sequence[Call], classifier: Call) -> None:
    """Refuse parameters between pooling and classifier that are no normalisation of the features."""
    features = classifier.inputs[0].numel()
    for call in between:
        own = (*call.module.parameters(), *(one for one in call.module.buffers() if one.ndim))
        norm = hasattr(call.module, "reset_parameters") and any(hasattr(call.module, width) for width in WIDTHS)
        if not norm or any(one.shape != (features,) for one in own):
            kind = type(call.module).__name__
            problem = f"{call.name} ({kind}) stands between its pooling and {classifier.name}, with parameters"
            _refuse(source, problem, "name a model with at most a normalisation there")


def _check_alone(source: str, changed: Sequence[Call], calls: Sequence[Call]) -> None:
    """Refuse modules that are called elsewhere too, and a second classifier on the same features."""
    times = Counter(id(call.module) for call in calls)
    for call in changed:
        if times[id(call.module)] > 1:
            _refuse(
                source, f"{call.name}, which would be replaced, is called {times[id(call.module)]} times", AS_MODULES
            )
    classifier = changed[-1]
    for call in calls:
        if (
            call is not classifier
            and call.inputs is classifier.inputs
            and isinstance(call.module, nn.Linear | nn.Conv2d)
        ):
            problem = f"it has several classifiers: {classifier.name} and {call.name} read the same features"
            _refuse(source, problem, "name a model with one")


def _lost_at(source: str, end: Call, after: Sequence[Call]) -> NoReturn:
    """Say why the last module that reads a map is none to replace."""
    if isinstance(end.module, nn.Conv2d) and tuple(end.outputs.shape[2:]) == (1, 1):
        _refuse(
            source,
            f"{end.name} shrinks its map to one position: nothing is pooled",
            "give larger images: input_size, or ?resize= and ?size= of the data",
        )
    if any(call.inputs.ndim == 3 for call in after):
        problem = f"after {end.name} its features are tokens, (batch, tokens, channels), and no map"
        _refuse(source, problem, "name a convolutional network")
    what = f"{end.name} ({type(end.module).__name__})"
    if end.outputs.ndim == 2:
        read, given = (" x ".join(str(length) for length in one.shape[1:]) for one in (end.inputs, end.outputs))
        problem = f"{what} reads {read} and gives {given}: no pooling of a map whose channels come first"
        _refuse(source, problem, "name a model whose maps are (batch, channels, height, width)")
    problem = f"lost track after {what}, the last module to read a map: no module pools its output, so a forward() does"
    _refuse(source, problem, AS_MODULES)


def _refuse(source: str, problem: str, remedy: str) -> NoReturn:
    raise SourceError(source, problem, remedy)
