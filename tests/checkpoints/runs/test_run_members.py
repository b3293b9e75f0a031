from __future__ import annotations

import json
import shutil
import sys
import types
from typing import TYPE_CHECKING

import pytest
import torch

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places.blob import LocalFolder
from weightatlas.checkpoints.runs.run_folder import look
from weightatlas.checkpoints.runs.run_members import (
    Access,
    Member,
    members_of_branches,
    members_of_level,
    members_of_list,
    members_of_steps,
)
from weightatlas.checkpoints.runs.steps import Reading
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATE = {"fc.weight": torch.ones(2, 3)}


def members(folder: Path, *, inner: str = "") -> dict[str, Member]:
    level = look(LocalFolder(folder), is_local=True, pattern=None)
    return {member.name: member for member in members_of_level(level, Access(), inner=inner)}


def save(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(STATE, path)


@pytest.mark.parametrize(
    "inner",
    ["model.pt", "checkpoint/model.pt", "mp_rank_00/model_optim_rng.pt", "pytorch_model.bin"],
)
def test_a_steps_folder_is_opened_where_its_weights_lie(tmp_path: Path, inner: str) -> None:
    save(tmp_path, f"step5/{inner}", "step5/train/rank0.pt", "step5/optim.pt")
    if inner == "model.pt":
        (tmp_path / "step5" / "optim.pt").unlink()
    checkpoint = members(tmp_path)["step5"].open()
    assert checkpoint.source == str(tmp_path / "step5")
    assert (checkpoint["fc.weight"] == 1).all()


def test_the_file_to_take_in_each_folder_can_be_named(tmp_path: Path) -> None:
    save(tmp_path, "step5/model.pt", "step5/ema.pt")
    with pytest.raises(SourceError, match="2 files of weights"):
        members(tmp_path)["step5"].open()
    assert len(members(tmp_path, inner="ema.pt")["step5"].open()) == 1


def test_what_lies_beside_tells_the_step(tmp_path: Path) -> None:
    save(tmp_path, "last/pytorch_model.bin", "pytorch_model.bin", "other.bin")
    for name, step in (("last", 5), (".", 6)):
        (tmp_path / name / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    found = members(tmp_path)
    assert found["last"].told() == Reading(step=5)
    assert found["pytorch_model.bin"].told() == Reading(step=6)
    assert found["other.bin"].told() == Reading()


def test_a_member_that_vanished_is_an_error_when_it_is_opened(tmp_path: Path) -> None:
    save(tmp_path, "step1.pt", "step2/model.pt")
    found = members(tmp_path)
    (tmp_path / "step1.pt").unlink()
    shutil.rmtree(tmp_path / "step2")
    for member in found.values():
        with pytest.raises(SourceError):
            member.open()
    assert found["step2"].told() == Reading()


def test_a_link_that_leaves_the_run_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "elsewhere.pt")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "step1.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(SourceError, match="link that leaves the folder"):
        members(tmp_path / "run")["step1.pt"].open()


def test_a_list_may_hold_anything_that_opens(tmp_path: Path) -> None:
    save(tmp_path, "a/step1.pt", "b/model.pt")
    linear = torch.nn.Linear(3, 2)
    opened = open_checkpoint(STATE)
    sources = [str(tmp_path / "a" / "step1.pt"), tmp_path / "b", STATE, linear, opened]
    found = members_of_list(sources, Access())
    assert [member.name for member in found] == [
        str(tmp_path / "a" / "step1.pt"),
        str(tmp_path / "b"),
        "checkpoint 2",
        "checkpoint 3",
        "state dict",
    ]
    assert found[0].texts[:2] == ("step1.pt", "a")
    assert all(member.is_local for member in found)
    assert [len(member.open()) for member in found] == [1, 1, 1, 2, 1]
    assert found[4].open() is opened


def test_a_listed_folder_tells_its_trainers_state(tmp_path: Path) -> None:
    save(tmp_path, "pytorch_model.bin", "x.bin")
    (tmp_path / "trainer_state.json").write_text('{"global_step": 4}')
    sources = [tmp_path, tmp_path / "pytorch_model.bin", tmp_path / "x.bin"]
    told = [member.told() for member in members_of_list(sources, Access())]
    assert told == [Reading(step=4), Reading(step=4), Reading()]


def test_urls_and_zoos_are_not_local() -> None:
    sources = ["s3://bucket/step1.pt", "hf://org/repo@step2", "timm:resnet18", "file:///runs/step1.pt"]
    found = members_of_list(sources, Access())
    assert [member.is_local for member in found] == [False, False, False, True]


def test_names_carry_no_passwords() -> None:
    (member,) = members_of_list(["https://me:secret@host/step1.pt?signature=abc"], Access())
    assert (member.name, member.texts) == ("https://host/step1.pt", ("step1.pt", "host", "https:"))


def test_steps_name_what_has_no_name() -> None:
    assert [member.name for member in members_of_steps({3: STATE, 5: STATE}, Access())] == ["step 3", "step 5"]


def test_layouts_reach_every_member(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3, 3, 16, 32)}, tmp_path / "step1.pt")
    level = look(LocalFolder(tmp_path), is_local=True, pattern=None)
    access = Access(layout="hwio")
    for member in (*members_of_level(level, access), *members_of_list([tmp_path / "step1.pt"], access)):
        assert member.open().info["w"].shape == (32, 16, 3, 3)


def test_branches_are_members(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Mapping[str, object] | None]] = []

    def branches(text: str, *, storage_options: Mapping[str, object] | None = None) -> tuple[str, ...]:
        asked.append((text, storage_options))
        return "main", "step1000-tokens4B", "wip/step7"

    hub = types.ModuleType("hub")
    hub.branches = branches  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "weightatlas.checkpoints.places.hub", hub)
    found = members_of_branches("hf://org/repo/", Access(storage_options={"token": "t"}))
    assert asked == [("hf://org/repo", {"token": "t"})]
    assert [member.name for member in found] == [
        "hf://org/repo@main",
        "hf://org/repo@step1000-tokens4B",
        "hf://org/repo@wip%2Fstep7",
    ]
    assert [member.texts for member in found] == [("main",), ("step1000-tokens4B",), ("wip/step7",)]
