"""A model by name: a zoo's, the papers', an export, a Hugging Face folder, or the user's own code."""

from __future__ import annotations

import difflib
import os
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from weightatlas.checkpoints.untrusted import summary
from weightatlas.checkpoints.zoo import ZOOS, parse_options, zoo_model
from weightatlas.errors import SourceError
from weightatlas.evaluation.converted_names import conversion_apart
from weightatlas.evaluation.exported import is_export, open_export
from weightatlas.evaluation.loading import load_checkpoint
from weightatlas.evaluation.transformers_folder import CONFIG, open_transformers
from weightatlas.evaluation.user_code import call_by_name, is_code
from weightatlas.nn.alexnet import AlexNet
from weightatlas.nn.branched import BranchedNetwork
from weightatlas.nn.language_model import LanguageModel
from weightatlas.nn.modular_addition import ModularAdditionTransformer
from weightatlas.nn.networks import ARTICLE, SMALL, SimplifiedNetwork
from weightatlas.nn.parallel_branches import ParallelBranches
from weightatlas.nn.perceptron import Perceptron
from weightatlas.nn.residual import DEPTHS, ResidualNetwork
from weightatlas.nn.segmentation import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weightatlas.checkpoints.checkpoint import Checkpoint

OWN: Final = "weightatlas"
GROUPS: Final = {"article": ARTICLE, "small": SMALL}


def open_model(
    name: str | os.PathLike[str] | nn.Module | None = None,
    *,
    checkpoint: str | os.PathLike[str] | Mapping[str, Any] | nn.Module | Checkpoint | None = None,
    seed: int = 0,
) -> nn.Module:
    """Open a model by name, in evaluation mode, with the weights of a checkpoint if one is given.

    - `timm:NAME` and `torchvision:NAME`: a zoo's network, pretrained unless `?pretrained=false` or a checkpoint is
      given; `timm:resnet50?num_classes=10`.
    - `weightatlas:simplified`: the network of Weight Banding; `?groups=small`, and `width`, `input_size`, `classes`,
      `in_channels` and `head` as `SimplifiedNetwork` takes them. `weightatlas:alexnet`, `weightatlas:branched` and
      `weightatlas:parallel-branches`, with the options of `AlexNet`, `BranchedNetwork` and `ParallelBranches`;
      `weightatlas:resnet18-cifar` (8, 14, 20, 34, 50, 56, 110, 152), with those of `ResidualNetwork`;
      `weightatlas:language-model`, with those of `LanguageModel`; `weightatlas:modular-addition`, with those of
      `ModularAdditionTransformer`; `weightatlas:perceptron`, with those of `Perceptron`; `weightatlas:segmenter`, with
      those of `Segmenter`.
    - any of these with `convert=RECIPE`, as in `timm:resnet50?convert=ws+gn`: it is converted as `convert` does, whose
      options are written `convert.groups=16`, and then a checkpoint, of the converted network, is loaded.
    - `package.module:callable`: your own code, imported (the current directory too) and called with the options after
      the question mark. It gives an `nn.Module`. This is the only name that runs code of yours.
    - a `.pt2` file of `torch.export.save`: a graph of torch's operators, run in the mode in which it was exported. What
      in such a file could run code (pickles, compiled libraries, operators beyond torch's, odd names and expressions)
      is refused; see `open_export`.
    - a folder with a `config.json` that names a class of transformers, or None with such a folder as the checkpoint:
      built from that configuration, without code from the folder, its weights read by `open_checkpoint`.
    - an `nn.Module`, which passes through.

    Args:
        name: what to open.
        checkpoint: weights to load into it, with `load_checkpoint` in its strict mode.
        seed: fixes random weights; torch's generator is left as it was.

    Returns:
        The model, on the CPU unless it came from elsewhere.

    Raises:
        SourceError: there is no such model, or it cannot be built; near names are given.
        MissingDependencyError: the zoo or transformers is not installed.

    Example:
        >>> model = open_model("weightatlas:simplified?groups=small&input_size=24&classes=4")
        >>> model.training, model(torch.zeros(1, 3, 24, 24)).shape
        (False, torch.Size([1, 4]))
    """
    if isinstance(name, nn.Module):
        model = name
    else:
        model, checkpoint = _built(name, checkpoint, seed)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    if _can_change_mode(model):
        model.eval()
    return model


def _built(name: object, checkpoint: Any, seed: int) -> tuple[nn.Module, Any]:  # noqa: ANN401 - any source of weights
    """The model of a name, and the checkpoint that is still to be loaded into it."""
    if name is None:
        if isinstance(checkpoint, str | os.PathLike) and (Path(checkpoint) / CONFIG).is_file():
            return open_transformers(Path(checkpoint), weights=checkpoint, seed=seed), None
        nothing = "model"
        problem = f"none is named, and the checkpoint is no folder with a {CONFIG}"
        raise SourceError(nothing, problem, f"name one: {_kinds()}")
    if not isinstance(name, str | os.PathLike):
        raise SourceError(type(name).__name__, "no model", f"give an nn.Module or a name: {_kinds()}")
    text = os.fsdecode(name)
    if text and Path(text).exists():
        return _at_path(text, checkpoint, seed)
    word = text.partition(":")[0]
    if word in (*ZOOS, OWN):
        plain, conversion = conversion_apart(text)
        model = _of_zoo(plain, seed, download=checkpoint is None) if word in ZOOS else _own(plain, seed)
        return (model if conversion is None else conversion.of(model)), checkpoint
    if is_code(text):
        return _module(text, call_by_name(text, seed=seed, kinds=(*ZOOS, OWN))), checkpoint
    raise _no_such(text, word)


def _of_zoo(source: str, seed: int, *, download: bool) -> nn.Module:
    return zoo_model(source if download else _without_download(source), seed=seed)


def _at_path(text: str, checkpoint: Any, seed: int) -> tuple[nn.Module, Any]:  # noqa: ANN401
    """The model of a folder or a file."""
    path = Path(text)
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise SourceError(text, f"a folder without {CONFIG}", f"name a model: {_kinds()}")
        return open_transformers(path, weights=path if checkpoint is None else checkpoint, seed=seed), None
    if not is_export(path):
        problem = "a file of weights perhaps, but no .pt2 export"
        raise SourceError(text, problem, f"name a model and give the file as its checkpoint: {_kinds()}")
    return open_export(path), checkpoint


def _without_download(source: str) -> str:
    """The same network with random weights, unless the user says otherwise: a checkpoint will replace them."""
    query = source.partition("?")[2]
    if "pretrained" in parse_options(query) or "weights" in parse_options(query):
        return source
    return f"{source}{'&' if query else '?' if '?' not in source else ''}pretrained=false"


def _own(source: str, seed: int) -> nn.Module:
    """One of the papers' networks."""
    name, _, query = source.partition(":")[2].partition("?")
    if name not in NETWORKS:
        names = ", ".join(f"{OWN}:{known}" for known in NETWORKS)
        raise SourceError(source, f"there is no network {name[:80]!r}", f"there is {names}")
    options = {"seed": seed, **parse_options(query)}
    try:
        return NETWORKS[name](**options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SourceError(source, f"cannot be built ({summary(error)})", "check its options") from error


def _simplified(*, groups: str = "article", **options: Any) -> nn.Module:  # noqa: ANN401 - those of the class
    if groups not in GROUPS:
        message = f"groups={groups} is unknown; there is {' and '.join(GROUPS)}"
        raise ValueError(message)
    return SimplifiedNetwork(GROUPS[groups], **options)


NETWORKS: Final[Mapping[str, Callable[..., nn.Module]]] = MappingProxyType(
    {
        "simplified": _simplified,
        "alexnet": AlexNet,
        "branched": BranchedNetwork,
        "parallel-branches": ParallelBranches,
        **{f"resnet{depth}-cifar": partial(ResidualNetwork, depth) for depth in DEPTHS},
        "language-model": LanguageModel,
        "modular-addition": ModularAdditionTransformer,
        "perceptron": Perceptron,
        "segmenter": Segmenter,
    }
)


def _module(source: str, found: object) -> nn.Module:
    if isinstance(found, nn.Module):
        return found
    what = f"it gives a {type(found).__name__}, no nn.Module"
    raise SourceError(source, what, "name a class of a module, or a function that returns one")


def _can_change_mode(model: nn.Module) -> bool:
    """An exported graph keeps the mode it was exported in: torch refuses to change it."""
    return not (isinstance(model, torch.fx.GraphModule) and "eval" in vars(model))


def _no_such(text: str, word: str) -> SourceError:
    words = (*ZOOS, OWN)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6) if ":" in text else []
    remedy = f"did you mean {near[0]}:{text.partition(':')[2]}?" if near else f"name one: {_kinds()}"
    return SourceError(text, "no such file or folder, and no such kind of model", remedy)


def _kinds() -> str:
    return ", ".join(
        (
            *(f"{zoo}:NAME" for zoo in ZOOS),
            *(f"{OWN}:{name}" for name in NETWORKS),
            "package.module:callable, a .pt2 export",
        )
    )
