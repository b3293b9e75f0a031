from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.ranged import RangedServer
from weightatlas.checkpoints.places import network_errors
from weightatlas.checkpoints.places.http_ranges import HttpRanges
from weightatlas.checkpoints.places.recent_blocks import BLOCK
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(251)) * 2000
ANSWERS_ONCE = 1
ALL_ATTEMPTS = 4


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangedServer]:
    monkeypatch.setattr(network_errors, "SECONDS", 0.4)
    monkeypatch.setattr(network_errors, "SLOWEST", 10**9)
    monkeypatch.setattr(network_errors, "PAUSES", (0.0, 0.0, 0.0))
    (tmp_path / "x.bin").write_bytes(CONTENT)
    (tmp_path / "small.bin").write_bytes(CONTENT[:1000])
    (tmp_path / "empty.bin").touch()
    with RangedServer(tmp_path) as server:
        yield server


def fetch(server: RangedServer, offset: int, length: int) -> bytes:
    memory = bytearray(length)
    HttpRanges({}).fetch(f"{server.url}/x.bin", offset, memoryview(memory))
    return bytes(memory)


def refusal(server: RangedServer, offset: int = 1000, length: int = 100_000) -> str:
    with pytest.raises(SourceError) as caught:
        fetch(server, offset, length)
    assert caught.value.source == f"{server.url}/x.bin"
    assert "\n" not in str(caught.value)
    return caught.value.problem


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (1, 65_536), (len(CONTENT) - 1, 1), (0, len(CONTENT))])
def test_a_range_is_one_request_of_exactly_those_bytes(offset: int, length: int, server: RangedServer) -> None:
    assert fetch(server, offset, length) == CONTENT[offset : offset + length]
    assert server.requests == [("GET", "/x.bin", f"bytes={offset}-{offset + length - 1}")]
    assert server.sent == length
    assert server.headers["accept-encoding"] == "identity"


def test_one_request_tells_size_version_and_first_block(server: RangedServer) -> None:
    stat = HttpRanges({}).look(f"{server.url}/x.bin")
    assert stat is not None
    assert (stat.size, stat.head) == (len(CONTENT), CONTENT[:BLOCK])
    assert stat.version
    assert len(server.requests) == 1


@pytest.mark.parametrize(("name", "size"), [("small.bin", 1000), ("empty.bin", 0)])
@pytest.mark.parametrize("manner", ["well", "no ranges"])
def test_an_object_smaller_than_a_block_needs_no_ranges(
    name: str, size: int, manner: str, server: RangedServer
) -> None:
    server.manner = manner
    stat = HttpRanges({}).look(f"{server.url}/{name}")
    assert stat is not None
    assert (stat.size, stat.head) == (size, CONTENT[:size])


@pytest.mark.parametrize(
    ("manner", "problem"),
    [
        ("no ranges", "gives no ranges"),
        ("no ranges, chunked", "gives no ranges"),
        ("more", "sends more"),
        ("more, announced", "sends more"),
        ("other range", "other bytes"),
        ("no Content-Range", "which bytes"),
        ("compressed", "compresses"),
        ("loop", "from address to address"),
        ("404", "nothing at this address"),
        ("410", "nothing at this address"),
        ("401", "denies access"),
        ("403", "denies access"),
        ("204", "answers 204"),
        ("304", "answers 304"),
        ("418", "answers 418"),
    ],
)
def test_a_wrong_answer_is_refused_at_once_and_not_read(manner: str, problem: str, server: RangedServer) -> None:
    server.manner = manner
    assert problem in refusal(server)
    assert len(server.requests) == (10 if manner == "loop" else ANSWERS_ONCE)


def test_a_total_that_no_object_has_is_refused(server: RangedServer) -> None:
    server.manner = "odd Content-Range"
    assert refusal(server)


@pytest.mark.parametrize(
    ("manner", "problem"),
    [
        ("fewer", "fewer bytes"),
        ("breaks", "breaks off"),
        ("hangs up", "breaks off"),
        ("500", "answers 500"),
        ("503", "answers 503"),
        ("429", "answers 429"),
    ],
)
def test_a_failure_that_may_pass_is_tried_again_and_then_said(manner: str, problem: str, server: RangedServer) -> None:
    server.manner, server.failures = manner, 1
    assert fetch(server, 1000, 100_000) == CONTENT[1000:101_000]
    server.failures = -1
    server.forget()
    assert problem in refusal(server)
    assert len(server.requests) >= ALL_ATTEMPTS


@pytest.mark.parametrize("manner", ["silent", "drips"])
def test_a_server_that_stops_half_way_is_not_waited_for(manner: str, server: RangedServer) -> None:
    server.manner = manner
    assert "in time" in refusal(server)


def test_a_redirect_is_followed_and_takes_no_secrets_along(server: RangedServer, tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer secret", "X-Plain": "1"}
    memory = bytearray(100)
    with RangedServer(tmp_path) as other:
        server.manner, server.elsewhere = "elsewhere", other.url
        HttpRanges({"headers": headers}).fetch(f"{server.url}/x.bin", 7, memoryview(memory))
        assert server.headers["authorization"] == "Bearer secret"
        assert "authorization" not in other.headers
        assert other.requests == [("GET", "/x.bin", "bytes=7-106")]
    assert memory == CONTENT[7:107]


def test_user_password_and_query_go_to_the_server_and_into_no_message(server: RangedServer) -> None:
    address = server.url.replace("//", "//me:secret@") + "/x.bin?signature=secret"
    HttpRanges({}).look(address)
    assert server.headers["authorization"].startswith("Basic ")
    assert server.requests[0][1] == "/x.bin?signature=secret"
    server.manner = "403"
    with pytest.raises(SourceError) as caught:
        HttpRanges({}).look(address)
    assert "secret" not in str(caught.value)
    assert "pass storage_options" in caught.value.remedy


def test_a_folder_of_a_web_server_is_not_listed() -> None:
    ranges = HttpRanges({})
    assert ranges.look("http://127.0.0.1:9/run/") is None
    with pytest.raises(SourceError, match="cannot be listed; give the URL of the file"):
        ranges.listing("http://127.0.0.1:9/run/")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/x", "http://no-such-host.invalid/x", "http://[::1", "http:///x"]
)
def test_an_address_that_leads_nowhere_is_refused(address: str) -> None:
    with pytest.raises(SourceError):
        HttpRanges({}).look(address)
