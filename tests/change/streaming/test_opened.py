from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from tests.change.small_runs import save, weights
from weightatlas.change.streaming import opened as room
from weightatlas.change.streaming.opened import RUNS, Opened, identity
from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save(tmp_path / "step1.safetensors", weights(1))
    return tmp_path / "step1.safetensors"


def age(path: Path) -> None:
    """Make a file a second older than it is."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - 10**9))


def test_a_checkpoint_is_known_by_its_file_until_that_is_written_anew(file: Path) -> None:
    first = identity(open_checkpoint(file))
    assert first is not None
    assert identity(open_checkpoint(str(file))) == first
    age(file)
    save(file.with_name("step2.safetensors"), weights(1))
    second = identity(open_checkpoint(file))
    other = identity(open_checkpoint(file.with_name("step2.safetensors")))
    assert len({first, second, other}) == 3


def test_what_is_in_memory_has_no_identity_whatever_files_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Linear").write_text("")
    (tmp_path / "state dict").write_text("")
    assert identity(open_checkpoint(torch.nn.Linear(2, 2))) is None
    assert identity(open_checkpoint(weights(0))) is None


def test_every_shard_counts(tmp_path: Path) -> None:
    state = weights(0)
    for number, name in enumerate(state):
        save(tmp_path / f"model-0000{number + 1}-of-00004.safetensors", {name: state[name]})
    found = {identity(open_checkpoint(tmp_path))}
    for shard in tmp_path.iterdir():
        age(shard)
        found.add(identity(open_checkpoint(tmp_path)))
    assert len(found) == 5


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_a_distributed_checkpoint_counts_all_of_its_files(tmp_path: Path) -> None:
    save_distributed(dict(weights(0)), checkpoint_id=tmp_path, no_dist=True)
    first = identity(open_checkpoint(tmp_path))
    for part in tmp_path.glob("*.distcp"):
        age(part)
    assert identity(open_checkpoint(tmp_path)) not in {None, first}


def test_a_file_that_is_gone_has_no_identity(file: Path) -> None:
    checkpoint = open_checkpoint(file)
    file.unlink()
    assert identity(checkpoint) is None


def sent(opened: Opened) -> Opened:
    """What arrives in another process."""
    travelled: Opened = pickle.loads(pickle.dumps(opened))  # noqa: S301 - made here
    return travelled


def test_each_is_opened_once_in_another_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened([open_checkpoint(file), open_checkpoint(file)])
    assert len(opened) == 2
    monkeypatch.setattr(room, "_HERE", type(room._HERE)())
    there = sent(opened)
    assert sent(opened) is there
    assert there[1] is there[1]
    assert [type(checkpoint) for checkpoint in there[:]] == [Checkpoint, Checkpoint]
    assert there[0] is not opened[0]
    assert torch.equal(there[0]["fc.weight"], weights(1)["fc.weight"])
    assert len(sent(there)) == 2, "it may travel on"


def test_a_file_that_was_replaced_is_not_taken_for_what_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened([open_checkpoint(file)])
    monkeypatch.setattr(room, "_HERE", type(room._HERE)())
    there = sent(opened)
    age(file)
    with pytest.raises(SourceError, match="changed since it was opened"):
        there[0]


def test_a_worker_holds_the_runs_that_it_worked_on_last(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_HERE", type(room._HERE)())
    runs = [Opened([open_checkpoint(file)]) for _ in range(RUNS + 1)]
    first, *others = (sent(run) for run in runs)
    assert sent(runs[-1]) is others[-1]
    assert sent(runs[0]) is not first


def test_what_is_in_memory_does_not_travel() -> None:
    with pytest.raises(TypeError, match="save them first"):
        pickle.dumps(Opened([open_checkpoint(weights(0))]))
