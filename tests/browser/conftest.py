"""A real Chromium with the network blocked, and pages opened in it from disk."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from weightatlas.atlas.chapters import HasPlates

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def absent(what: str) -> None:
    """Skip with the reason, or fail where the browser tests are required."""
    if os.environ.get("WEIGHTATLAS_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what}, and WEIGHTATLAS_REQUIRE_BROWSER=1")
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        absent(f"there is no browser: none of {', '.join(NAMES)} is on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


class Opened:
    """A page opened from disk, what it asked for and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.requests.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)


@pytest.fixture
def open_page(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Write an atlas and open it; `link` is what stands after the #, other options are the context's."""
    from weightatlas.atlas import write_atlas

    contexts = []
    opened: list[Opened] = []

    def opener(*results: HasPlates, link: str = "", width: int = 1280, height: int = 900, **options: object) -> Opened:
        path = write_atlas(results, tmp_path / "atlas.html")
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(8000)
        context.set_offline(True)
        context.route("**/*", lambda route: _only(route, path.as_uri()))
        found = Opened(context.new_page())
        opened.append(found)
        found.page.goto(path.as_uri() + (f"#{link}" if link else ""))
        if options.get("java_script_enabled", True):
            found.page.wait_for_selector("html[data-ready]", state="attached")
        return found

    yield opener
    for found in opened:
        assert found.complaints == []
        assert {address.split("#")[0].rsplit("/", 1)[1] for address in found.requests} == {"atlas.html"}
    for context in contexts:
        context.close()


def _only(route: Route, address: str) -> None:
    if route.request.url.split("#")[0] == address:
        route.continue_()
    else:
        route.abort()


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker's script: from WEIGHTATLAS_AXE, or as axe-playwright-python brings it."""
    named = os.environ.get("WEIGHTATLAS_AXE")
    if named:
        return Path(named).read_text(encoding="utf-8")
    package = importlib.util.find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        absent("there is no accessibility checker: set WEIGHTATLAS_AXE or install axe-playwright-python")
        return ""
    return (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")
