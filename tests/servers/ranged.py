"""A web server of one folder that answers ranges, counts what it sends, and misbehaves on demand."""

from __future__ import annotations

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

PIECE: Final = 65536


class RangedServer:
    """Serves a folder on a free local port while it is entered.

    Attributes:
        requests: method, path and Range of every request.
        headers: the headers of the last request.
        sent: bytes of all bodies.
        manner: how it answers: "well", or one of the ways below.
        failures: how many requests are still to be failed first, in that manner; -1 is all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str, str]] = []
        self.headers: dict[str, str] = {}
        self.sent = 0
        self.manner = "well"
        self.failures = -1
        self.elsewhere = ""
        self.release = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def note(self, handler: BaseHTTPRequestHandler) -> str:
        """Write a request down; returns the manner of its answer."""
        with self._lock:
            self.requests.append((handler.command, handler.path, handler.headers.get("Range", "")))
            self.headers = {name.lower(): value for name, value in handler.headers.items()}
            if self.failures == 0:
                return "well"
            self.failures -= 1
            return self.manner

    def find(self, handler: BaseHTTPRequestHandler) -> Path | None:
        """The file that is asked for; None where the request was answered already."""
        return self.folder / unquote(handler.path.partition("?")[0]).lstrip("/")

    def count(self, length: int) -> None:
        with self._lock:
            self.sent += length

    def forget(self) -> None:
        """Count from zero again."""
        with self._lock:
            self.requests, self.sent = [], 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver has it
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients may leave when they have seen enough
            super().handle_error(request, client_address)


def _handler(server: RangedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            manner = server.note(self)
            path = server.find(self)
            if path is None:
                return
            answer = Answer(server, self, path)
            if manner.isdigit():
                answer.head(int(manner), {"Content-Length": "0"})
            elif not path.is_file():
                answer.head(404, {"Content-Length": "0"})
            elif answer.first >= answer.size:
                answer.head(416, {"Content-Range": f"bytes */{answer.size}", "Content-Length": "0"})
            else:
                MANNERS[manner](answer)

        def log_message(self, *_args: object) -> None:
            pass

    return Handler


class Answer:
    """One answer under way: what was asked for, and what sends it."""

    def __init__(self, server: RangedServer, handler: BaseHTTPRequestHandler, path: Path) -> None:
        self.server, self.handler, self.path = server, handler, path
        self.size = path.stat().st_size if path.is_file() else 0
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
        self.first, self.last = (int(match[1]), min(int(match[2]), self.size - 1)) if match else (0, self.size - 1)
        self.length = self.last - self.first + 1

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def partial(self, first: int, last: int, **changes: str) -> None:
        """Say that a range comes; an empty text leaves a header out."""
        headers = {
            "Content-Range": f"bytes {first}-{last}/{self.size}",
            "Content-Length": str(last - first + 1),
            "ETag": f'"{self.path.stat().st_mtime_ns:x}"',
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        self.head(206, {name: value for name, value in headers.items() if value})

    def body(self, first: int, length: int) -> None:
        with self.path.open("rb") as file:
            file.seek(first)
            while length > 0 and (piece := file.read(min(PIECE, length))):
                self.server.count(len(piece))  # before it goes, or a test might look too early
                self.handler.wfile.write(piece)
                length -= len(piece)

    def close(self) -> None:
        self.handler.close_connection = True


def _well(answer: Answer) -> None:
    answer.partial(answer.first, answer.last)
    answer.body(answer.first, answer.length)


def _no_ranges(answer: Answer) -> None:
    answer.head(200, {"Content-Length": str(answer.size)})
    answer.body(0, answer.size)


def _no_ranges_chunked(answer: Answer) -> None:
    """Send a body without end, and without its length."""
    answer.close()
    answer.head(200, {"Connection": "close"})
    for _ in range(1000):
        answer.body(0, PIECE)


def _more(answer: Answer) -> None:
    """Promise the range and go on to the end of the file."""
    answer.close()
    answer.partial(answer.first, answer.last, Content_Length="", Connection="close")
    answer.body(answer.first, answer.size)


def _more_announced(answer: Answer) -> None:
    answer.partial(answer.first, answer.last, Content_Length=str(answer.size - answer.first))
    answer.body(answer.first, answer.size)


def _fewer(answer: Answer) -> None:
    middle = answer.first + answer.length // 2
    answer.partial(answer.first, middle)
    answer.body(answer.first, middle - answer.first + 1)


def _breaks(answer: Answer) -> None:
    """Close the connection half-way."""
    answer.close()
    answer.partial(answer.first, answer.last)
    answer.body(answer.first, answer.length // 2)


def _silent(answer: Answer) -> None:
    """Stop half-way and keep the connection."""
    _breaks(answer)
    answer.server.release.wait(30)


def _drips(answer: Answer) -> None:
    """Send a byte now and then, for ever."""
    answer.close()
    answer.partial(answer.first, answer.last)
    while not answer.server.release.wait(0.05):
        answer.body(answer.first, 1)


def _hangs_up(answer: Answer) -> None:
    """Answer nothing."""
    answer.close()


def _other_range(answer: Answer) -> None:
    answer.partial(answer.first + 1, answer.last)
    answer.body(answer.first + 1, answer.length - 1)


def _no_content_range(answer: Answer) -> None:
    answer.partial(answer.first, answer.last, Content_Range="")
    answer.body(answer.first, answer.length)


def _odd_content_range(answer: Answer) -> None:
    answer.partial(answer.first, answer.last, Content_Range=f"bytes {answer.first}-{answer.last}/{9 * '9' * 999}")
    answer.body(answer.first, answer.length)


def _compressed(answer: Answer) -> None:
    answer.partial(answer.first, answer.last, Content_Encoding="gzip")
    answer.body(answer.first, answer.length)


def _elsewhere(answer: Answer) -> None:
    target = f"{answer.server.elsewhere}/{answer.path.relative_to(answer.server.folder)}"
    answer.head(302, {"Location": target, "Content-Length": "0"})


def _loop(answer: Answer) -> None:
    answer.head(302, {"Location": answer.handler.path, "Content-Length": "0"})


MANNERS: Final[dict[str, Callable[[Answer], None]]] = {
    "well": _well,
    "no ranges": _no_ranges,
    "no ranges, chunked": _no_ranges_chunked,
    "more": _more,
    "more, announced": _more_announced,
    "fewer": _fewer,
    "breaks": _breaks,
    "silent": _silent,
    "drips": _drips,
    "hangs up": _hangs_up,
    "other range": _other_range,
    "no Content-Range": _no_content_range,
    "odd Content-Range": _odd_content_range,
    "compressed": _compressed,
    "elsewhere": _elsewhere,
    "loop": _loop,
}
