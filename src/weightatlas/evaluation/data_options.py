"""The options of data: after the question mark of a name, or beside it in Python; each checked before it is used."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from weightatlas.checkpoints.zoo import parse_options
from weightatlas.data.decoding import Fit
from weightatlas.data.normalisation import NORMALIZATIONS, Normalization
from weightatlas.errors import SourceError
from weightatlas.evaluation.batches import Batching

TEXTS: Final = ("split", "label", "image", "difficulty")
COUNTS: Final = ("batch_size", "limit", "size", "resize", "steps", "context", "p")
ALWAYS: Final = ("batch_size", "seed", "limit")
"""What every kind of data takes, but the user's own batches."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for; None and False where nothing was.

    Attributes:
        batch_size: examples in a batch.
        seed: fixes the order of a shuffled pass, or the scenes.
        split: which part: "train", "test", ...
        limit: how many examples at most.
        shuffle: whether each pass has an order of its own.
        size: side of the square that is cut out of the middle of an image.
        resize: length that the shorter side is scaled to before.
        normalize: whose mean and standard deviation are used.
        label: which labels, where there are several.
        image: the column of images, in Parquet.
        steps: batches of scenes in a pass.
        difficulty: of scenes, or of the built-in language.
        context: symbols of a piece of text.
        p: the modulus of modular addition.
        fraction: share of all sums that are trained on.
    """

    batch_size: int = 64
    seed: int = 0
    split: str | None = None
    limit: int | None = None
    shuffle: bool = False
    size: int | None = None
    resize: int | None = None
    normalize: Normalization = "none"
    label: str | None = None
    image: str | None = None
    steps: int | None = None
    difficulty: str | None = None
    context: int | None = None
    p: int | None = None
    fraction: float | None = None

    @property
    def fit(self) -> Fit:
        """The size to bring images to."""
        return Fit(self.resize, self.size)

    @property
    def batching(self) -> Batching:
        """How examples become batches."""
        return Batching(self.batch_size, self.limit, self.shuffle, self.seed, self.normalize)


def with_query(source: str, query: str, options: Options) -> Options:
    """The options with those of a query put over them.

    Raises:
        SourceError: one is unknown, or has a value that means nothing.

    Example:
        >>> with_query("cifar10:data", "split=test&limit=100", Options()).limit
        100
    """
    given = parse_options(query)
    known = [field.name for field in fields(Options)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
            raise SourceError(source, f"no option {name[:80]!r}", remedy)
    if "normalize" in given and given["normalize"] is None:  # the word itself, read as no value
        given["normalize"] = "none"
    texts = {name: str(given[name]) for name in TEXTS if given.get(name) is not None}
    return checked(source, replace(options, **given | texts))


def checked(source: str, options: Options) -> Options:
    """The same options, if every value has a meaning.

    Raises:
        SourceError: one has not.
    """
    for name in COUNTS:
        count = getattr(options, name)
        unset = count is None and name != "batch_size"
        if not unset and (type(count) is not int or count < 1):
            raise SourceError(source, f"{name}={count}", "give a whole number of 1 or more")
    if options.fraction is not None and not (type(options.fraction) is float and 0 < options.fraction < 1):
        raise SourceError(source, f"fraction={options.fraction}", "give a number between 0 and 1")
    if type(options.seed) is not int:
        raise SourceError(source, f"seed={options.seed}", "give a whole number")
    if type(options.shuffle) is not bool:
        raise SourceError(source, f"shuffle={options.shuffle}", "write true or false")
    if options.normalize not in NORMALIZATIONS:
        raise SourceError(source, f"normalize={options.normalize}", f"there is {', '.join(NORMALIZATIONS)}")
    try:
        _ = options.fit
    except ValueError as error:
        raise SourceError(source, str(error), "change size or resize") from error
    return options


def refuse_others(source: str, options: Options, taken: tuple[str, ...]) -> None:
    """Refuse what was asked for and would be ignored.

    Raises:
        SourceError: an option is set that this kind of data does not take.
    """
    plain: Mapping[str, Any] = {field.name: field.default for field in fields(Options)}
    for name, default in plain.items():
        if name not in {*ALWAYS, *taken} and getattr(options, name) != default:
            raise SourceError(source, f"it takes no {name}", f"drop it; it takes {', '.join((*ALWAYS, *taken))}")
