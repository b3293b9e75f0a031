from __future__ import annotations

from typing import TYPE_CHECKING

from torch import distributed

from weightatlas.recording.processes import rank_and_world

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_launcher_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not distributed.is_initialized()
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert rank_and_world() == (3, 8)
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert rank_and_world() == (0, 1)


def test_an_open_group_knows_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        assert rank_and_world() == (0, 1)
    finally:
        distributed.destroy_process_group()
