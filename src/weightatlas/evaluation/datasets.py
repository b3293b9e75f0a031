"""Data by name: the built-in scenes, language and sums, the layouts people have, the user's own batches."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.data.arrays import read_arrays
from weightatlas.data.cifar import read_cifar
from weightatlas.data.digits import digit_examples, digit_pair_examples
from weightatlas.data.fitting import refitted
from weightatlas.data.image_folder import read_image_folder
from weightatlas.data.language import CONTEXT, language_examples
from weightatlas.data.modular_addition import FRACTION, MODULUS, modular_addition_examples
from weightatlas.data.parquet import is_parquet, read_parquet
from weightatlas.data.scenes import Scenes
from weightatlas.data.splits import NoSplitError
from weightatlas.data.svhn import read_svhn
from weightatlas.data.text import read_text
from weightatlas.errors import SourceError
from weightatlas.evaluation.batches import Batch, Data, batched, passed_through
from weightatlas.evaluation.data_options import Options, checked, refuse_others, with_query
from weightatlas.evaluation.user_code import call_by_name, is_code

if TYPE_CHECKING:
    from weightatlas.data.examples import Examples
    from weightatlas.data.normalisation import Normalization

SCENES: Final = "scenes"
TEXT: Final = "text"
TRAINING_STEPS: Final = 400
HELD_OUT_STEPS: Final = 32
"""Batches of scenes that make a pass, where nothing is said: what the small networks train on, and are scored on."""

IMAGES: Final = ("split", "shuffle", "size", "resize", "normalize")
KINDS: Final = (
    "scenes, text, modular-addition, digits, digit-pairs, cifar10:PATH, cifar100:PATH, svhn:PATH, text:PATH, a folder "
    "of images, Parquet, an .npz, package.module:callable"
)


def open_data(
    name: str | os.PathLike[str] | Iterable[Any],
    *,
    batch_size: int = 64,
    seed: int = 0,
    split: str | None = None,
    limit: int | None = None,
    shuffle: bool = False,
    size: int | None = None,
    resize: int | None = None,
    normalize: Normalization = "none",
) -> Data:
    """Open data by name, as batches that can be gone through again and again.

    - `scenes`: the built-in scenes, drawn on the fly; `?label=left&difficulty=hard&size=24&steps=400`; the
      targets of `?label=mask` are the classes of all pixels.
    - `cifar10:PATH`, `cifar100:PATH` (`?label=coarse`), `svhn:PATH`: the folder they were unpacked to.
    - `text`: the built-in language of known entropy; `?difficulty=hard&context=32`. `text:PATH`: a text file, its bytes
      in pieces of 64, or of `?context=`; the target of each position is the next.
    - `modular-addition`: all sums modulo p, a share of them to train on; `?p=53&fraction=0.3`. `digits`: the
      handwritten digits of 8 x 8 that come with scikit-learn; `digit-pairs`: two of them, each with a target.
    - a folder of images with a sub-folder for each class; Parquet as the hub has it (`?label=COLUMN&image=COLUMN`); an
      `.npz` with `inputs` and `targets`.
    - `package.module:callable`: your own code, imported (the current directory too) and called with the options after
      the question mark; it gives batches, or an iterator of them and is then called anew for every pass.
    - any re-iterable of (inputs, targets), which passes through.

    Images are float32 (batch, channels, height, width) between 0 and 1; classes are int64, (batch,) or of texts (batch,
    context). Images that cannot be
    decoded are left out and listed in `skipped`.

    Args:
        name: what to open. Every option here, and `label`, `image`, `steps`, `difficulty` and `context`, may stand
            after a question mark: there it counts.
        batch_size: examples in a batch.
        seed: fixes the order of shuffled passes, and the scenes.
        split: which part; None is "train" where there is one, else the only one there is.
        limit: how many examples at most, the first ones.
        shuffle: whether each pass has an order of its own, that of (seed, epoch).
        size: side of the square that is cut out of the middle of each image, in pixels.
        resize: length that the shorter side is scaled to before; None is `size`.
        normalize: "none", or whose mean and standard deviation are used: "imagenet", "cifar10", "cifar100", "half".

    Returns:
        The batches, with name, classes, shape, the count of examples and what was skipped.

    Raises:
        NoSplitError: the data have no such split.
        SourceError: there is no such data, an option means nothing to it, or it is corrupt.
        MissingDependencyError: Parquet without pyarrow.

    Example:
        >>> data = open_data("scenes?label=left", batch_size=8, limit=20)
        >>> len(data), data.shape, [len(targets) for _, targets in data]
        (3, (3, 24, 24), [8, 8, 4])
    """
    options = Options(batch_size, seed, split, limit, shuffle, size, resize, normalize)
    if isinstance(name, Data):
        return name
    if not isinstance(name, str | os.PathLike):
        if not isinstance(name, Iterable):
            raise SourceError(type(name).__name__, "no data", f"give batches or a name: {KINDS}")
        return passed_through(type(name).__name__, name)
    text = os.fsdecode(name)
    if not _exists(text) and is_code(text) and text.partition(":")[0] not in READERS:
        return _own_code(text, seed)
    source, _, query = (text, "", "") if _exists(text) else text.partition("?")
    options = with_query(text, query, checked(text, options))
    if source == SCENES and not _exists(source):
        return _scenes(text, options)
    if source in BUILT_IN and not _exists(source):
        return batched(BUILT_IN[source](text, options), options.batching)
    with untrusted(source, "cannot be read"):
        return batched(_examples(source, options), options.batching)


def _examples(source: str, options: Options) -> Examples:
    """Choose the reader: by the word before the colon, else by what is there."""
    word, colon, rest = source.partition(":")
    if colon and word in READERS and not _exists(source):
        path = Path(rest)
        if not rest or not path.exists():
            raise SourceError(source, f"no such file or folder: {rest[:200]!r}", f"give where it lies: {word}:PATH")
        return READERS[word](path, options)
    path = Path(source)
    if not _exists(source):
        raise _no_such(source, word if colon else source)
    if is_parquet(path):
        refuse_others(source, options, (*IMAGES, "label", "image"))
        return read_parquet(path, split=options.split, label=options.label, image=options.image, fit=options.fit)
    if path.is_dir():
        refuse_others(source, options, IMAGES)
        return read_image_folder(path, split=options.split, fit=options.fit)
    refuse_others(source, options, IMAGES)
    return _arrays(path, options)


def _arrays(path: Path, options: Options) -> Examples:
    examples = read_arrays(path, split=options.split)
    image = len(examples.shape) == 3 and examples.shape[0] == 3
    if not image and (options.normalize != "none" or not options.fit.identity):
        problem = f"its inputs are {list(examples.shape)}, no images of three channels"
        raise SourceError(path, problem, "drop size, resize and normalize")
    return refitted(examples, options.fit)


def _cifar(classes: int) -> Callable[[Path, Options], Examples]:
    def read(path: Path, options: Options) -> Examples:
        refuse_others(f"cifar{classes}:{path}", options, (*IMAGES, "label"))
        return read_cifar(path, classes=classes, split=options.split, label=options.label, fit=options.fit)

    return read


def _svhn(path: Path, options: Options) -> Examples:
    refuse_others(f"svhn:{path}", options, IMAGES)
    return read_svhn(path, split=options.split, fit=options.fit)


def _text(path: Path, options: Options) -> Examples:
    refuse_others(f"{TEXT}:{path}", options, ("split", "shuffle", "context"))
    return read_text(path, split=options.split, context=options.context or CONTEXT)


READERS: Final[dict[str, Callable[[Path, Options], Examples]]] = {
    "cifar10": _cifar(10),
    "cifar100": _cifar(100),
    "svhn": _svhn,
    TEXT: _text,
}
"""Data sets by the word before the colon."""


def _scenes(source: str, options: Options) -> Data:
    refuse_others(source, options, ("split", "label", "size", "steps", "difficulty"))
    held_out = options.split in {"test", "held-out", "val", "validation"}
    if not held_out and options.split not in {None, "train"}:
        raise NoSplitError(source, f"no split {options.split!r}", "there is train and test")
    steps = options.steps or (HELD_OUT_STEPS if held_out else TRAINING_STEPS)
    count = min(steps * options.batch_size, options.limit or steps * options.batch_size)
    label: Any = options.label or "top"
    difficulty: Any = options.difficulty or "easy"
    try:
        scenes = Scenes(
            label,
            difficulty=difficulty,
            size=options.size or 24,
            batch=options.batch_size,
            steps=-(-count // options.batch_size),
            seed=options.seed,
            split="held-out" if held_out else "train",
        )
    except ValueError as error:
        raise SourceError(source, str(error), "change the options after the ?") from error

    def batches(_epoch: int) -> Iterator[Batch]:
        left = count
        for inputs, targets in scenes:
            yield inputs[:left], targets[:left]
            left -= len(targets)

    shape = (3, scenes.size, scenes.size)
    return Data(
        source,
        batches,
        shape=shape,
        count=len(scenes),
        examples=count,
        classes=scenes.class_names,
        material=scenes,
        limit=count,
    )


def _language(source: str, options: Options) -> Examples:
    refuse_others(source, options, ("split", "shuffle", "difficulty", "context"))
    difficulty: Any = options.difficulty or "easy"
    context = options.context or CONTEXT
    with _meaningful(source):
        return language_examples(difficulty=difficulty, seed=options.seed, split=options.split, context=context)


def _modular_addition(source: str, options: Options) -> Examples:
    refuse_others(source, options, ("split", "shuffle", "p", "fraction"))
    p, fraction = options.p or MODULUS, options.fraction or FRACTION
    with _meaningful(source):
        return modular_addition_examples(p=p, fraction=fraction, seed=options.seed, split=options.split)


def _digits(source: str, options: Options) -> Examples:
    refuse_others(source, options, ("split", "shuffle"))
    return digit_examples(split=options.split)


def _digit_pairs(source: str, options: Options) -> Examples:
    refuse_others(source, options, ("split", "shuffle"))
    return digit_pair_examples(seed=options.seed, split=options.split)


BUILT_IN: Final[dict[str, Callable[[str, Options], Examples]]] = {
    TEXT: _language,
    "modular-addition": _modular_addition,
    "digits": _digits,
    "digit-pairs": _digit_pairs,
}
"""Examples that need no file, by their name."""


@contextmanager
def _meaningful(source: str) -> Iterator[None]:
    """Turn an option that the maker of examples refuses into an error of the source."""
    try:
        yield
    except SourceError:
        raise
    except ValueError as error:
        raise SourceError(source, str(error), "change the options after the ?") from error


def _own_code(source: str, seed: int) -> Data:
    """Batches of the user's own; a function that gives an iterator is called anew for every pass."""
    first = call_by_name(source, seed=seed, kinds=tuple(READERS))
    if not isinstance(first, Iterable):
        problem = f"it gives a {type(first).__name__}, no batches"
        raise SourceError(source, problem, "return a list of (inputs, targets), a DataLoader or an iterator of them")
    if iter(first) is not first:
        return passed_through(source, first)
    return passed_through(source, first, again=lambda: call_by_name(source, seed=seed))


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def _no_such(source: str, word: str) -> SourceError:
    near = difflib.get_close_matches(word, (*READERS, SCENES, *BUILT_IN), n=1, cutoff=0.6)
    if near:
        return SourceError(source, "no such data", f"did you mean {near[0]}?")
    parent = Path(source).parent
    names = sorted(child.name for child in parent.iterdir())[:10_000] if parent.is_dir() else []
    near = difflib.get_close_matches(Path(source).name, names, n=1, cutoff=0.6)
    remedy = f"did you mean {parent / near[0]}?" if near else f"give {KINDS}"
    return SourceError(source, "no such file or folder, and no such kind of data", remedy)
