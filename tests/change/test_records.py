from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.change.trained import LAYERS, MOVES, network, updates
from weightatlas.change.changes import FIGURES
from weightatlas.change.recorder import Recorder
from weightatlas.change.recording.record_reading import RECORD, read_file
from weightatlas.change.records import read_records
from weightatlas.change.summing.sums import DISTANCE, SIZE, SUMS
from weightatlas.checkpoints import Skipped
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "change.jsonl"
    model = network()
    with Recorder(model, path) as recorder:
        for step in updates(model, 4):
            recorder.step(step)
    return path


def header(rank: int = 0, ranks: int = 2, at: int = 0, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    tensors = [{"layer": "a", "tensor": "a.weight", "role": "linear", "shape": [2, 3]}]
    return {
        "record": RECORD,
        "form": 1,
        "at": at,
        "rank": rank,
        "ranks": ranks,
        "zero": "skip",
        "with_start": False,
        "tensors": tensors,
        "skipped": [],
        "notes": [],
    } | more


def shard(step: int, elements: int, moved: float, *, since: int | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    sums = [0.0] * SUMS
    sums[DISTANCE], sums[SIZE] = moved, 1.0
    since = step - 1 if since is None else since
    row = {"layer": "a", "tensor": "a.weight", "step": step, "since": since, "elements": elements, "sums": sums}
    return row | {"knows_previous": False, "is_rounded": False, "skipped": None} | more


def written(path: Path, *rows: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_was_recorded_comes_back(recorded: Path) -> None:
    changes = read_records(recorded)
    assert (changes.source, changes.unit, changes.steps, changes.since) == (
        str(recorded),
        "step",
        (1, 2, 3, 4),
        (0, 1, 2, 3),
    )
    assert [(layer.layer, layer.role, layer.shape) for layer in changes.layers] == [
        ("0", "linear", (5, 6)),
        ("2", "linear", (4, 5)),
        ("4", "linear", (3, 4)),
    ]
    assert changes.curves().tolist() == [pytest.approx([MOVES[name]] * 4) for name in LAYERS]
    assert set(changes.layers[0].figures) == set(FIGURES)
    assert (changes.skipped, changes.notes, changes.trends, changes.stopped) == ((), (), None, None)
    assert [row["ratio_l1"] for row in changes.rows("steps")][:4] == pytest.approx([MOVES["0"]] * 4)


def test_every_prefix_of_a_file_can_be_read(recorded: Path, tmp_path: Path) -> None:
    """A kill can leave any number of bytes: whole rows are there, and only part of one is said to be lost."""
    content = recorded.read_bytes()
    first_rows = content.index(b"\n") + 1
    generator = np.random.default_rng(0)
    for length in generator.integers(first_rows, len(content), 40):
        prefix = content[:length]
        path = tmp_path / "cut.jsonl"
        path.write_bytes(prefix)
        whole = prefix.count(b"\n") - 1
        if whole == 0:
            with pytest.raises(SourceError, match="nothing was recorded yet"):
                read_records(path)
            continue
        changes = read_records(path)
        known = sum(int(np.isfinite(layer.figures["ratio_l1"]).sum()) for layer in changes.layers)
        is_torn = not prefix.endswith((b"\n", b"}"))
        assert known in ({whole} if is_torn or prefix.endswith(b"\n") else {whole + 1})
        assert len(changes.skipped) == is_torn


def test_damaged_lines_are_left_out_and_counted(recorded: Path) -> None:
    with recorded.open("ab") as file:
        file.write(b'\x00\x01\n{"step": "five"}\n{"step": 5}\n[1, 2]\n\n')
    changes = read_records(recorded)
    assert changes.steps == (1, 2, 3, 4)
    reason = "four lines could not be read: cut short by a crash, or damaged"
    assert changes.skipped == (Skipped("change.jsonl", reason),)


def test_a_step_that_lacks_a_layer_says_so(recorded: Path) -> None:
    lines = recorded.read_text().splitlines(keepends=True)
    recorded.write_text("".join(lines[:-1]))
    layer = read_records(recorded).layers[2]
    assert np.isnan(layer.figures["ratio_l1"][3])
    assert layer.reasons == {3: "not recorded at this step"}


def test_shards_add_up(tmp_path: Path) -> None:
    written(tmp_path / "c.rank0.jsonl", header(0), shard(1, 4, 0.3), shard(2, 4, 0.5))
    written(tmp_path / "c.rank1.jsonl", header(1), shard(1, 2, 0.1))
    (layer,) = (changes := read_records(tmp_path / "c.jsonl")).layers
    assert changes.steps == (1, 2)
    assert layer.figures["ratio_l1"].tolist() == pytest.approx([0.2, np.nan], nan_ok=True)
    assert layer.reasons == {1: "only 4 of its 6 weights were recorded at this step, by one process"}


def test_shards_of_a_training_resumed_by_fewer_processes(tmp_path: Path) -> None:
    """The files of those that are gone still have what was trained anew."""
    first = [header(0, 3), shard(1, 2, 0.1), shard(2, 2, 0.1)]
    written(tmp_path / "c.rank0.jsonl", *first, header(0, 1, at=1), shard(2, 6, 0.7))
    written(tmp_path / "c.rank1.jsonl", header(1, 3), shard(1, 2, 0.1), shard(2, 2, 0.1))
    written(tmp_path / "c.rank2.jsonl", header(2, 3), shard(1, 2, 0.1), shard(2, 2, 0.1))
    (layer,) = read_records(tmp_path / "c.jsonl").layers
    assert layer.figures["ratio_l1"].tolist() == pytest.approx([0.1, 0.7])


def test_rounded_shards_have_only_what_stays_right(tmp_path: Path) -> None:
    written(tmp_path / "c.rank0.jsonl", header(0, 1), shard(1, 6, 0.3, is_rounded=True))
    (layer,) = read_records(tmp_path / "c.jsonl").layers
    assert layer.figures["ratio_l1"][0] == pytest.approx(0.3)
    assert np.isnan(layer.figures["ratio_l2"][0])


def test_one_shard_without_figures_leaves_the_whole_without(tmp_path: Path) -> None:
    written(tmp_path / "c.rank0.jsonl", header(0), shard(1, 4, 0.3))
    written(tmp_path / "c.rank1.jsonl", header(1), shard(1, 2, 0.1, skipped="its shape changed"))
    (layer,) = read_records(tmp_path / "c.jsonl").layers
    assert layer.reasons == {0: "its shape changed"}


def test_files_of_other_recordings_beside_are_not_taken(tmp_path: Path) -> None:
    written(tmp_path / "c.rank0.jsonl", header(0, 1), shard(1, 6, 0.3))
    for name in ("c.rankx.jsonl", "c.rank1.json", "cc.rank1.jsonl", "c.rank01.jsonl"):
        (tmp_path / name).write_text("something else\n")
    assert read_records(tmp_path / "c.jsonl").steps == (1,)


def test_what_was_left_out_when_it_was_recorded_is_said(tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "skipped": [{"name": "b.weight", "reason": "frozen"}],
        "notes": ["the prefix was taken off"],
    }
    for rank in (0, 1):
        written(tmp_path / f"c.rank{rank}.jsonl", header(rank, **more), shard(1, 3, 0.3))
    changes = read_records(tmp_path / "c.jsonl")
    assert changes.skipped == (Skipped("b.weight", "frozen"),)
    assert changes.notes == ("the prefix was taken off",)


def test_a_duplicate_step_counts_once_and_the_later_wins(tmp_path: Path) -> None:
    written(tmp_path / "c.rank0.jsonl", header(0, 1), shard(1, 6, 0.3), shard(1, 6, 0.4), shard(2, 6, 0.5))
    changes = read_records(tmp_path / "c.jsonl")
    assert changes.curves().tolist() == [pytest.approx([0.4, 0.5])]
    assert changes.notes == ("step 1 was recorded and then trained anew; the later records count",)


def test_what_is_no_record_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_records(tmp_path / "none.jsonl")
    with pytest.raises(SourceError, match="no such file"):
        read_records(tmp_path / "nowhere" / "none.jsonl")
    (tmp_path / "notes").write_text("notes\n")
    with pytest.raises(SourceError, match="no record of the weight change of a training"):
        read_records(tmp_path / "notes")
    (tmp_path / "empty").write_text("")
    with pytest.raises(SourceError, match="nothing was recorded yet"):
        read_records(tmp_path / "empty")
    headers: list[dict[str, Any]] = [{"zero": "nothing"}, {"at": None}, {"tensors": 3}, {"tensors": [{"layer": "a"}]}]
    for wrong in headers:
        written(tmp_path / "wrong", header(**wrong))
        with pytest.raises(SourceError, match="its header is not what it should be"):
            read_records(tmp_path / "wrong")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_file(tmp_path)
