from __future__ import annotations

import errno
from typing import NoReturn

import pytest

from weightatlas.checkpoints.places import network_errors
from weightatlas.checkpoints.places.network_errors import PAUSES, TransientError, explained, persistently, status_of
from weightatlas.errors import SourceError


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_errors, "PAUSES", (0.0,) * len(PAUSES))


class Failing:
    """Raises an exception so many times, then answers."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


@pytest.mark.parametrize(
    "error",
    [TransientError("the server answers 503"), ConnectionResetError(errno.ECONNRESET, "x"), OSError(errno.EBUSY, "x")],
)
def test_a_failure_that_passes_is_not_seen(error: Exception) -> None:
    attempt = Failing(error, len(PAUSES))
    assert persistently("x", attempt) == "answer"
    assert attempt.calls == len(PAUSES) + 1


def test_a_failure_that_stays_is_said_once() -> None:
    attempt = Failing(TransientError("the server answers 503"), 99)
    with pytest.raises(SourceError, match="the server answers 503, 4 times in a row; try again"):
        persistently("x", attempt)
    assert attempt.calls == len(PAUSES) + 1


@pytest.mark.parametrize(
    "error", [FileNotFoundError("x"), PermissionError("x"), TimeoutError(), SourceError("x", "y", "z")]
)
def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    attempt = Failing(error, 99)
    with pytest.raises(SourceError):
        persistently("x", attempt)
    assert attempt.calls == 1


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (FileNotFoundError("x"), "nothing at this address"),
        (PermissionError("x"), "denies access"),
        (TimeoutError(), "in time"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "cannot be reached"),
        (OSError("x"), "cannot be reached"),
        (KeyError("x"), "cannot be read from there"),
    ],
)
def test_every_kind_has_its_sentence_and_none_shows_its_text(error: Exception, problem: str) -> None:
    error.args = (*error.args, "https://me:secret@host/?signature=secret\nsecond line")
    said = str(explained("name", error))
    assert problem in said
    assert "secret" not in said
    assert "\n" not in said


def test_the_status_is_found_where_clients_keep_it() -> None:
    def raise_from_boto() -> NoReturn:
        cause = Exception()
        cause.response = {"ResponseMetadata": {"HTTPStatusCode": 416}}  # type: ignore[attr-defined]
        raise OSError(errno.EINVAL, "x") from cause

    with pytest.raises(OSError, match="x") as caught:
        raise_from_boto()
    assert status_of(caught.value) == 416
    assert status_of(OSError()) is None
