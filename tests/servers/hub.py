"""A Hub of one model: the few routes that listing a repository, its branches and its files use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.servers.ranged import RangedServer

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

COMMIT = "c0ffee" + "0" * 34
REPOSITORY = "atlas/tiny"
REVISIONS = ("main", "step1000", "step/2000", "v1")


class HubServer(RangedServer):
    """Serves a folder as the repository `atlas/tiny`, all revisions alike.

    Attributes:
        token: who does not send it is denied; "" admits all.
        silent: it answers nothing.
        refusal: status and code of the Hub's answer to every call, if it is to refuse.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.token = ""
        self.silent = False
        self.refusal: tuple[int, str] | None = None

    def find(self, handler: BaseHTTPRequestHandler) -> Path | None:
        path = handler.path.partition("?")[0]
        files = f"/{REPOSITORY}/resolve/{COMMIT}/"
        if self.silent:
            self.release.wait(30)
        elif self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            _say(handler, 401, "RepoNotFound")
        elif self.refusal is not None:
            _say(handler, *self.refusal)
        elif path.startswith(files):
            return self.folder / unquote(path.removeprefix(files))
        elif path == f"/api/models/{REPOSITORY}/refs":
            _say(handler, 200, "", _references())
        elif path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            known = path.rpartition("/")[2].replace("%2F", "/") in {*REVISIONS, COMMIT}
            _say(handler, *((200, "", self._model()) if known else (404, "RevisionNotFound")))
        else:
            _say(handler, 404, "RepoNotFound")
        return None

    def _model(self) -> dict[str, object]:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        siblings = [
            {"rfilename": path.relative_to(self.folder).as_posix(), "size": path.stat().st_size} for path in files
        ]
        return {"id": REPOSITORY, "modelId": REPOSITORY, "sha": COMMIT, "siblings": siblings}


def _references() -> dict[str, object]:
    refs = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": COMMIT} for name in REVISIONS]
    return {"branches": refs[::-1][1:], "converts": [], "tags": refs[-1:]}


def _say(handler: BaseHTTPRequestHandler, status: int, code: str, content: dict[str, object] | None = None) -> None:
    text = json.dumps(content or {}).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(text)))
    if code:
        handler.send_header("X-Error-Code", code)
    handler.end_headers()
    handler.wfile.write(text)
