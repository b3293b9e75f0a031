from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import weightatlas
from tests.lab.small_runs import CPU, equal, perceptron, points, weight
from weightatlas.errors import SourceError
from weightatlas.lab import Recipe, RunFolder, train
from weightatlas.lab.optimisation import make_optimizer

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from weightatlas.lab.configuration import Optimizer
    from weightatlas.lab.training import Log

RECORD = {"seconds": 1.5, "precision": {}}


def stepped(model: nn.Module, *, optimizer: Optimizer = "adamw", steps: int = 2) -> torch.optim.Optimizer:
    made = make_optimizer(model.parameters(), Recipe(steps=steps, optimizer=optimizer))
    for _ in range(steps):
        for parameter in model.parameters():
            parameter.grad = torch.sin(parameter.detach() * 7)
        made.step()
    return made


def saved(folder: RunFolder, *steps: int) -> RunFolder:
    model = perceptron()
    optimizer = stepped(model)
    for step in steps:
        folder.save(step, model, optimizer.state_dict(), RECORD)
    return folder


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_model_and_optimiser_come_back_bit_for_bit(tmp_path: Path, optimizer: Optimizer) -> None:
    folder = RunFolder(tmp_path)
    model, other = perceptron(), perceptron(seed=1)
    first, second = stepped(model, optimizer=optimizer), stepped(other, optimizer=optimizer, steps=5)
    folder.save(4, model, first.state_dict(), RECORD)
    assert not equal(model, other)
    record = folder.load(4, other, second)
    assert equal(model, other)
    assert {key: record[key] for key in ("step", *RECORD)} == {"step": 4, **RECORD}
    for one, again in zip(first.state_dict()["state"].values(), second.state_dict()["state"].values(), strict=True):
        assert one.keys() == again.keys()
        assert all(torch.equal(one[name], again[name]) for name in one)


def test_where_everything_lies(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.held():
        folder.claim({"configuration": {"seed": 0}})
        saved(folder, 400)
    (folder.path / ".lock").unlink()
    folder.log([{"step": 1, "loss": 0.5}])
    folder.finish({"steps": 400})
    files = sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())
    names = ["checkpoints/step-00000400.safetensors", "manifest.json", "metrics.jsonl"]
    assert files == [*names, "optimizer/step-00000400.safetensors", "result.json"]
    assert folder.result() == {"steps": 400}
    assert load_file(folder.checkpoint(400)).keys() == perceptron().state_dict().keys()


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = (saved(RunFolder(tmp_path / name), 1) for name in "ab")
    assert first.checkpoint(1).read_bytes() == second.checkpoint(1).read_bytes()
    assert first.optimizer(1).read_bytes() == second.optimizer(1).read_bytes()


def test_a_folder_is_claimed_by_one_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim({"configuration": {"seed": 0}, "data": 1, "versions": "old"})
    folder.claim({"configuration": {"seed": 0}, "data": 1, "versions": "new"})
    assert json.loads((tmp_path / "manifest.json").read_text())["versions"] == "old"
    with pytest.raises(SourceError, match=r"it holds another run \(its configuration differ\); name another folder"):
        folder.claim({"configuration": {"seed": 1}, "data": 1})
    with pytest.raises(SourceError, match="configuration and data differ"):
        folder.claim({"configuration": {"seed": 1}, "data": 2})


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_a_manifest_or_result_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(SourceError, match=r"manifest.json: .*remove the folder to train anew"):
        RunFolder(tmp_path).claim({})
    with pytest.raises(SourceError, match=r"result\.json: .*remove it: it is made again"):
        RunFolder(tmp_path).result()


@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json", "checkpoints/step-00000001.safetensors"])
def test_files_of_no_run_are_left_alone(tmp_path: Path, name: str) -> None:
    file, temporary = tmp_path / name, tmp_path / "checkpoints" / ".tmp-theirs"
    for path in (file, temporary):
        path.parent.mkdir(exist_ok=True)
        path.write_text("theirs")
    folder = RunFolder(tmp_path)
    with folder.held(), pytest.raises(SourceError, match=r"and no manifest\.json; name another folder, or empty it"):
        folder.claim({})
    assert file.read_text() == temporary.read_text() == "theirs"


def _holds(path: Path, held: Event) -> None:
    with RunFolder(path).held():
        held.set()
        time.sleep(60)


def test_a_second_process_is_refused_until_the_first_is_gone_even_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    child = context.Process(target=_holds, args=(tmp_path, held))
    child.start()
    try:
        assert held.wait(20)
        with pytest.raises(SourceError, match=r"another process trains here; wait for it"), RunFolder(tmp_path).held():
            pass
    finally:
        child.kill()
        child.join()
    with RunFolder(tmp_path).held():
        pass


def test_what_a_killed_process_was_writing_is_swept_away(tmp_path: Path) -> None:
    folder = saved(RunFolder(tmp_path), 2)
    (tmp_path / "manifest.json").write_text("{}")
    left = [
        tmp_path / "checkpoints" / ".step-00000004-x1y2.safetensors",
        tmp_path / "optimizer" / ".step-00000004-x1y2.safetensors",
        tmp_path / "optimizer" / ".tmpaRPI7i",
        tmp_path / ".metrics-a.jsonl",
        tmp_path / ".manifest-a.json",
    ]
    for path in left:
        path.write_bytes(b"half")
    own = tmp_path / ".gitignore"
    own.write_text("*")
    with folder.held():
        assert not any(path.exists() for path in left)
        assert own.exists()
        assert folder.saved() == (2,)


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "lo')
    assert folder.rows() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    assert folder.rewind(1) == [{"step": 1, "loss": 0.5}]
    folder.log([{"step": 2, "loss": 0.125}])
    assert folder.rows() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.125}]


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 1}', '{"step": "x"}', "\x00\x00"])
def test_a_line_that_is_no_row_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n' + line + '\n{"step": 2}\n')
    with pytest.raises(SourceError, match=r"metrics.jsonl: line 2 is no row of metrics; remove that line"):
        RunFolder(tmp_path).rows()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.outer = nn.Linear(3, 3)
        self.outer.weight = self.inner.weight


def test_tied_weights_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    folder, model, other = RunFolder(tmp_path), Tied(), Tied()
    folder.save(1, model, stepped(model).state_dict(), RECORD)
    assert sorted(load_file(folder.checkpoint(1))) == ["inner.bias", "inner.weight", "outer.bias"]
    folder.load(1, other, stepped(other))
    assert equal(model, other)
    assert other.outer.weight is other.inner.weight


def test_a_tensor_too_few_is_refused_where_none_is_tied(tmp_path: Path) -> None:
    folder, model = RunFolder(tmp_path), Tied()
    folder.save(1, model, stepped(model).state_dict(), RECORD)
    loose = Tied()
    loose.outer.register_buffer("more", torch.zeros(1))
    with pytest.raises(SourceError, match=r"does not fit this network \(outer.more does not fit\); remove the folder"):
        folder.load(1, loose, stepped(loose))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    folder = saved(RunFolder(tmp_path), 1)
    for other in (nn.Linear(3, 8), nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 3))):
        with pytest.raises(SourceError, match="its state does not fit this network"):
            folder.load(1, other, stepped(other))


@pytest.mark.parametrize("kind", ["checkpoint", "optimizer"])
@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_corrupt_checkpoint_is_named_with_what_to_do_and_the_run_goes_on_without_it(
    tmp_path: Path, kind: str, damage: str
) -> None:
    folder, recipe = RunFolder(tmp_path), Recipe(steps=12, batch_size=8)
    unbroken = perceptron()
    train(unbroken, points(), recipe, devices=CPU)
    with pytest.raises(KeyError), folder.held():
        train(
            perceptron(), points(), recipe, folder=folder, saves=frozenset({4, 8}), devices=CPU, loggers=[_stop_at(10)]
        )
    assert folder.saved() == (4, 8)
    file = getattr(folder, kind)(8)
    content = file.read_bytes()
    file.write_bytes({"cut": content[:-5], "empty": b"", "foreign": content.replace(b"training", b"untitled")}[damage])
    model = perceptron()
    with pytest.raises(SourceError, match=rf"{file.name}: cannot be read .*remove it: the run goes on from") as raised:
        train(model, points(), recipe, folder=folder, devices=CPU)
    Path(raised.value.source).unlink()
    train(model, points(), recipe, folder=folder, devices=CPU)
    assert equal(model, unbroken)
    assert [row["step"] for row in folder.rows()] == list(range(1, 13))


def _stop_at(step: int) -> Log:
    def log(_row: object, number: int) -> None:
        if number == step:
            raise KeyError(step)

    return log


def test_a_state_without_weights_counts_for_nothing(tmp_path: Path) -> None:
    folder = saved(RunFolder(tmp_path), 2, 4)
    folder.checkpoint(4).unlink()
    assert folder.saved() == (2,)
    folder.forget(after=2, keep=frozenset())
    assert not folder.optimizer(4).exists()


def there(folder: RunFolder) -> tuple[list[int], list[int]]:
    kinds = (folder.checkpoint, folder.optimizer)
    weights, states = ([step for step in range(20) if kind(step).exists()] for kind in kinds)
    return weights, states


def test_what_is_forgotten_and_what_stays(tmp_path: Path) -> None:
    folder = saved(RunFolder(tmp_path), 0, 2, 4, 6, 8, 10)
    folder.forget(after=8, keep=frozenset({0, 4, 10}))
    assert there(folder) == ([0, 4, 6, 8], [6, 8])
    folder.forget(after=8, keep=frozenset({0, 4, 10}), spare=0)
    assert there(folder) == ([0, 4, 8], [8])


def test_names_that_are_no_steps_are_let_alone(tmp_path: Path) -> None:
    folder = saved(RunFolder(tmp_path), 3)
    own = tmp_path / "checkpoints" / "step-best.safetensors"
    own.write_bytes(b"")
    folder.forget(after=3, keep=frozenset())
    assert own.exists()
    assert folder.saved() == (3,)


def test_a_run_is_a_trajectory_of_the_steps_that_were_kept(tmp_path: Path) -> None:
    folder, keeps = RunFolder(tmp_path), frozenset({0, 1, 2, 4, 8, 11})
    model = perceptron()
    with folder.held():
        recipe = Recipe(steps=11, batch_size=8)
        train(model, points(), recipe, folder=folder, keeps=keeps, saves=frozenset({5, 10}), devices=CPU)
    run = weightatlas.open_trajectory(tmp_path)
    assert run.steps == tuple(sorted(keeps))
    assert {skipped.name for skipped in run.skipped} <= {"optimizer"}
    first, last = run.at(0), run.at(11)
    assert torch.equal(torch.as_tensor(first["0.weight"]), weight(perceptron(), "0.weight"))
    assert torch.equal(torch.as_tensor(last["3.weight"]), weight(model, "3.weight"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(SourceError, match=r"cannot be written \(Permission denied\)"),
        RunFolder(tmp_path / "run").held(),
    ):
        pass


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(SourceError, match="run: it is a file; name a folder"),
        RunFolder(tmp_path / "run").held(),
    ):
        pass
    folder = saved(RunFolder(tmp_path / "other"), 1)
    folder.optimizer(2).mkdir()
    with pytest.raises(
        SourceError, match=r"step 2 cannot be written \(Is a directory\); its last good checkpoint is of step 1"
    ):
        saved(folder, 2)
