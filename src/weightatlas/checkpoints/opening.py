"""Tell what a source is by what is in it, and hand it to the format that reads it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from weightatlas.checkpoints.arranging import arrange
from weightatlas.checkpoints.contents import Contents, Layout
from weightatlas.checkpoints.folder import open_folder, open_index
from weightatlas.checkpoints.gguf_file import detect_gguf, open_gguf
from weightatlas.checkpoints.hdf5.keras import detect_keras, open_keras
from weightatlas.checkpoints.hdf5.keras_archive import detect_keras_archive, open_keras_archive
from weightatlas.checkpoints.live import contents_of_state, open_module
from weightatlas.checkpoints.npz import detect_npz, open_npz
from weightatlas.checkpoints.onnx.onnx_file import detect_onnx, open_onnx
from weightatlas.checkpoints.pickles.torch_file import detect_torch, open_torch
from weightatlas.checkpoints.places.blob import Blob, Folder
from weightatlas.checkpoints.places.hub_cache import cache_snapshot
from weightatlas.checkpoints.places.locations import locate, public_name
from weightatlas.checkpoints.recognition import claimed_format, describe_content
from weightatlas.checkpoints.safetensors_file import detect_safetensors, open_safetensors
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.zoo import ZOOS, open_zoo
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.checkpoints.checkpoint import Checkpoint

SNIFF: Final = 4096


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: how to tell it and how to list it."""

    title: str
    detect: Callable[[Blob, bytes], bool]
    open: Callable[[Blob], Contents]


FORMATS: Final = (
    Format("safetensors", detect_safetensors, open_safetensors),
    Format("npz", detect_npz, open_npz),
    Format("torch", detect_torch, open_torch),
    Format("h5", detect_keras, open_keras),
    Format("keras", detect_keras_archive, open_keras_archive),
    Format("gguf", detect_gguf, open_gguf),
    Format("onnx", detect_onnx, open_onnx),
)


def open_checkpoint(
    source: str | os.PathLike[str] | Mapping[str, Any] | nn.Module,
    *,
    layout: Layout | None = None,
    storage_options: Mapping[str, object] | None = None,
) -> Checkpoint:
    """Open weights, wherever they are: list what is there from its headers; read each tensor when it is asked for.

    What a file is, is told by what is in it: safetensors (one file, shards, a Hugging Face folder), what `torch.save`
    writes (zip and legacy, state dicts, training runs and whole modules; its pickle is read as data), distributed
    checkpoints, `.npz`, Keras 1 to 3 and any HDF5, ONNX, GGUF. `timm:NAME` and `torchvision:NAME` are a zoo's
    pretrained networks, `?pretrained=false` after the name gives random weights; further options follow after `&` and
    go to the zoo. A module or a state dict is taken as it is, without a copy.

    A URL is read in ranges: `https://`, `s3://` and whatever else fsspec opens, and `hf://org/repo` with `@revision`
    and a path after it where they are needed; a list of layers costs the headers alone. A repository's folder in the
    Hub's cache stands for its snapshot.

    Convolution kernels come out as (out, in, h, w) and matrices as (out, in); `shape` in `info` says the same.
    Wrappers around the weights are undone in `layer` and said in `notes`; `name` stays as it is in the file.

    Args:
        source: a path, a URL, a zoo name, a module or a mapping of names to tensors (or numpy arrays).
        layout: how arrays are stored where their format does not say: "oihw" (the default) or "hwio". A shape that
            looks like the other one is said in `notes`, not guessed.
        storage_options: what goes to the fsspec file system of a URL: credentials, an endpoint.

    Returns:
        A read-only mapping of full tensor names to tensors.

    Raises:
        SourceError: the source cannot be used, now or when a tensor is read: one line, what is wrong and what to do.
        MissingDependencyError: the source needs a package that is not installed; the error names the pip line.
        ValueError: `layout` is neither of the two.

    Example:
        >>> import torch
        >>> checkpoint = open_checkpoint({"module.conv1.weight": torch.zeros(8, 3, 5, 5)})
        >>> [(tensor.layer, tensor.shape) for tensor in checkpoint.info.values()]
        [('conv1', (8, 3, 5, 5))]
        >>> checkpoint.notes
        ("the prefix 'module.' was taken off every name",)
    """
    if layout is not None and layout not in get_args(Layout):
        message = f"no layout {layout!r}: there is {' and '.join(get_args(Layout))}"
        raise ValueError(message)
    name, contents = _find(source, storage_options)
    reopen = None
    if isinstance(source, str | os.PathLike):
        reopen = partial(open_checkpoint, source, layout=layout, storage_options=storage_options)
    return arrange(name, contents, layout, reopen)


def _find(source: object, storage_options: Mapping[str, object] | None) -> tuple[str, Contents]:
    """Dispatch on what the source is: its name for readers and what is in it."""
    if isinstance(source, str) and source.partition(":")[0] in ZOOS and not Path(source).exists():
        return source, open_zoo(source)
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        return public_name(text), open_location(locate(text, storage_options=storage_options))
    torch = sys.modules.get("torch")  # whoever made a module has imported it
    if torch is not None and isinstance(source, torch.nn.Module):
        return type(source).__name__, open_module(source)
    if isinstance(source, Mapping):
        return "state dict", contents_of_state(source, title="state dict", file="state dict")
    raise SourceError(
        type(source).__name__, "no source of weights", "give a path, a zoo name, a module or a dictionary of tensors"
    )


def open_location(place: Blob | Folder) -> Contents:
    """List what a file or a folder holds."""
    if isinstance(place, Blob):
        return open_blob(place)
    snapshot = cache_snapshot(place)
    if snapshot is None:
        return open_folder(place, open_blob)
    folder, note = snapshot
    contents = open_folder(folder, open_blob)
    return replace(contents, notes=(*contents.notes, note))


def open_blob(blob: Blob) -> Contents:
    """Tell a file's format by its content and list it; refuse a name that claims another."""
    if not blob.size:
        raise SourceError(blob.name, "an empty file", "copy or download it again")
    if blob.filename.endswith(".index.json"):
        return open_index(blob, open_blob)
    known = format_of(blob)
    claimed = claimed_format(blob.filename)
    if claimed not in {None, known.title}:
        problem = f"its name says {claimed}, its content is {known.title}"
        raise SourceError(blob.name, problem, "rename it to what it is, if you trust where it comes from")
    with untrusted(blob.name, f"a corrupt {known.title} file"):
        return known.open(blob)


def format_of(blob: Blob) -> Format:
    """Tell a file's format by its content.

    Raises:
        SourceError: it has none that is known here.
    """
    with untrusted(blob.name, "cannot be read"):
        head = blob.read(0, min(SNIFF, blob.size))
    for candidate in FORMATS:
        if candidate.detect(blob, head):
            return candidate
    raise describe_content(blob.name, head, claimed_format(blob.filename))
