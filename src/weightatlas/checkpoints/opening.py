"""Tell what a source is by what is in it, and hand it to the format that reads it."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from weightatlas.checkpoints.checkpoint import Checkpoint, TensorInfo
from weightatlas.checkpoints.contents import Contents, Layout
from weightatlas.checkpoints.folder import open_folder, open_index
from weightatlas.checkpoints.keras import detect_keras, open_keras
from weightatlas.checkpoints.layout import arranged, arranged_shape, from_hwio, note_of_hwio
from weightatlas.checkpoints.live import contents_of_state, open_module
from weightatlas.checkpoints.npz import detect_npz, open_npz
from weightatlas.checkpoints.ordering import in_network_order
from weightatlas.checkpoints.recognition import claimed_format, describe_content, describe_special
from weightatlas.checkpoints.safetensors_file import detect_safetensors, open_safetensors
from weightatlas.checkpoints.torch_file import detect_torch, open_torch
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.wrapping import split_key, unwrap
from weightatlas.checkpoints.zoo import ZOOS, open_zoo
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch
    from torch import nn

SNIFF: Final = 4096


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: how to tell it and how to list it."""

    title: str
    detect: Callable[[Path, bytes], bool]
    open: Callable[[Path], Contents]


FORMATS: Final = (
    Format("safetensors", detect_safetensors, open_safetensors),
    Format("npz", detect_npz, open_npz),
    Format("torch", detect_torch, open_torch),
    Format("h5", detect_keras, open_keras),
)


def open_checkpoint(
    source: str | os.PathLike[str] | Mapping[str, Any] | nn.Module, *, layout: Layout | None = None
) -> Checkpoint:
    """Open weights, wherever they are: list what is there from its headers; read each tensor when it is asked for.

    What a file is, is told by what is in it: safetensors (one file, a sharded index, a Hugging Face folder), what
    `torch.save` writes (zip and legacy, always `weights_only`), `.npz`, Keras `.h5`. `timm:NAME` and
    `torchvision:NAME` are a zoo's pretrained networks, `?pretrained=false` after the name gives random weights;
    further options follow after `&` and go to the zoo. A module or a state dict is taken as it is, without a copy.

    Convolution kernels come out as (out, in, h, w) and matrices as (out, in); `shape` in `info` says the same.
    Wrappers around the weights are undone in `layer` and said in `notes`; `name` stays as it is in the file.

    Args:
        source: a path, a zoo name, a module or a mapping of names to tensors (or numpy arrays).
        layout: how arrays are stored where their format does not say: "oihw" (the default) or "hwio". A shape that
            looks like the other one is said in `notes`, not guessed.

    Returns:
        A read-only mapping of full tensor names to tensors.

    Raises:
        SourceError: the source cannot be used, now or when a tensor is read: one line, what is wrong and what to do.
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
    name, contents = _find(source)
    return _arrange(name, contents, layout)


def _find(source: object) -> tuple[str, Contents]:
    """Dispatch on what the source is: its name for readers and what is in it."""
    if isinstance(source, str) and source.partition(":")[0] in ZOOS and not Path(source).exists():
        return source, open_zoo(source)
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        if isinstance(text, bytes):
            text = os.fsdecode(text)
        return text, _open_path(text)
    torch = sys.modules.get("torch")  # whoever made a module has imported it
    if torch is not None and isinstance(source, torch.nn.Module):
        return type(source).__name__, open_module(source)
    if isinstance(source, Mapping):
        return "state dict", contents_of_state(source, title="state dict", file="state dict")
    raise SourceError(
        type(source).__name__, "no source of weights", "give a path, a zoo name, a module or a dictionary of tensors"
    )


def _open_path(text: str) -> Contents:
    if not text:
        nothing = "''"
        raise SourceError(nothing, "an empty name", "give a path or a zoo name")
    path = Path(text)
    with untrusted(text, "not a path that can be opened", "check the name"):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise _missing(text, path) from None
        if stat.S_ISDIR(mode):
            return open_folder(path, _open_file)
        if not stat.S_ISREG(mode):
            raise SourceError(text, f"{describe_special(mode)}, no file", "give a file or a folder")
    return _open_file(path)


def _open_file(path: Path) -> Contents:
    """Tell a file's format by its content and list it; refuse a name that claims another."""
    with untrusted(path, "cannot be read"), path.open("rb") as file:
        head = file.read(SNIFF)
    if not head:
        raise SourceError(path, "an empty file", "copy or download it again")
    if path.name.endswith(".index.json"):
        return open_index(path)
    claimed = claimed_format(path)
    for candidate in FORMATS:
        if candidate.detect(path, head):
            if claimed not in {None, candidate.title}:
                problem = f"its name says {claimed}, its content is {candidate.title}"
                raise SourceError(path, problem, "rename it to what it is, if you trust where it comes from")
            with untrusted(path, f"a corrupt {candidate.title} file"):
                return candidate.open(path)
    raise describe_content(path, head, claimed)


def _missing(text: str, path: Path) -> SourceError:
    if "://" in text:
        return SourceError(text, "URLs are not read", "download it and give the path")
    if ":" in text and not text.startswith((".", "/")):
        zoos = ", ".join(f"{zoo}:NAME" for zoo in ZOOS)
        return SourceError(text, "no such file, and no such kind of source", f"give a path or one of {zoos}")
    folder = path.parent
    if not folder.is_dir():
        return SourceError(text, f"no such file: there is no folder {str(folder)!r}", "check the path")
    names = sorted(child.name for child in folder.iterdir())
    near = difflib.get_close_matches(path.name, names[:10_000], n=3, cutoff=0.5)
    if near:
        return SourceError(text, "no such file", f"did you mean {' or '.join(near)}?")
    if path.name == text and not path.suffix:
        zoos = " or ".join(f"{zoo}:{text}" for zoo in ZOOS)
        return SourceError(text, "no such file", f"check the path; a zoo's network is named {zoos}")
    return SourceError(text, "no such file", "check the path")


def _arrange(name: str, contents: Contents, layout: Layout | None) -> Checkpoint:
    """Undo wrappers and layouts; what comes out is what every command sees."""
    notes = list(contents.notes)
    headers = list(contents.headers)
    if contents.fixed_layout:
        if layout == "oihw":
            headers = [replace(header, axes=None, merge=None) for header in headers]
    elif layout == "hwio":
        headers = [from_hwio(header) for header in headers]
        notes.append("arrays were taken as (h, w, in, out)")
    elif layout is None:
        note = note_of_hwio(headers)
        notes.extend([note] if note else [])
    keys, undone = unwrap([header.key for header in headers])
    if not headers:
        reasons = "; ".join(sorted({skipped.reason for skipped in contents.skipped})[:3])
        problem = f"holds no tensors ({reasons})" if reasons else "holds no tensors"
        raise SourceError(name, problem, "give a file of weights")
    info = [
        TensorInfo(header.name, *split_key(key), arranged_shape(header), header.dtype, header.nbytes, header.file)
        for header, key in zip(headers, keys, strict=True)
    ]
    stored = {header.name: header for header in headers}

    def read(tensor: TensorInfo) -> torch.Tensor:
        with untrusted(tensor.file, f"{tensor.name!r} cannot be read"):
            return arranged(contents.read(tensor.name), stored[tensor.name])

    return Checkpoint(
        name,
        in_network_order(info),
        read,
        file_format=contents.format,
        metadata=contents.metadata,
        skipped=contents.skipped,
        notes=(*notes, *undone),
    )
