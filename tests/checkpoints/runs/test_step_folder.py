from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints.places.blob import LocalFolder
from weightatlas.checkpoints.runs.step_folder import choices, choosing, with_weights
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def lay(folder: Path, *names: str) -> LocalFolder:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights")
    return LocalFolder(folder)


@pytest.mark.parametrize(
    ("files", "where"),
    [
        (("model.pt", "optim.pt", "config.json"), "model.pt"),
        (("checkpoint/a.pt", "checkpoint/b.pt"), "checkpoint"),
        (("a.pt", "b.pt"), ""),
        (("x/a.pt", "y/a.pt"), ""),
        (("zero_pp_rank_0_mp_rank_00_model_states.pt",), ""),
        (("model-00001-of-00002.pt",), ""),
        ((".metadata", "a.pt"), ""),
    ],
)
def test_weights_are_where_nothing_else_is_meant(tmp_path: Path, files: tuple[str, ...], where: str) -> None:
    assert with_weights(lay(tmp_path, *files)).name == str(tmp_path / where)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("ema.pt", "model.pt", "optim.pt", "log.txt"), ["model.pt", "ema.pt"]),
        (("best.pt", "weights_long.pt", "swa.pt"), ["weights_long.pt", "best.pt", "swa.pt"]),
        (("mp_rank_01/w.pt", "mp_rank_00/w.pt"), ["mp_rank_00/w.pt", "mp_rank_01/w.pt"]),
        (("a/w.pt", "b/w.pt", "optim/w.pt"), ["a/w.pt", "b/w.pt"]),
        (("model.pt",), []),
        (("model.safetensors", "other.pt"), []),
        (("x.safetensors.index.json", "a.pt", "b.pt"), []),
        ((".metadata", "a.pt", "b.pt"), []),
        (("m-00001-of-00002.pt", "m-00002-of-00002.pt"), []),
        (("zero_pp_rank_0_model_states.pt", "zero_pp_rank_1_model_states.pt"), []),
    ],
)
def test_files_are_offered_where_nothing_says_which(tmp_path: Path, files: tuple[str, ...], found: list[str]) -> None:
    assert choices(lay(tmp_path, *files)) == found


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        choices(LocalFolder(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "files", "remedy"),
    [
        ("step5", ["m.pt", "e.pt"], "take one of them with pattern='step{step}/m.pt'"),
        ("step5-tokens4B", ["m.pt", "e.pt"], "take one of them with pattern='step{step}-tokens*/m.pt'"),
        ("last", ["m.pt", "e.pt"], "give a list of the files to take, such as last/m.pt"),
        ("5", ["rank1.pt", "rank2.pt"], "each rank may hold a part: join them first, or take one with "),
    ],
)
def test_the_remedy_names_a_pattern(name: str, files: list[str], remedy: str) -> None:
    error = choosing(SourceError("run", "a folder with 2 files of weights", "give one"), name, files)
    assert error.problem == "a folder with 2 files of weights"
    assert error.remedy.startswith(remedy)
