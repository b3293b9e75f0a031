"""Ranges over HTTP: each is one request that is answered with exactly those bytes, or refused before they are read.

fsspec's own HTTP reader takes a whole body where a server ignores the range; here nothing is read that was not asked
for. Its session is used, so that fsspec's options (headers, `client_kwargs`) work as they do there.

**Source:** RFC 9110, section 14 (range requests).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.places import addresses
from weightatlas.checkpoints.places.network_errors import TransientError, absent, denied, persistently, seconds_for
from weightatlas.checkpoints.places.recent_blocks import BLOCK
from weightatlas.checkpoints.places.transport import Listing, Stat, Transport
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientResponse

BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
DENIED: Final = frozenset({401, 403, 407})
ABSENT: Final = frozenset({404, 410})
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_SIZE: Final = re.compile(r"bytes \*/(\d{1,18})", re.ASCII)
_DOWNLOAD: Final = "download the file and give its path"


class HttpRanges(Transport):
    """Web servers. An address is a URL."""

    def __init__(self, storage_options: Mapping[str, Any]) -> None:
        """Make a session of fsspec's HTTP file system; nothing is sent yet.

        Raises:
            ImportError: aiohttp is not installed.
        """
        import fsspec

        options = dict(storage_options)
        client = {"trust_env": True, **options.pop("client_kwargs", {})}  # proxies as for every other program
        self._has_timeout = "timeout" in client
        self._system: Any = fsspec.filesystem("http", skip_instance_cache=True, client_kwargs=client, **options)

    def name(self, address: str) -> str:
        """The URL without user, password and query."""
        return addresses.shown(address)

    def child(self, address: str, name: str) -> str:
        """The URL of a file beside others."""
        return addresses.child(address, name)

    def parent(self, address: str) -> str:
        """The URL of the folder."""
        return addresses.parent(address)

    def url(self, address: str) -> str:
        """The URL that an address stands for."""
        return address

    def look(self, address: str) -> Stat | None:
        """Size, version and first block of an object; servers that sign an address often admit GET and no HEAD."""
        if self.url(address).partition("?")[0].endswith("/"):
            return None
        head = bytearray(BLOCK)
        stat = self.fetch(address, 0, memoryview(head))
        return Stat(stat.size, stat.version, bytes(head[: min(BLOCK, stat.size)]))

    def fetch(self, address: str, offset: int, view: memoryview) -> Stat:
        """One GET with a Range; the object may end before the view does."""
        from fsspec.asyn import sync

        stat: Stat = persistently(self.name(address), lambda: sync(self._system.loop, self._get, address, offset, view))
        return stat

    def listing(self, address: str) -> Listing:
        """Web servers list nothing.

        Raises:
            SourceError: always.
        """
        remedy = "give the URL of the file, or of its index (model.safetensors.index.json)"
        raise SourceError(self.name(address), "a folder of a web server, which cannot be listed", remedy)

    async def _get(self, address: str, offset: int, view: memoryview) -> Stat:
        session = await self._system.set_session()
        options = dict(self._system.kwargs)
        wanted = {"Range": f"bytes={offset}-{offset + len(view) - 1}", "Accept-Encoding": "identity"}
        options["headers"] = {**options.get("headers", {}), **wanted}
        if not self._has_timeout:
            options["timeout"] = time_limits(len(view))
        async with session.get(self._system.encode_url(self.url(address)), **options) as response:
            stat, count = _promise(self.name(address), response, offset, len(view))
            await _receive(self.name(address), response, view[:count])
        return stat


def time_limits(length: int) -> object:
    """How long a request for so many bytes may last, as aiohttp takes it."""
    import aiohttp

    silence = seconds_for(0)
    return aiohttp.ClientTimeout(total=seconds_for(length), connect=silence, sock_connect=silence, sock_read=silence)


def _promise(name: str, response: ClientResponse, offset: int, length: int) -> tuple[Stat, int]:
    """What the answer's head says: of which object it is a part, and how many bytes come."""
    if response.status == 416 and (match := _SIZE.fullmatch(response.headers.get("Content-Range", ""))):
        return Stat(int(match[1]), _version(response)), 0
    _check_status(name, response.status)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise SourceError(name, "the server compresses what it sends, so ranges of it mean nothing", _DOWNLOAD)
    if response.status == 200:
        size = response.content_length
        if offset or size is None or size > length:
            raise SourceError(name, "the server gives no ranges", _DOWNLOAD)
        return Stat(size, _version(response)), size
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        raise SourceError(name, "the server does not say which bytes it sends", _DOWNLOAD)
    first, last, size = (int(text) for text in match.groups())
    if first != offset or not first <= last < min(size, offset + length):
        raise SourceError(name, "the server sends other bytes than were asked for", _DOWNLOAD)
    if last + 1 < min(size, offset + length):
        message = "the server sends fewer bytes than were asked for"
        raise TransientError(message)
    return Stat(size, _version(response)), last + 1 - first


def _check_status(name: str, status: int) -> None:
    if status in {200, 206}:
        return
    if status in BUSY:
        message = f"the server answers {status}"
        raise TransientError(message)
    if status in DENIED:
        raise denied(name)
    if status in ABSENT:
        raise absent(name)
    raise SourceError(name, f"the server answers {status}", "check the address")


def _version(response: ClientResponse) -> str | None:
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


async def _receive(name: str, response: ClientResponse, view: memoryview) -> None:
    """Fill the view; stop at the first byte too many."""
    length = response.content_length
    if length is not None and length > len(view):
        raise SourceError(name, "the server sends more than was asked for", _DOWNLOAD)
    position = 0
    while position < len(view) or length is None:
        piece = await response.content.readany()
        if not piece:
            break
        if position + len(piece) > len(view):
            raise SourceError(name, "the server sends more than was asked for", _DOWNLOAD)
        view[position : position + len(piece)] = piece
        position += len(piece)
    if position < len(view):
        message = "the server stops half-way"
        raise TransientError(message)
