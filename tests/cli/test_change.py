from __future__ import annotations

import csv
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from weightatlas.change import Recorder
from weightatlas.change.clusters import pipeline
from weightatlas.change.tables import COLUMNS
from weightatlas.cli import application, change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Printed = Callable[..., list[dict[str, Any]]]

LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4", "layer5", "layer6", "head")
STEPS = tuple(range(0, 900, 100))
STOPS = 300
SLOW = ("layer3", "layer4", "layer5", "layer6")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep journals out of the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weightatlas" / "change"


def weights(step: int) -> dict[str, torch.Tensor]:
    """Of eight layers at a step: half of them move a third as much, and the head stands still from step 300 on."""
    tensors = {}
    for place, layer in enumerate(LAYERS):
        generator = torch.Generator().manual_seed(place)
        weight = torch.randn(8, 6 + place, generator=generator)
        for update in range(step // 100):
            size = 0 if layer == "head" and update * 100 >= STOPS else 0.01 if layer in SLOW else 0.03
            weight = weight + size * torch.randn(weight.shape, generator=generator)
        tensors[f"{layer}.weight"] = weight
        tensors[f"{layer}.bias"] = torch.full((8,), float(step))
    return tensors


def write(folder: Path, steps: Sequence[int] = STEPS) -> Path:
    folder.mkdir(exist_ok=True)
    for step in steps:
        save_file(weights(step), folder / f"step{step:04}.safetensors")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / "run")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Run the command, and give the rows that it prints as JSON."""

    def rows(*words: object) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert application.run(["change", *map(str, words), "--format", "json", "--quiet"]) == 0
        text = capsys.readouterr().out
        found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert isinstance(found, list)
        return found

    return rows


def ratio(before: torch.Tensor, after: torch.Tensor) -> float:
    return float((after.double() - before.double()).abs().sum() / before.double().abs().sum())


def test_a_run_is_a_row_a_layer_and_step(run: Path, printed: Printed) -> None:
    rows = printed(run)
    assert [(row["layer"], row["step"], row["since"]) for row in rows] == [
        (layer, step, step - 100) for layer in LAYERS for step in STEPS[1:]
    ]
    for row in rows[::5]:
        before, after = (weights(row[end])[row["tensor"]] for end in ("since", "step"))
        assert row["ratio_l1"] == pytest.approx(ratio(before, after), rel=1e-6)
    assert [row["cosine"] is None for row in rows[:8]] == [True] + [False] * 7
    assert {row["source"] for row in rows} == {str(run)}


@pytest.mark.parametrize("table", list(COLUMNS))
def test_every_table_has_the_fields_of_the_contract(run: Path, printed: Printed, table: str) -> None:
    rows = printed(run, "--table", table)
    assert {tuple(row) for row in rows} == {(*COLUMNS[table][:-1], "source", "skipped")}


def test_layers_say_what_stopped_and_what_moves_alike(run: Path, printed: Printed) -> None:
    rows = {row["layer"]: row for row in printed(run, "--table", "layers")}
    assert {layer: row["stopped_at"] for layer, row in rows.items() if row["stopped_at"] is not None} == {"head": 400}
    assert len({rows[layer]["cluster"] for layer in SLOW}) == 1
    assert rows["stem"]["cluster"] == rows["layer1"]["cluster"] == rows["layer2"]["cluster"] == 0
    assert rows["layer3"]["cluster"] != 0
    assert rows["head"]["outlier"].startswith("moves like no other layer: ")


def test_a_pair_of_two_formats_is_a_row_a_layer(tmp_path: Path, printed: Printed) -> None:
    np.savez(tmp_path / "before.npz", allow_pickle=False, **{name: each.numpy() for name, each in weights(0).items()})
    torch.save({f"module.{name}": each for name, each in weights(200).items()}, tmp_path / "after.pt")
    rows = printed(tmp_path / "before.npz", tmp_path / "after.pt")
    assert [(row["layer"], row["since"], row["step"]) for row in rows] == [(layer, 0, 1) for layer in LAYERS]
    expected = [ratio(weights(0)[f"{layer}.weight"], weights(200)[f"{layer}.weight"]) for layer in LAYERS]
    assert [row["ratio_l1"] for row in rows] == pytest.approx(expected, rel=1e-6)


def test_what_a_recorder_wrote_has_the_figures_of_the_run(tmp_path: Path, run: Path, printed: Printed) -> None:
    model = torch.nn.ModuleDict({layer: torch.nn.Linear(6 + place, 8) for place, layer in enumerate(LAYERS)})
    model.load_state_dict(weights(0))
    with Recorder(model, tmp_path / "change.jsonl") as recorder:
        for step in STEPS:
            model.load_state_dict(weights(step))
            recorder.step(step)
    recorded, surveyed = printed(tmp_path / "change.jsonl"), printed(run)
    by_step = {(row["layer"], row["step"]): row["ratio_l1"] for row in surveyed}
    shared = [row for row in recorded if (row["layer"], row["step"]) in by_step and row["since"] == row["step"] - 100]
    assert len(shared) >= 56
    assert [row["ratio_l1"] for row in shared] == pytest.approx(
        [by_step[row["layer"], row["step"]] for row in shared], rel=1e-5
    )


def test_options_of_what_is_measured(run: Path, printed: Printed) -> None:
    rows = printed(run, "--tensors", "all", "--median")
    assert {row["tensor"] for row in rows} == set(weights(0))
    biases = [row for row in rows if row["tensor"] == "stem.bias"]
    assert (biases[0]["zeros"], biases[0]["ratio_l1"]) == (8, None)
    assert biases[1]["median"] == pytest.approx(1.0, rel=0.01)


def test_clusters_by_number_by_elbow_as_published_and_by_role(run: Path, printed: Printed) -> None:
    four = printed(run, "--table", "clusters", "--clusters", 4)
    assert [row["cluster"] for row in four] == [0, 1, 2, 3]
    elbow = printed(run, "--table", "clusters", "--clusters", "elbow", "--scaling", "none", "--outliers", "keep")
    assert sum(row["size"] for row in elbow) == len(LAYERS)
    published = printed(run, "--table", "clusters", "--published", "--clusters", 2)
    assert sorted(layer for row in published for layer in row["layers"]) == sorted(LAYERS[1:-1])
    mixture = printed(run, "--table", "clusters", "--method", "mixture", "--clusters", 2)
    assert len(mixture) == 2
    assert {row["group"] for row in printed(run, "--table", "clusters", "--by-role")} == {"others"}


def test_a_person_reads_a_row_a_layer_of_a_run_and_what_was_found(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert application.run(["change", str(run), "--quiet"]) == 0
    shown = capsys.readouterr()
    head, _, *lines = shown.out.splitlines()
    assert "stopped at" in head
    assert [line.split()[0] for line in lines] == list(LAYERS)
    assert "moves like no other layer" in lines[-1]
    assert "times further" not in shown.out
    assert f"weightatlas: {run}: head has stopped, at step 400." in shown.err
    assert "eight tensors left out: biases, norms, running statistics" in shown.err


def test_a_person_reads_of_a_pair_what_a_pair_can_tell(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = [str(run / f"step{step:04}.safetensors") for step in (0, 100)]
    assert application.run(["change", *pair, "--median"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == [
        "layer",
        "role",
        "ratio",
        "L1",
        "ratio",
        "L2",
        "elementwise",
        "median",
        "zeros",
    ]
    assert "Layers change by" in shown.err
    assert "cannot tell" not in shown.err


def test_clusters_that_chance_gives_too_are_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    curves = 1 + 0.1 * generator.random((12, 8)).cumsum(axis=1)
    folder = tmp_path / "noise"
    folder.mkdir()
    for step in range(8):
        save_file(
            {f"l{place}.weight": torch.full((2, 2), float(curves[place, step])) for place in range(12)},
            folder / f"step{step}.safetensors",
        )
    assert application.run(["change", str(folder), "--clusters", "3", "--quiet"]) == 0
    assert "The clustering is not stable" in capsys.readouterr().err


def test_output_goes_to_the_file_in_the_format_of_its_name(run: Path, tmp_path: Path) -> None:
    names = ("rows.csv", "rows.json", "rows.jsonl", "rows.txt", "rows.parquet", "arrays.npz", "curves.svg", "page.html")
    for name in names:
        assert application.run(["change", str(run), "--output", str(tmp_path / name), "--quiet"]) == 0
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(LAYERS) * 8
    with np.load(tmp_path / "arrays.npz") as arrays:
        assert arrays["ratio_l1"].shape == (8, 8)
        assert arrays["steps"].tolist() == list(STEPS[1:])
    assert (tmp_path / "curves.svg").read_text().startswith("<svg")
    page = (tmp_path / "page.html").read_text()
    assert "head has stopped, at step 400" in page


def test_results_are_kept_and_new_checkpoints_are_added(run: Path, cache: Path, printed: Printed) -> None:
    (run / "step0800.safetensors").rename(run.parent / "later")
    printed(run)
    (kept,) = cache.iterdir()
    before = kept.read_bytes()
    (run.parent / "later").rename(run / "step0800.safetensors")
    rows = printed(run)
    assert kept.read_bytes().startswith(before)
    assert len(kept.read_bytes()) > len(before)
    again = kept.read_bytes()
    assert printed(run) == rows == printed(run, "--forget")
    assert kept.read_bytes() == again


def test_a_journal_of_ones_own_and_none(run: Path, tmp_path: Path, cache: Path, printed: Printed) -> None:
    printed(run, "--forget")
    assert not cache.exists()
    printed(run, "--journal", tmp_path / "mine.jsonl")
    assert not cache.exists()
    assert len((tmp_path / "mine.jsonl").read_text().splitlines()) == 1 + len(LAYERS)


def test_a_cache_that_cannot_be_written_is_done_without(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(printed(run)) == 64


def test_a_corrupt_checkpoint_is_a_row_and_the_rest_is_measured(run: Path, printed: Printed) -> None:
    whole = (run / "step0400.safetensors").read_bytes()
    (run / "step0400.safetensors").write_bytes(whole[: len(whole) // 2])
    rows = printed(run)
    (left_out,) = (row for row in rows if row["skipped"])
    assert "cannot be opened (truncated" in left_out["skipped"]
    assert {row["since"] for row in rows if row["step"] == 500} == {300}


def test_nan_in_one_layer_is_its_row_and_is_said(
    run: Path, printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(run / "step0400.safetensors")
    tensors["layer3.weight"][0, 0] = torch.nan
    save_file(tensors, run / "step0400.safetensors")
    rows = [row for row in printed(run) if row["skipped"]]
    assert [(row["layer"], row["step"]) for row in rows] == [("layer3", 400), ("layer3", 500)]
    assert all("NaN or infinite weights" in row["skipped"] and row["ratio_l1"] is None for row in rows)
    assert application.run(["change", str(run), "--quiet"]) == 0
    assert "One layer could not be measured at two checkpoints. (NaN" in capsys.readouterr().err


def test_a_run_in_which_nothing_moves_has_nothing_that_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "still"
    folder.mkdir()
    for step in STEPS:
        save_file(weights(0), folder / f"step{step}.safetensors")
    assert application.run(["change", str(folder), "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "No layer changes at all." in said
    assert "stopped" not in said
    assert application.run(["change", str(folder), "--output", str(tmp_path / "page.html"), "--quiet"]) == 0
    assert "No layer has stopped" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        ((), (), "no checkpoints in it"),
        ((100,), (), "one checkpoint that can be used: a change needs two"),
        ((0, 100), ("absent.safetensors",), "no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    tmp_path: Path, steps: Sequence[int], more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "run", steps)
    source = [str(folder / "step0000.safetensors")] if more else [str(folder)]
    assert application.run(["change", *source, *more]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert said in line


def test_checkpoints_of_different_models_are_refused(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"elsewhere.weight": torch.ones(2, 2)}, tmp_path / "other.safetensors")
    assert application.run(["change", str(run / "step0000.safetensors"), str(tmp_path / "other.safetensors")]) == 1
    assert "no layer of the same name and shape" in capsys.readouterr().err


def test_a_folder_of_other_files_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert application.run(["change", str(tmp_path)]) == 1
    assert "it holds notes.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "source"),
        (("a", "b", "c"), "a run, or two checkpoints, not 3 sources"),
        (("a", "--table", "units"), "--table"),
        (("a", "--clusters", "0"), "clusters must be 1 or more"),
        (("a", "--clusters", "bic"), "method='mixture'"),
        (("a", "--clusters", "few"), "--clusters"),
        (("a", "--below", "0"), "--below"),
        (("a", "--records", "0"), "--records"),
        (("a", "--zero", "drop"), "--zero"),
        (("a", "--output", "rows.docx"), "rows.docx"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert application.run(["change", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_options_of_the_clustering_are_those_of_the_pipeline() -> None:
    for name in ("Choice", "Scaling", "Outliers", "Method"):
        assert get_args(getattr(change, name)) == get_args(getattr(pipeline, name))


def test_the_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom weightatlas.cli import application\napplication.run(['change', '--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0
    assert "--by-role" in done.stdout


def test_the_atlas_of_a_run_has_its_change_and_its_last_checkpoint(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "atlas.html"
    assert application.run(["atlas", str(run), "--output", str(page), "--quiet"]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    text = page.read_text()
    assert "head has stopped, at step 400" in text
    assert "stable rank" in text


def test_the_atlas_of_a_folder_with_one_checkpoint_is_that_of_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "run", (100,))
    page = tmp_path / "atlas.html"
    assert application.run(["atlas", str(tmp_path / "run"), "--output", str(page), "--quiet"]) == 0
    assert "relative change" not in page.read_text()
    assert application.run(["atlas", str(tmp_path / "absent"), "--output", str(page), "--quiet"]) == 1
    assert "no such file" in capsys.readouterr().err
