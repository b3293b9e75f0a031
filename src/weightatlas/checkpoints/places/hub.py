"""Repositories of the Hugging Face Hub: from its cache on this disk where the weights are there, else by ranges.

A revision is pinned to its commit when it is opened, so that all files are of one state. Settings are the Hub's own:
`HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, unquote

from weightatlas.checkpoints.places.http_ranges import HttpRanges
from weightatlas.checkpoints.places.hub_cache import cached, references, repository_folder, snapshot_of
from weightatlas.checkpoints.places.network_errors import denied, persistently, seconds_for
from weightatlas.checkpoints.places.remote import locate_by
from weightatlas.checkpoints.places.transport import UNKNOWN, Listing, Stat
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from huggingface_hub import HfApi

    from weightatlas.checkpoints.places.blob import Blob, Folder

T = TypeVar("T")

_NAME: Final = r"[A-Za-z0-9][\w.-]{0,95}"
_REVISION: Final = r"refs/(?:pr/\d+|convert/[\w-]+)|[^/@]{1,255}"
_ADDRESS: Final = re.compile(rf"hf://(?:models/)?({_NAME}/{_NAME})(?:@({_REVISION}))?(?:/(.*))?", re.ASCII | re.DOTALL)
_GRAMMAR: Final = "give hf://organisation/repository, with @revision and /path after it where you need them"


@dataclass(frozen=True, slots=True)
class _Place:
    """A parsed address."""

    text: str
    repository: str
    revision: str
    path: str


def locate_on_hub(text: str, *, storage_options: Mapping[str, object]) -> Blob | Folder:
    """What `hf://org/repo[@revision][/path]` leads to.

    The cache of this disk comes first: where it has the revision, with every file of weights that is needed, nothing
    is asked of the Hub. Otherwise one call lists the repository, and files are read in ranges.

    Args:
        text: the address; a revision is a branch, a tag or a commit, "/" in it written as %2F.
        storage_options: `endpoint` and `token` in place of `HF_ENDPOINT` and `HF_TOKEN`; the rest goes to fsspec's
            HTTP file system.

    Raises:
        SourceError: no such repository, revision or file; no access; the Hub is not reached.
        MissingDependencyError: huggingface_hub or aiohttp is not installed.
    """
    place = _parse(text)
    constants = _constants(text)
    repository = repository_folder(Path(constants.HF_HUB_CACHE), place.repository)
    snapshot = snapshot_of(repository, place.revision)
    here = cached(snapshot, place.path) if snapshot is not None else None
    if here is not None:
        return here
    if constants.HF_HUB_OFFLINE:
        raise _offline(place, repository)
    options = dict(storage_options)
    endpoint, token = options.pop("endpoint", None) or constants.ENDPOINT, options.pop("token", None)
    api = _api(endpoint, token)
    info = _ask(
        place,
        lambda: api.model_info(place.repository, revision=place.revision, files_metadata=True, timeout=seconds_for(0)),
    )
    files = {file.rfilename: file.size for file in info.siblings or ()}
    try:
        ranges = HubRanges(
            place, str(endpoint).rstrip("/"), str(info.sha or place.revision), files, token=token, options=options
        )
    except ImportError as error:
        raise MissingDependencyError(text, "aiohttp", "remote") from error
    return locate_by(ranges, place.path)


def branches(text: str, *, storage_options: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Names of a repository's branches, then of its tags, each sorted; offline, those in the cache.

    Args:
        text: `hf://org/repo`. A name with "/" goes into an address with %2F in its place.
        storage_options: as for `locate_on_hub`.

    Raises:
        SourceError: no such repository, no access, or the Hub is not reached.
        MissingDependencyError: huggingface_hub is not installed.
    """
    place = _parse(text)
    constants = _constants(text)
    if constants.HF_HUB_OFFLINE:
        held = references(repository_folder(Path(constants.HF_HUB_CACHE), place.repository))
        if not held:
            raise SourceError(text, "not in the Hub cache, and HF_HUB_OFFLINE is set", "unset it to look on the Hub")
        return tuple(held)
    options = dict(storage_options or {})
    endpoint = options.get("endpoint") or constants.ENDPOINT
    found = _ask(place, lambda: _references(f"{endpoint}/api/models/{place.repository}/refs", options.get("token")))
    names = (*sorted(found["branches"]), *sorted(found["tags"]))
    return tuple(dict.fromkeys(names))


class HubRanges(HttpRanges):
    """One repository at one commit. An address is a path in it."""

    def __init__(
        self,
        place: _Place,
        endpoint: str,
        commit: str,
        files: Mapping[str, int | None],
        *,
        token: object,
        options: Mapping[str, Any],
    ) -> None:
        """Take the repository's list of files; nothing is sent.

        Raises:
            ImportError: aiohttp is not installed.
        """
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented there

        token = token if isinstance(token, str | bool) else None
        headers = {**build_hf_headers(token=token), **dict(options.get("headers", {}))}
        super().__init__({**options, "headers": headers})
        revision = "" if place.revision == "main" else f"@{quote(place.revision, safe='')}"
        self._title = f"hf://{place.repository}{revision}"
        self._repository, self._endpoint, self._commit = place.repository, endpoint, commit
        self._files = files

    def name(self, address: str) -> str:
        """The address as the user would write it."""
        return f"{self._title}/{address}".rstrip("/")[:300]

    def child(self, address: str, name: str) -> str:
        """The path below."""
        return f"{address}/{name}" if address else name

    def parent(self, address: str) -> str:
        """The path above."""
        return address.rpartition("/")[0]

    def url(self, address: str) -> str:
        """Where the file is fetched."""
        return f"{self._endpoint}/{self._repository}/resolve/{quote(self._commit, safe='')}/{quote(address)}"

    def look(self, address: str) -> Stat | None:
        """Size, version and first block of a file; None for a folder."""
        if address in self._files:
            return super().look(address)
        if not address or any(path.startswith(f"{address}/") for path in self._files):
            return None
        raise SourceError(self.name(address), "the repository holds no such file", "check the address")

    def listing(self, address: str) -> Listing:
        """What lies directly in a folder; the repository's list is there already."""
        prefix = f"{address}/" if address else ""
        below = sorted(path.removeprefix(prefix) for path in self._files if path.startswith(prefix))
        files = {name: Stat(_size(self._files[prefix + name])) for name in below if "/" not in name}
        return Listing(files, tuple(dict.fromkeys(name.partition("/")[0] for name in below if "/" in name)))


def _size(said: object) -> int:
    return said if isinstance(said, int) and said >= 0 else UNKNOWN


def _parse(text: str) -> _Place:
    if re.match(r"hf://(datasets|spaces|buckets)/", text):
        kind = text[5:].partition("/")[0]
        raise SourceError(text[:200], f"an address of the Hub's {kind}, which hold no networks", _GRAMMAR)
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise SourceError(text[:200], "no address of a repository", _GRAMMAR)
    path = (match[3] or "").strip("/")
    if path and not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise SourceError(text[:200], "no address of a file in a repository", _GRAMMAR)
    return _Place(text[:200], match[1], unquote(match[2] or "main"), path)


def _constants(text: str) -> Any:  # noqa: ANN401 - a module
    try:
        from huggingface_hub import constants
    except ImportError as error:
        raise MissingDependencyError(text, "huggingface_hub", "remote") from error
    return constants


def _references(url: str, token: object) -> dict[str, list[str]]:
    """Names of branches and tags; `HfApi.list_repo_refs` would wait for ever."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented there
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    headers = build_hf_headers(token=token if isinstance(token, str | bool) else None)
    answer = get_session().get(url, headers=headers, timeout=seconds_for(0))
    hf_raise_for_status(answer)
    found = answer.json()
    return {kind: [str(reference["name"]) for reference in found[kind]] for kind in ("branches", "tags")}


def _api(endpoint: object, token: object) -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=str(endpoint), token=token if isinstance(token, str | bool) else None)


def _ask(place: _Place, request: Callable[[], T]) -> T:
    """The Hub's answer to one call, or one sentence."""
    from huggingface_hub import errors

    def attempt() -> T:
        try:
            return request()
        except errors.GatedRepoError as error:
            problem = "a gated repository, and you are not let in"
            raise SourceError(place.text, problem, "ask for access on its page, then set HF_TOKEN") from error
        except errors.RevisionNotFoundError as error:
            problem = f"the repository has no revision {place.revision[:80]!r}"
            raise SourceError(place.text, problem, "check the name after @") from error
        except errors.RepositoryNotFoundError as error:
            problem = "no such repository, or a private one"
            raise SourceError(place.text, problem, "check the name, or set HF_TOKEN") from error
        except errors.HfHubHTTPError as error:
            if getattr(getattr(error, "response", None), "status_code", None) in {401, 403}:
                raise denied(place.text) from error
            raise

    return persistently(place.text, attempt)


def _offline(place: _Place, repository: Path) -> SourceError:
    held = ", ".join(list(references(repository))[:5])
    problem = f"not whole in the Hub cache (which has {held})" if held else "not in the Hub cache"
    return SourceError(place.text, f"{problem}, and HF_HUB_OFFLINE is set", "unset it to read from the Hub")
