"""What goes wrong between here and a server: tried again where that may help, else one sentence without secrets.

Exceptions of network libraries quote addresses with passwords and signatures; so their text is never shown.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Final, TypeVar

from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = 10.0
"""How long a server may be silent, and how long a small request may last."""
SLOWEST: Final = 16_384
"""The fewest bytes a second that are waited for."""
PAUSES: Final = (0.1, 0.3, 1.0)
"""Seconds before each further attempt."""

_AGAIN: Final = "try again; the network or the server may be busy"
_BROKEN: Final = frozenset({
    "ClientPayloadError", "ConnectionClosedError", "ConnectionResetError", "IncompleteReadError", "ReadError",
    "RemoteProtocolError", "ResponseStreamingError", "ServerDisconnectedError",
})  # fmt: skip
_UNREACHED: Final = frozenset({"ConnectError", "EndpointConnectionError", "OSError"})

_ADDRESS: Final = "check the address"
_KNOWN: Final = (
    ({"FileNotFoundError"}, "there is nothing at this address", _ADDRESS),
    (
        {"CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "PermissionError"},
        "the server denies access",
        "log in, or pass storage_options with what lets you in",
    ),
    (
        {"ConnectTimeoutError", "ReadTimeoutError", "TimeoutError", "TimeoutException"},
        "the server does not answer in time",
        _AGAIN,
    ),
    ({"ClientConnectorCertificateError", "SSLError"}, "the server's certificate is not trusted", _ADDRESS),
    ({"TooManyRedirects"}, "the server sends one from address to address", _ADDRESS),
)
"""Kinds of exceptions of Python, aiohttp, botocore and httpx by name, none of which is imported for it."""

T = TypeVar("T")


class TransientError(Exception):
    """A failure that may pass: the text says what happened."""


def seconds_for(length: int) -> float:
    """How long one request for so many bytes may last in all; for none, how long a server may be silent.

    Example:
        >>> seconds_for(65_536), seconds_for(2**24)
        (10.0, 1024.0)
    """
    return max(SECONDS, length / SLOWEST)


def persistently(name: str, attempt: Callable[[], T]) -> T:
    """What `attempt` returns; a failure that may pass is tried again a few times.

    Raises:
        SourceError: it failed for good.
    """
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except SourceError:
            raise
        except Exception as error:
            transient = _transient(error)
            if transient is None:
                raise explained(name, error) from error
            if pause is None:
                raise SourceError(name, f"{transient}, {len(PAUSES) + 1} times in a row", _AGAIN) from error
            time.sleep(pause)
    raise AssertionError  # the last pass returns or raises


def explained(name: str, error: Exception) -> SourceError:
    """One sentence for whatever a network library raised."""
    kinds = _kinds(error)
    for known, problem, remedy in _KNOWN:
        if kinds & known:
            return SourceError(name, problem, remedy)
    if kinds & _UNREACHED:
        return SourceError(name, f"cannot be reached ({_reason(error)})", "check the address and the network")
    problem = f"cannot be read from there ({_reason(error)})"
    return SourceError(name, problem, "check the address and the storage_options")


def denied(name: str) -> SourceError:
    """The error of a server that lets this user not in."""
    return explained(name, PermissionError())


def absent(name: str) -> SourceError:
    """The error of an address without an object."""
    return explained(name, FileNotFoundError())


def _transient(error: Exception) -> str | None:
    """What happened, if it may pass."""
    if isinstance(error, TransientError):
        return str(error)
    busy = isinstance(error, OSError) and error.errno in {errno.EBUSY, errno.ECONNRESET, errno.EPIPE}
    if _kinds(error) & _BROKEN or busy:
        return "the connection breaks off"
    status = status_of(error)
    return f"the server answers {status}" if status in {429, 500, 502, 503, 504} else None


def status_of(error: BaseException) -> int | None:
    """The status of the answer, where an S3 or a Hub client keeps it."""
    response = getattr(error, "response", None)
    if response is None:
        return status_of(error.__cause__) if error.__cause__ is not None else None
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _kinds(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _reason(error: Exception) -> str:
    """The kind of error, and what the operating system says of it; never its own text."""
    number = error.errno if isinstance(error, OSError) else None
    if not isinstance(number, int):
        return type(error).__name__
    if "DNS" in type(error).__name__ or number < 0:
        return "the host has no address here"
    return os.strerror(number)
