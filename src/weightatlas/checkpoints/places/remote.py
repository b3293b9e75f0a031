"""Objects behind URLs, through fsspec: every range is one request, and nothing is kept on this disk without need.

A server that gives no ranges, stops half-way or sends more than was asked for is an error in bounded time.
"""

from __future__ import annotations

import mmap
import re
import shutil
import tempfile
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.places.addresses import shown
from weightatlas.checkpoints.places.blob import Blob, Folder, inside
from weightatlas.checkpoints.places.network_errors import explained
from weightatlas.checkpoints.places.recent_blocks import BLOCK, RecentBlocks
from weightatlas.checkpoints.places.transport import UNKNOWN
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.checkpoints.places.transport import Listing, Stat, Transport

PIECE: Final = 16 * 2**20
"""The most that one request asks for."""
NEAR: Final = 4 * BLOCK
"""Reads up to this length fetch whole blocks, which are kept; longer ones are exact."""
_SCHEME: Final = re.compile(r"(?:^|::)([a-z][a-z0-9+.-]*)(?=://|::)", re.IGNORECASE)
_NEEDS: Final = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs"}


class RemoteBlob(Blob):
    """An object behind a URL."""

    is_local = False

    def __init__(
        self, transport: Transport, address: str, stat: Stat, blocks: RecentBlocks, parent: RemoteFolder | None = None
    ) -> None:
        """Take what is known of the object; nothing is sent."""
        self._transport = transport
        self._address = address
        self._version = stat.version
        self._blocks = blocks
        self._owner = blocks.owner()
        self._parent = parent
        self._downloaded: Path | None = None
        self.name = transport.name(address)
        self.size = stat.size
        if stat.head:
            blocks.put(self._owner, 0, stat.head)

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes; a short read fetches the blocks around it, and later ones find them here."""
        self._check_range(offset, length)
        if not length:
            return b""
        if length > NEAR:
            exact = bytearray(length)
            self._fill(offset, memoryview(exact))
            return bytes(exact)
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        data = b"".join(self._take_blocks(first, last))
        return data[offset - first * BLOCK :][:length]

    def memory(self, offset: int, length: int) -> tuple[mmap.mmap | bytearray, int]:
        """Fetch a range, and nothing beyond it; memory is taken as the bytes arrive, whatever a server promises."""
        self._check_range(offset, length)
        if not length:
            return bytearray(), 0
        memory = mmap.mmap(-1, length)
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        kept = [self._blocks.get(self._owner, index) for index in range(first, last + 1)] if length <= NEAR else [None]
        if None in kept:
            with memoryview(memory) as view:
                self._fill(offset, view)
        else:
            memory[:] = b"".join(block or b"" for block in kept)[offset - first * BLOCK :][:length]
        return memory, 0

    def path(self) -> Path:
        """Download the object once, to a temporary file that goes when the blob does.

        Raises:
            SourceError: it is larger than the room on this disk.
        """
        if self._downloaded is None:
            folder = tempfile.mkdtemp(prefix="weightatlas-")
            finalizer = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            free = shutil.disk_usage(folder).free
            if self.size > free:
                finalizer()
                problem = f"must be downloaded to be read: {self.size} bytes, and this disk has {free} left"
                raise SourceError(self.name, problem, "set TMPDIR to a disk with more room")
            target = Path(folder) / (re.sub(r"[^\w.-]", "_", self.filename)[-100:].lstrip(".") or "object")
            with target.open("wb") as file:
                piece = memoryview(bytearray(min(PIECE, self.size)))
                for start in range(0, self.size, PIECE):
                    part = piece[: self.size - start]
                    self._fill(start, part)
                    file.write(part)
            self._downloaded = target
        return self._downloaded

    def folder(self) -> RemoteFolder:
        """The folder it lies in."""
        parent = self._transport.parent(self._address)
        return self._parent or RemoteFolder(self._transport, parent, self._blocks)

    def _check_range(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            message = "the object is shorter than its header says"
            raise ValueError(message)

    def _take_blocks(self, first: int, last: int) -> list[bytes]:
        """Blocks `first` to `last`; those that are not kept are fetched by one request."""
        kept = {index: self._blocks.get(self._owner, index) for index in range(first, last + 1)}
        missing = [index for index, block in kept.items() if block is None]
        if missing:
            start, stop = missing[0] * BLOCK, min((missing[-1] + 1) * BLOCK, self.size)
            data = bytearray(stop - start)
            self._fill(start, memoryview(data))
            self._blocks.put(self._owner, missing[0], bytes(data))
            for index in range(missing[0], missing[-1] + 1):
                kept[index] = bytes(data[index * BLOCK - start :][:BLOCK])
        return [kept[index] or b"" for index in range(first, last + 1)]

    def _fill(self, offset: int, view: memoryview) -> None:
        for start in range(0, len(view), PIECE):
            part = view[start : start + PIECE]
            self._check_same(self._transport.fetch(self._address, offset + start, part))

    def _check_same(self, stat: Stat) -> None:
        """Refuse bytes of another object than the one that was opened."""
        changed = stat.size not in {self.size, UNKNOWN}
        if stat.version is not None:
            changed = changed or self._version not in {None, stat.version}
            self._version = stat.version
        if changed:
            raise SourceError(self.name, "changed since it was opened", "open it again once it is written")


class RemoteFolder(Folder):
    """A prefix behind a URL. Its list is fetched once."""

    def __init__(self, transport: Transport, address: str, blocks: RecentBlocks) -> None:
        """Take the address; nothing is sent."""
        self._transport = transport
        self._address = address
        self._blocks = blocks
        self._listing: Listing | None = None
        self.name = transport.name(address)

    def files(self) -> dict[str, int]:
        """Names and sizes of the objects directly in it, sorted."""
        return {name: max(0, stat.size) for name, stat in self._list().files.items()}

    def folders(self) -> tuple[str, ...]:
        """Names of the folders directly in it, sorted."""
        return self._list().folders

    def blob(self, name: str) -> RemoteBlob:
        """An object in it or below it; its size comes from the list, where that was fetched."""
        relative = str(inside(self.name, name))
        address = self._transport.child(self._address, relative)
        stat = self._listing.files.get(relative) if self._listing is not None else None
        if stat is None and self._listing is not None and "/" not in relative:
            raise SourceError(self.name, f"{relative[:80]} is missing", "check the address")
        if stat is None or stat.size == UNKNOWN:
            stat = self._transport.look(address)
        if stat is None:
            raise SourceError(self._transport.name(address), "a folder, no file", "give a file")
        return RemoteBlob(self._transport, address, stat, self._blocks, None if "/" in relative else self)

    def folder(self, name: str) -> RemoteFolder:
        """A folder directly in it."""
        address = self._transport.child(self._address, str(inside(self.name, name)))
        return RemoteFolder(self._transport, address, self._blocks)

    def _list(self) -> Listing:
        if self._listing is None:
            self._listing = self._transport.listing(self._address)
        return self._listing


def locate_by_fsspec(text: str, *, storage_options: Mapping[str, object]) -> Blob | Folder:
    """What a URL leads to.

    Args:
        text: any URL that fsspec opens, chained ones too.
        storage_options: what goes to its file system.

    Raises:
        SourceError: there is nothing, it cannot be reached, or no file system is known by that name.
        MissingDependencyError: the file system is in a package that is not installed.
    """
    transport, address = _transport(text, dict(storage_options))
    return locate_by(transport, address)


def locate_by(transport: Transport, address: str) -> RemoteBlob | RemoteFolder:
    """The object or the folder at an address."""
    blocks = RecentBlocks()
    stat = transport.look(address)
    return RemoteFolder(transport, address, blocks) if stat is None else RemoteBlob(transport, address, stat, blocks)


def _transport(text: str, storage_options: dict[str, Any]) -> tuple[Transport, str]:
    schemes = [scheme.lower() for scheme in _SCHEME.findall(text)]
    try:
        if schemes[0] in {"http", "https"}:
            from weightatlas.checkpoints.places.http_ranges import HttpRanges

            return HttpRanges(storage_options), text
        from fsspec.core import url_to_fs

        from weightatlas.checkpoints.places.fsspec_ranges import FsspecRanges, S3Ranges, bounded_s3_options

        if schemes[0] in {"s3", "s3a"}:
            system, address = url_to_fs(text, skip_instance_cache=True, **bounded_s3_options(storage_options))
            system.retries = 1  # tried again here, with less patience
            return S3Ranges(system), address
        system, address = url_to_fs(text, **_bounded_chain(schemes, storage_options))
        return FsspecRanges(system, text.partition("::")[2]), address
    except ImportError as error:
        raise _missing(shown(text), schemes) from error
    except Exception as error:
        raise _unknown(shown(text), schemes) or explained(shown(text), error) from error


def _bounded_chain(schemes: list[str], storage_options: dict[str, Any]) -> dict[str, Any]:
    """Options of a chained URL, with time limits for web servers in it."""
    options = dict(storage_options)
    for scheme in {"http", "https"}.intersection(schemes):
        from weightatlas.checkpoints.places.http_ranges import time_limits

        given = dict(options.get(scheme, {}))
        options[scheme] = given | {"client_kwargs": {"timeout": time_limits(PIECE), **given.get("client_kwargs", {})}}
    return options


def _missing(name: str, schemes: list[str]) -> SourceError:
    from fsspec.registry import known_implementations

    for scheme in schemes:
        if scheme in _NEEDS and find_spec(_NEEDS[scheme]) is None:
            return MissingDependencyError(name, _NEEDS[scheme], "remote")
    hint = str(known_implementations.get(schemes[0], {}).get("err", "install the package of its file system"))
    return SourceError(name, f"the file system of {schemes[0]}:// is not installed", hint[:1].lower() + hint[1:])


def _unknown(name: str, schemes: list[str]) -> SourceError | None:
    """The error of a protocol that fsspec does not know."""
    from fsspec.registry import known_implementations, registry

    unknown = next((scheme for scheme in schemes if scheme not in known_implementations and scheme not in registry), "")
    if not unknown:
        return None
    remedy = "give a path, hf://, https://, s3://, gs://, abfs:// or another URL that fsspec knows"
    return SourceError(name, f"no file system is known as {unknown[:40]}://", remedy)
