"""A bucket on a local S3-compatible server (moto)."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, Self

import fsspec
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

REGION = "us-east-1"


class BucketServer:
    """One bucket with a name of its own, while it is entered.

    Attributes:
        url: the endpoint.
        bucket: the bucket's name.
        requests: method, path and Range of every request.
        sent: bytes of all bodies.
    """

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        untyped: Any = ThreadedMotoServer
        self._server = untyped(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.requests: list[tuple[str, str, str]] = []
        self.sent = 0
        self._wsgi: Any = self._server._server
        self._app = self._wsgi.app
        self._wsgi.app = self._counting
        self.url = f"http://{host}:{port}"
        self.bucket = f"models-{uuid.uuid4().hex[:8]}"
        self._system: Any = fsspec.filesystem("s3", skip_instance_cache=True, **self.options)
        self._system.call_s3("create_bucket", Bucket=self.bucket)

    @property
    def options(self) -> dict[str, Any]:
        """What s3fs needs to come here."""
        return {
            "key": "key", "secret": "secret", "endpoint_url": self.url, "client_kwargs": {"region_name": REGION},
        }  # fmt: skip

    def forget(self) -> None:
        """Count from zero again."""
        self.requests, self.sent = [], 0

    def _counting(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"] + query, environ.get("HTTP_RANGE", "")))
        for piece in self._app(environ, start_response):
            self.sent += len(piece)
            yield piece

    def put(self, key: str, content: bytes) -> None:
        self._system.pipe_file(f"{self.bucket}/{key}", content)

    def put_folder(self, prefix: str, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            self.put(f"{prefix}/{path.name}", path.read_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._wsgi.server_close()
