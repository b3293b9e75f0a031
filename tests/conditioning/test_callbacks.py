from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from tests.recording.frameworks import Trainer, stand_in, trained
from weightatlas.conditioning.callbacks import lightning_callback, transformers_callback
from weightatlas.conditioning.records import read_rows

if TYPE_CHECKING:
    from pathlib import Path

BATCH = torch.tensor([[-1.0, 3.0], [1.0, 5.0]])


def network() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())


def forward(model: nn.Module) -> None:
    model(BATCH)


def move(model: nn.Module) -> None:
    """An update: the first channel dies with the first step."""
    with torch.no_grad():
        model.get_parameter("0.bias")[0] -= 10


def step(model: nn.Module) -> None:
    forward(model)
    move(model)


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("lightning.pytorch", monkeypatch)


@pytest.mark.usefixtures("lightning")
def test_a_lightning_record_is_of_the_passes_before_its_step(tmp_path: Path) -> None:
    path, model = tmp_path / "c.jsonl", network()
    callback = lightning_callback(path, every=1)
    assert type(callback).__name__ == "EliminationSingularities"
    Trainer(callback, update=move, batch=forward, accumulate=2).fit(model, 5)
    rows = read_rows(path)
    assert [(row["step"], row["passes"], row["dead"]) for row in rows] == [(1, 2, 0.0), (2, 2, 0.5)]
    assert not any(module._forward_pre_hooks for module in model.modules()), "the fifth batch was watched for a third"


@pytest.mark.usefixtures("lightning")
def test_lightning_goes_on_where_a_checkpoint_was_loaded(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    Trainer(lightning_callback(path, every=2), update=move, batch=forward).fit(network(), 8, interrupt=True)
    Trainer(lightning_callback(path, every=1), update=move, batch=forward, global_step=3).fit(network(), 2)
    assert [(row["step"], row["dead"]) for row in read_rows(path)] == [(2, 0.5), (4, 0.0), (5, 0.5)]


@pytest.mark.usefixtures("lightning")
def test_lightning_loggers_take_the_records(tmp_path: Path) -> None:
    callback = lightning_callback(tmp_path / "c.jsonl", log=True, every=2)
    trainer = Trainer(callback, update=move, batch=forward)
    trainer.fit(network(), 4)
    assert [(row["dead/0"], at) for row, at in trainer.loggers[0].told] == [(0.5, 2), (0.5, 4)]


def test_transformers_records_the_passes_before_a_step(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    trained(transformers_callback(path, every="log"), network(), step, 5)
    trained(transformers_callback(path, every=1), network(), step, 4, first=3)
    assert [(row["step"], row["dead"]) for row in read_rows(path)] == [(1, 0.0), (2, 0.5), (3, 0.0), (4, 0.5)]
