"""Where a source lies: a path on this disk, a URL, a repository of a hub. What comes out is a blob or a folder."""

from __future__ import annotations

import difflib
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weightatlas.checkpoints.places.addresses import shown
from weightatlas.checkpoints.places.blob import LocalBlob, LocalFolder
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints.places.blob import Blob, Folder

ZOO_WORDS: Final = ("timm", "torchvision")
_URL = re.compile(r"((?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*)://", re.IGNORECASE)  # "simplecache::https://" too


def locate(text: str, *, storage_options: Mapping[str, object] | None = None) -> Blob | Folder:
    """What a name of the user leads to.

    Args:
        text: a path; `file://`, `http://`, `https://`, `s3://` or any other URL that fsspec opens; `hf://org/repo`,
            `hf://org/repo@revision` and a path below it.
        storage_options: what goes to the fsspec file system of a URL: credentials, an endpoint.

    Raises:
        SourceError: there is nothing of that name, or it is neither file nor folder.
        MissingDependencyError: the URL needs a package that is not installed.
    """
    if not text:
        nothing = "''"
        raise SourceError(nothing, "an empty name", "give a path or a zoo name")
    scheme = _scheme(text)
    if scheme:
        if scheme in {"file", "local"}:
            return _on_disk(text, Path(text.partition("://")[2]))
        if scheme == "hf":
            from weightatlas.checkpoints.places.hub import locate_on_hub  # huggingface_hub: only where it is named

            return locate_on_hub(text, storage_options=storage_options or {})
        from weightatlas.checkpoints.places.remote import locate_by_fsspec  # fsspec: only for URLs

        return locate_by_fsspec(text, storage_options=storage_options or {})
    return _on_disk(text, Path(text))


def public_name(text: str) -> str:
    """A source's name for results and messages: a URL without passwords and signatures, anything else as it is.

    Example:
        >>> public_name("https://me:secret@host/net.safetensors?signature=abc")
        'https://host/net.safetensors'
    """
    return shown(text) if _scheme(text) else text


def _scheme(text: str) -> str:
    """What stands before "://", in lower case; nothing for a path, one that looks like a URL too."""
    match = _URL.match(text)
    if match is None:
        return ""
    try:
        exists = Path(text).exists()
    except OSError:  # too long for a path
        exists = False
    return "" if exists else match[1].lower()


def _on_disk(text: str, path: Path) -> Blob | Folder:
    with untrusted(text, "not a path that can be opened", "check the name"):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise _missing(text, path) from None
        if stat.S_ISDIR(mode):
            return LocalFolder(path)
        return LocalBlob(path)


def _missing(text: str, path: Path) -> SourceError:
    if ":" in text and not text.startswith((".", "/")):
        zoos = ", ".join(f"{zoo}:NAME" for zoo in ZOO_WORDS)
        return SourceError(text, "no such file, and no such kind of source", f"give a path, a URL or one of {zoos}")
    folder = path.parent
    if not folder.is_dir():
        return SourceError(text, f"no such file: there is no folder {str(folder)!r}", "check the path")
    names = sorted(child.name for child in folder.iterdir())
    near = difflib.get_close_matches(path.name, names[:10_000], n=3, cutoff=0.5)
    if near:
        return SourceError(text, "no such file", f"did you mean {' or '.join(near)}?")
    if path.name == text and not path.suffix:
        zoos = " or ".join(f"{zoo}:{text}" for zoo in ZOO_WORDS)
        return SourceError(text, "no such file", f"check the path; a zoo's network is named {zoos}")
    return SourceError(text, "no such file", "check the path")
