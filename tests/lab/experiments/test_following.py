from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from weightatlas.lab import Recipe
from weightatlas.lab.experiments.following import PARTS, Followed, Tail

if TYPE_CHECKING:
    from pathlib import Path


def test_a_tail_gives_the_newest_whole_row_since_the_last_look(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert tail.newest() is None
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"step"')
    assert tail.newest() == {"step": 2}
    assert tail.newest() is None
    with path.open("ab") as file:
        file.write(b': 3}\n"no row"\nno JSON\n')
    assert tail.newest() == {"step": 3}


def test_a_tail_begins_again_where_a_resumed_run_wrote_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n', encoding="utf-8")
    tail = Tail(path)
    assert tail.newest() == {"step": 2}
    path.write_text('{"step": 1}\n', encoding="utf-8")
    assert tail.newest() == {"step": 1}


def test_runs_are_followed_by_what_they_write_and_end_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    moved = threading.Event()

    def progress(done: int, total: int, label: str) -> None:
        told.append((done, total, label))
        moved.set()

    runs = [
        ("first", tmp_path / "first.jsonl", Recipe(steps=10)),
        ("second", tmp_path / "second.jsonl", Recipe(epochs=2)),
    ]
    with Followed(runs, progress, interval=0.01) as followed:
        moved.clear()
        (tmp_path / "first.jsonl").write_text('{"step": 4}\n', encoding="utf-8")
        assert moved.wait(10)
        moved.clear()
        (tmp_path / "second.jsonl").write_text('{"step": 700, "epoch": 0.5}\n', encoding="utf-8")
        assert moved.wait(10)
        followed.ended(0)
    assert told[0] == (0, 10 + PARTS, "")
    assert told[1] == (4, 10 + PARTS, "first")
    assert told[2] == (4 + PARTS // 4, 10 + PARTS, "second")
    assert told[-1] == (10 + PARTS // 4, 10 + PARTS, "first")
