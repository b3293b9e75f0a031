"""What the pages show works: their Python runs, their commands parse, and the cheap ones run."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, commands, make_checkpoint, page_name
from weightatlas.cli.application import app, run

COMMANDS = list(dict.fromkeys(tuple(words) for page in PAGES for words in commands(page, "weightatlas")))
SOURCES = {"model.safetensors", "runs/today", "before.safetensors"}
CHEAP = [words for words in COMMANDS if SOURCES & set(words[1:2])]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the checkpoint that the pages speak of, and the command line on the path."""
    make_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
@pytest.mark.usefixtures("folder")
def test_python_examples_run_in_the_order_of_the_page(page: Path) -> None:
    names: dict[str, object] = {"__name__": "__page__"}
    sys.modules["__page__"] = type(sys)("__page__")  # dataclasses look up the module they are defined in
    try:
        for number, code in enumerate(blocks(page, "python"), start=1):
            exec(compile(code, f"{page_name(page)}, example {number}", "exec"), names)  # noqa: S102 - our own pages
    finally:
        del sys.modules["__page__"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_parse(words: tuple[str, ...]) -> None:
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    assert bound.arguments or len(words) == 1


@pytest.mark.parametrize("words", CHEAP, ids=" ".join)
def test_commands_on_one_checkpoint_or_run_run(words: tuple[str, ...], folder: Path) -> None:
    before = set(folder.iterdir())
    assert run(words) == 0
    written = set(folder.iterdir()) - before
    if "--output" in words:
        assert folder / words[words.index("--output") + 1] in written


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {words[0] for page in PAGES for words in commands(page, "make")}
    assert named
    assert named <= set(targets)


def test_scripts_named_in_commands_exist() -> None:
    called = [words for page in PAGES for words in commands(page, "python") if words]
    scripts = {words[0] for words in called if words[0] != "-m"}
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)
    assert all(find_spec(words[1]) for words in called if words[0] == "-m")
