"""Claim: listing a remote 10 GB sharded checkpoint transfers under 0.02 % of it, one request a file; a tensor, itself.

A web server in this process serves sparse files (they take no room) and counts bytes and requests; `open_checkpoint`
lists them in a process of its own. Beside it stands what a download takes from the same server, measured on one shard.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from listing import run
from measure import Claims, machine
from sparse import BYTES, TENSORS, make_folder

SHARDS = 20
PIECE = 2**20
SHARE = 2e-4
INDEX = "model.safetensors.index.json"
SCRIPT = """
import json, resource, sys, time
from weightatlas.checkpoints import open_checkpoint
start = time.perf_counter()
checkpoint = open_checkpoint(sys.argv[1])
listed = time.perf_counter() - start
rows = len(checkpoint)
if len(sys.argv) > 2:
    start = time.perf_counter()
    checkpoint[sys.argv[2]]
print(json.dumps({"rows": rows, "listed": listed, "read": time.perf_counter() - start}))
"""


class Counter(ThreadingHTTPServer):
    """Serves a folder in ranges and counts."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.sent, self.requests = folder, 0, 0
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Answers GET, with a range or without."""

    protocol_version = "HTTP/1.1"
    server: Counter

    def do_GET(self) -> None:
        """Send what is asked for."""
        path = self.server.folder / Path(self.path).name
        size = path.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(match[1]), min(int(match[2]), size - 1)) if match else (0, size - 1)
        with self.server.lock:
            self.server.requests += 1
            self.server.sent += last - first + 1
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            for start in range(first, last + 1, PIECE):
                self.wfile.write(file.read(min(PIECE, last + 1 - start)))

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def download(url: str) -> float:
    """Fetch a whole object and throw it away: its seconds."""
    start = time.perf_counter()
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
        while answer.read(PIECE):
            pass
    return time.perf_counter() - start


def measured(server: Counter, *arguments: str) -> tuple[dict[str, float], float, int, int]:
    """Open from a process of its own: what it prints, its peak in MB, bytes and requests."""
    server.sent = server.requests = 0
    _, memory, output = run(sys.executable, "-c", SCRIPT, *arguments)
    return json.loads(output), memory, server.sent, server.requests


def main() -> None:
    """Print the figures and settle the claims."""
    claims = Claims()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder, shards=SHARDS)
        total = sum(path.stat().st_size for path in folder.iterdir())
        with Counter(folder) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_address[1]}"
            key = next(iter(json.loads((folder / INDEX).read_text())["weight_map"]))
            found, memory, sent, requests = measured(server, f"{url}/{INDEX}")
            tensor, tensor_memory, tensor_sent, tensor_requests = measured(server, f"{url}/{INDEX}", key)
            shard = download(f"{url}/model-00001-of-{SHARDS:05}.safetensors")
            server.shutdown()
    print(machine())
    print(f"{total / 1e9:.1f} GB in {SHARDS} shards, {found['rows']:.0f} tensors, on a local web server")
    print(f"{'list of layers':22} {sent:>14,} bytes {requests:4} requests {found['listed']:7.2f} s {memory:5.0f} MB")
    read = tensor_sent - sent
    print(f"{'one tensor more':22} {read:>14,} bytes {tensor_requests - requests:4} requests {tensor['read']:7.2f} s "
          f"{tensor_memory:5.0f} MB")  # fmt: skip
    print(
        f"{'a download':22} {total:>14,} bytes {SHARDS + 1:4} requests {shard * SHARDS:7.2f} s (one shard x {SHARDS})"
    )
    claims.check(f"the list is {sent / total:.4%} of the checkpoint", sent < SHARE * total)
    claims.check(f"{requests} requests for {SHARDS} shards and their index", requests == SHARDS + 1)
    claims.check(f"{found['rows']:.0f} tensors are listed", found["rows"] == SHARDS * TENSORS)
    claims.check(f"one tensor of {BYTES:,} bytes costs {read:,}", read == BYTES)
    claims.settle()


if __name__ == "__main__":
    main()
