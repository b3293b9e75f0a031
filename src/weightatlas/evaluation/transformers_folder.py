"""A Hugging Face folder as a model: the class its `config.json` names, from transformers itself, with our own loading.

Nothing of the folder runs: no code beside the configuration, no kernels from the hub, no pickle of weights.
"""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.bounded_json import bounded_json
from weightatlas.checkpoints.checkpoint import Checkpoint
from weightatlas.checkpoints.opening import open_checkpoint
from weightatlas.checkpoints.places.downloads import quiet_downloads
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.checkpoints.untrusted import summary
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.evaluation.loading import load_checkpoint
from weightatlas.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn

CONFIG: Final = "config.json"
CONFIG_LIMIT: Final = 2**20
LARGEST: Final = 2**31
MODULES: Final = 1000
LABELS: Final = 1_000_000
SLACK: Final = 2**24

_COUNTS: Final = re.compile(r"(^|_)(layers?|depths?|blocks|stages|repeats)$")
"""Names of settings that say how many modules are built."""

CODE: Final = frozenset({"auto_map", "custom_pipelines"})
"""Entries that name code beside the weights."""

LEFT_OUT: Final = frozenset(
    {"quantization_config", "compression_config", "attn_implementation", "experts_implementation", "kernel_config"}
    | {"torch_dtype", "dtype", "name_or_path", "transformers_version", "use_kernels", "trust_remote_code"}
)
"""Entries that choose kernels, types or places to fetch from; so do all that begin with an underscore."""


def open_transformers(path: Path, *, weights: Any = None, seed: int = 0) -> nn.Module:  # noqa: ANN401 - any source
    """Build the network that a folder's `config.json` describes, and load its weights.

    The class is the first of `architectures`, if transformers lists it for the configuration's `model_type`. It is
    built in float32, first without memory: a configuration that asks for far more parameters than the weights hold is
    refused. A backbone's own pretrained weights are not fetched.

    Args:
        path: the folder.
        weights: anything that `load_checkpoint` takes; None leaves the weights random.
        seed: fixes random weights.

    Raises:
        SourceError: there is no usable configuration; it names code of its own (`auto_map`), a class transformers does
            not have or sizes that do not belong to the weights; or the weights do not fit.
        MissingDependencyError: transformers is not installed.

    **Source:** transformers' `AutoConfig` and `from_pretrained`; ours runs no remote code and opens no file by them.
    Where a class keeps its weights under other names than the files of its kind do, or merges them (the experts of a
    mixture), transformers' own conversion is given the tensors that `open_checkpoint` read.
    """
    config = _read_config(path)
    model_class, settings = _class_and_settings(path, config)
    checkpoint = weights if weights is None or isinstance(weights, Checkpoint) else open_checkpoint(weights)
    _check_size(path, model_class, settings, checkpoint)
    model = _build(path, model_class, settings, "cpu", seed)
    if checkpoint is None:
        return model
    try:
        load_checkpoint(model, checkpoint)
    except SourceError:
        converted = _converted(model_class, settings, checkpoint, seed)
        if converted is None:
            raise
        return converted
    return model


def _read_config(path: Path) -> dict[str, Any]:
    place = path / CONFIG
    with place.open("rb") as file:
        text = file.read(CONFIG_LIMIT + 1)
    if len(text) > CONFIG_LIMIT:
        raise SourceError(place, f"more than {CONFIG_LIMIT} bytes", "do not use this folder")
    config = bounded_json(text, str(place), "the configuration")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise SourceError(place, "it names no model_type of transformers", "name a model, and the folder as checkpoint")
    _check_values(place, config)
    return config


def _check_values(place: Path, config: object, key: str = "", depth: int = 0) -> None:
    """Refuse code of the folder's own, and numbers that would take forever to build."""
    if depth > 20:
        raise SourceError(place, "it is nested too deeply", "do not use this folder")
    if isinstance(config, dict):
        for name, value in config.items():
            if name in CODE and value:
                problem = f"its {name} names code of its own, which is not run"
                raise SourceError(place, problem, "name the model yourself: package.module:callable")
            _check_values(place, value, name, depth + 1)
    elif isinstance(config, list):
        for value in config:
            _check_values(place, value, key, depth + 1)
    elif isinstance(config, int):
        most = MODULES if _COUNTS.search(key) else LABELS if key == "num_labels" else LARGEST
        if abs(config) > most:
            raise SourceError(place, f"{printable(key, limit=60)} is {config}, where {most} is the most", "correct it")


def _class_and_settings(path: Path, config: dict[str, Any]) -> tuple[Any, Any]:
    """The class of the model and an instance of its configuration."""
    place = path / CONFIG
    with suppress(MissingDependencyError):  # transformers does without, where the network does
        import_torchvision()
    try:
        from transformers.models.auto import modeling_auto
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError as error:
        raise MissingDependencyError(place, "transformers", "zoo") from error
    kind = config["model_type"]
    if kind not in CONFIG_MAPPING:
        problem = f"the installed transformers knows no model_type {printable(kind, limit=60)!r}"
        raise SourceError(place, problem, "update transformers, or name the model")
    listed = vars(modeling_auto).items()
    tables = [table for name, table in listed if name.startswith("MODEL") and name.endswith("_NAMES")]
    known = {name for table in tables for name in _names(table.get(kind))}
    named = config.get("architectures") or [None]
    wanted = named[0] if isinstance(named, list) else None
    if wanted not in known:
        there = ", ".join(sorted(known)[:6]) or "none"
        problem = f"architectures[0] is {printable(str(wanted), limit=60)}, no class of transformers for {kind}"
        raise SourceError(place, problem, f"there is {there}; or name the model: package.module:callable")
    import transformers

    with _quiet():
        try:
            settings = CONFIG_MAPPING[kind](**_plain(config))
        except Exception as error:
            raise SourceError(
                place, f"not a configuration of {kind} ({summary(error)})", "download it again"
            ) from error
    return getattr(transformers, wanted), settings


def _names(entry: object) -> tuple[str, ...]:
    return tuple(entry) if isinstance(entry, tuple | list) else (entry,) if isinstance(entry, str) else ()


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """A configuration without what chooses kernels, types or places to fetch from."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _plain(inner) for key, inner in value.items() if key not in LEFT_OUT and key[:1] != "_"}
    return kept | ({"use_pretrained_backbone": False} if "use_pretrained_backbone" in kept else {})


def _check_size(path: Path, model_class: Any, settings: Any, checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
    if checkpoint is None:
        return
    empty = _build(path, model_class, settings, "meta", 0)
    asked = sum(parameter.numel() for parameter in empty.parameters())
    held = sum(info.nbytes for info in checkpoint.info.values())
    if asked > 4 * held + SLACK:  # a byte a parameter is the least, and heads may be new
        problem = f"it describes {asked:,} parameters, where the weights have {held:,} bytes"
        raise SourceError(path / CONFIG, problem, "use the configuration that belongs to the weights")


def _build(path: Path, model_class: Any, settings: Any, device: str, seed: int) -> nn.Module:  # noqa: ANN401
    import torch

    with _quiet(), torch.random.fork_rng(devices=[]), torch.device(device):
        torch.default_generator.manual_seed(seed)
        try:
            model: nn.Module = model_class(settings)
        except Exception as error:
            problem = f"{model_class.__name__} cannot be built from it ({summary(error)})"
            raise SourceError(path / CONFIG, problem, "check it, or name the model") from error
    return model.eval()


def _converted(model_class: Any, settings: Any, checkpoint: Checkpoint, seed: int) -> nn.Module | None:  # noqa: ANN401
    """The model with weights that transformers renamed and merged; None where even so they are not all there."""
    import torch

    state = {
        info.layer if info.layer == info.parameter else f"{info.layer}.{info.parameter}": checkpoint[name]
        for name, info in checkpoint.info.items()
    }
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            model, found = model_class.from_pretrained(
                None, config=settings, state_dict=state, dtype=torch.float32, output_loading_info=True
            )
        except Exception:  # noqa: BLE001 - the reason to give is why the weights did not fit as they are
            return None
    if found["missing_keys"] or found["mismatched_keys"] or found["error_msgs"]:
        return None
    whole = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    return model.eval() if whole else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers silent, and off the network: what is built comes from the folder alone."""
    from huggingface_hub import constants

    logger = logging.getLogger("transformers")
    level, offline = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.CRITICAL)
    try:
        with quiet_downloads(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            constants.HF_HUB_OFFLINE = True
            yield
    finally:
        logger.setLevel(level)
        constants.HF_HUB_OFFLINE = offline
