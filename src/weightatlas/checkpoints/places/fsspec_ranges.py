"""Ranges through any fsspec file system, and through S3's own call, which says what object a range is of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.places.addresses import shown
from weightatlas.checkpoints.places.network_errors import TransientError, persistently, seconds_for, status_of
from weightatlas.checkpoints.places.transport import UNKNOWN, Listing, Stat, Transport
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSIONS: Final = ("ETag", "etag", "md5Hash", "generation", "LastModified", "mtime", "created")
_TOTAL: Final = re.compile(r"bytes \d{1,18}-\d{1,18}/(\d{1,18})", re.ASCII)


class FsspecRanges(Transport):
    """A file system of fsspec. An address is a path without its protocol."""

    def __init__(self, system: Any, chain: str = "") -> None:  # noqa: ANN401 - fsspec has no types
        """Take the file system; `chain` is what follows the first "::" of a chained URL, for names."""
        self._system = system
        self._chain = f"::{shown(chain)}" if chain else ""

    def name(self, address: str) -> str:
        """The path with its protocol, and the chain behind it unless that says the same."""
        name = shown(str(self._system.unstrip_protocol(address)))
        return name if name == self._chain[2:] else name + self._chain

    def child(self, address: str, name: str) -> str:
        """The path below."""
        return f"{address.rstrip('/')}/{name}" if address else name

    def parent(self, address: str) -> str:
        """The path above."""
        return address.rstrip("/").rpartition("/")[0]

    def look(self, address: str) -> Stat | None:
        """What `info` says."""
        info = persistently(self.name(address), lambda: self._system.info(address))
        return None if info.get("type") == "directory" else self._stat(address, info)

    def fetch(self, address: str, offset: int, view: memoryview) -> Stat:
        """One `cat_file` of the range."""

        def attempt() -> Stat:
            data = self._system.cat_file(address, start=offset, end=offset + len(view))
            if len(data) == len(view):
                view[:] = data
                return Stat(UNKNOWN)
            self._system.invalidate_cache()
            stat = self.look(address)
            if stat is None or stat.size < offset + len(view):
                return stat or Stat(0)
            message = "a range comes back with another length"
            raise TransientError(message)

        return persistently(self.name(address), attempt)

    def listing(self, address: str) -> Listing:
        """One `ls`."""
        self._system.invalidate_cache()
        entries = persistently(self.name(address), lambda: self._system.ls(address, detail=True))
        files, folders = {}, set()
        for entry in entries:
            name = str(entry["name"]).rstrip("/").rpartition("/")[2]
            if not name or str(entry["name"]).strip("/") == address.strip("/"):
                continue  # the mark that some stores keep for the folder itself
            if entry.get("type") == "directory":
                folders.add(name)
            else:
                files[name] = self._stat(address, entry)
        return Listing({name: files[name] for name in sorted(files)}, tuple(sorted(folders)))

    def _stat(self, address: str, info: Mapping[str, Any]) -> Stat:
        size = info.get("size")
        if not isinstance(size, int) or size < 0:
            raise SourceError(self.name(address), "its size is not known", "download it and give its path")
        version = next((info[key] for key in _VERSIONS if info.get(key)), None)
        return Stat(size, None if version is None else str(version).strip('"'))


class S3Ranges(FsspecRanges):
    """S3 and what speaks like it; a whole body in place of a range is refused unread."""

    def fetch(self, address: str, offset: int, view: memoryview) -> Stat:
        """One GetObject."""
        return persistently(self.name(address), lambda: self._get(address, offset, view))

    def _get(self, address: str, offset: int, view: memoryview) -> Stat:
        from fsspec.asyn import sync

        bucket, key, version = self._system.split_path(address)
        wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes={offset}-{offset + len(view) - 1}"}
        if version:
            wanted["VersionId"] = version
        try:
            answer = self._system.call_s3("get_object", **wanted, **self._system.req_kw)
        except OSError as error:
            if status_of(error) != 416:
                raise
            return Stat(0)  # the object ends before the range: it is not what it was
        body = answer["Body"]
        try:
            match = _TOTAL.fullmatch(str(answer.get("ContentRange", "")))
            length = answer.get("ContentLength")
            if match is None or not isinstance(length, int) or length > len(view):
                problem = "the server gives no ranges"
                raise SourceError(self.name(address), problem, "download the file and give its path")
            stat = Stat(int(match[1]), str(answer["ETag"]).strip('"') if answer.get("ETag") else None)
            if length == len(view):
                view[:] = sync(self._system.loop, body.read, timeout=seconds_for(length))
            elif stat.size >= offset + len(view):
                message = "the server sends fewer bytes than were asked for"
                raise TransientError(message)
            return stat
        finally:
            body.close()


def bounded_s3_options(storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of s3fs, with time limits and without its own retries, which may last minutes."""
    options = dict(storage_options)
    silence = seconds_for(0)
    limits = {"connect_timeout": silence, "read_timeout": silence, "retries": {"total_max_attempts": 1}}
    options["config_kwargs"] = {**limits, **options.get("config_kwargs", {})}
    return options
