from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.change.trained import MOVES, network, update
from tests.recording.frameworks import Trainer, stand_in, trained
from weightatlas.change.callbacks import lightning_callback, transformers_callback
from weightatlas.change.records import read_records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("lightning.pytorch", monkeypatch)


def assert_recorded(path: Path, steps: tuple[int, ...]) -> None:
    changes = read_records(path)
    assert changes.steps == steps
    assert changes.since == tuple(step - 1 for step in steps)
    for layer in changes.layers:
        assert layer.figures["ratio_l1"].tolist() == pytest.approx([MOVES[layer.layer]] * len(steps))


@pytest.mark.usefixtures("lightning")
def test_lightning_records_every_optimizer_step(tmp_path: Path) -> None:
    callback = lightning_callback(tmp_path / "c.jsonl")
    assert type(callback).__name__ == "WeightChange"
    Trainer(callback, update=update).fit(network(), 3)
    assert_recorded(tmp_path / "c.jsonl", (1, 2, 3))


@pytest.mark.usefixtures("lightning")
def test_lightning_batches_without_an_optimizer_step_are_none(tmp_path: Path) -> None:
    Trainer(lightning_callback(tmp_path / "c.jsonl"), update=update, accumulate=3).fit(network(), 7)
    assert_recorded(tmp_path / "c.jsonl", (1, 2))


@pytest.mark.usefixtures("lightning")
def test_lightning_goes_on_where_a_checkpoint_was_loaded(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    Trainer(lightning_callback(path), update=update).fit(network(), 5, interrupt=True)
    Trainer(lightning_callback(path), update=update, global_step=3).fit(network(), 4)
    assert_recorded(path, (1, 2, 3, 4, 5, 6, 7))


@pytest.mark.usefixtures("lightning")
def test_lightning_loggers_take_the_records(tmp_path: Path) -> None:
    trainer = Trainer(lightning_callback(tmp_path / "c.jsonl", log=True, every=2), update=update)
    trainer.fit(network(), 4)
    assert [(sorted(row), step) for row, step in trainer.loggers[0].told] == [
        (["change/0", "change/2", "change/4"], 2),
        (["change/0", "change/2", "change/4"], 4),
    ]


def test_real_lightning_takes_it(tmp_path: Path) -> None:
    real = pytest.importorskip("lightning.pytorch")
    assert isinstance(lightning_callback(tmp_path / "c.jsonl"), real.Callback)


def test_transformers_records_every_update(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    trained(transformers_callback(path), network(), update, 3)
    trained(transformers_callback(path), network(), update, 5, first=3)
    assert_recorded(path, (1, 2, 3, 4, 5))
