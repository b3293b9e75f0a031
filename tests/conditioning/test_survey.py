"""A survey joins channels and smoothness over a run, and says what it could not measure."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from tests.conditioning.example_networks import QUICK, Small, deep, headed, save_run, scenes
from weightatlas.checkpoints import open_trajectory
from weightatlas.conditioning import Conditioning, survey
from weightatlas.errors import MissingDependencyError, SourceError
from weightatlas.evaluation import open_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Conditioning:
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, {0: Small(), 10: Small(), 20: Small(dead=1), 30: Small(dead=2)})
    return survey(open_trajectory(str(folder)), model=Small(), data=scenes(), moments=3, **QUICK)


def test_a_run_is_measured_from_its_first_step_to_its_last(run: Conditioning) -> None:
    assert [one.step for one in run.snapshots] == [0, 20, 30]
    assert [one.points[0].dead for one in run.snapshots] == pytest.approx([0, 1 / 6, 2 / 6])
    assert run.last is run.snapshots[-1]


def test_every_table_has_its_columns_and_plain_values(run: Conditioning) -> None:
    for table, columns in Conditioning.tables.items():
        rows = run.rows(table)
        assert rows, table
        assert all(tuple(row) == columns for row in rows), table
        assert {row["step"] for row in rows} == {0, 20, 30}
        json.dumps(rows, allow_nan=False)


def test_what_is_live_stays_as_it_was() -> None:
    network, data = Small().train(), scenes()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    survey(Small(seed=1), model=None, data=data, **QUICK)
    survey(network, data=data, **QUICK)
    assert network.training
    assert data.epoch == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_live_model_does_not_keep_the_weights_of_a_source(tmp_path: Path) -> None:
    save_run(tmp_path, {1: Small(seed=1, dead=2)})
    network = Small().train()
    before = network.conv1.weight.detach().clone()
    found = survey(str(tmp_path / "step1.safetensors"), model=network, data=scenes(), smooth=False, examples=16)
    assert found.source == str(tmp_path / "step1.safetensors")
    assert found.last.points[0].dead == pytest.approx(2 / 6)
    assert torch.equal(network.conv1.weight, before)
    assert network.training


def test_a_broken_checkpoint_is_left_out(tmp_path: Path) -> None:
    save_run(tmp_path, {0: Small(), 10: Small(), 20: Small()})
    run = open_trajectory(str(tmp_path))
    broken = tmp_path / "step10.safetensors"
    broken.write_bytes(broken.read_bytes()[:-100])
    found = survey(run, model=Small(), data=scenes(), smooth=False, examples=8)
    assert [one.step for one in found.snapshots] == [0, 20]
    assert any(note.startswith("step 10 is left out: ") for note in found.notes)


def test_a_moment_that_diverged_says_so_and_the_others_stand(tmp_path: Path) -> None:
    diverged, lost = Small(), Small()
    nn.init.constant_(diverged.norm2.weight, 1e30)
    nn.init.constant_(diverged.head.weight[0], 1e30)  # logits overflow
    nn.init.constant_(lost.head.weight, float("nan"))
    save_run(tmp_path, {0: Small(), 1_000: diverged, 2_000: lost, 3_000: Small()})
    found = survey(open_trajectory(str(tmp_path)), model=Small(), data=scenes(), **QUICK)
    assert [one.smoothness is None for one in found.snapshots] == [False, True, False]
    (note,) = (note for note in found.notes if note.startswith("smoothness not measured"))
    assert note.startswith("smoothness not measured at step 1,000: ")
    rows = found.rows("steps")
    assert rows[1]["loss"] is None
    assert rows[1]["mean_distance"] is not None
    assert [row["skipped"] is None for row in found.rows("walks")].count(False) == 1


def test_weights_that_are_nan_are_skipped_and_not_drawn() -> None:
    network = Small()
    nn.init.constant_(network.conv2.weight, float("nan"))
    found = survey(network, data=scenes(), **QUICK)
    assert [row["skipped"] is None for row in found.rows()] == [True, False, False]
    assert "not finite" in found.rows()[1]["skipped"]
    assert found.rows("channels")[-1]["skipped"] == found.rows()[-1]["skipped"]
    json.dumps([row for table in Conditioning.tables for row in found.rows(table)], allow_nan=False)


def test_a_network_without_nonlinearity_has_its_smoothness() -> None:
    found = survey(headed(nn.Conv2d(3, 4, 3)), data=scenes(), **QUICK)
    (row,) = found.rows()
    assert "no elementwise nonlinearity" in row["skipped"]
    assert found.rows("steps")[0]["loss"] > 0
    assert any(note.startswith("channels not measured: ") for note in found.notes)


def test_a_network_without_convolution_has_no_terms() -> None:
    layers = nn.Flatten(), nn.Linear(3 * 24 * 24, 5), nn.ReLU(), nn.Linear(5, 4)
    found = survey(nn.Sequential(*layers), data=scenes(), **QUICK)
    assert found.rows("weights")[0]["skipped"] == "it has no convolution"
    assert found.rows("steps")[0]["centring"] is None
    assert found.rows()[0]["norm"] is None


def test_what_gives_no_figure_at_all_is_refused() -> None:
    with pytest.raises(SourceError, match=r"Sequential: cannot be run on inputs .* another network"):
        survey(headed(nn.Conv2d(5, 4, 3), nn.ReLU()), data=scenes(), **QUICK)
    with pytest.raises(SourceError, match="no elementwise nonlinearity"):
        survey(headed(nn.Conv2d(3, 4, 3)), data=scenes(), smooth=False)


def test_a_checkpoint_that_does_not_fit_its_model_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path, {0: Small()})
    file = str(tmp_path / "step0.safetensors")
    with pytest.raises(SourceError, match="does not fit"):
        survey(file, model=Small(classes=7), data=scenes(), **QUICK)
    with pytest.raises(SourceError, match="none is named"):
        survey(file, data=scenes(), **QUICK)


def test_at_least_one_moment() -> None:
    with pytest.raises(ValueError, match="at least one moment"):
        survey(Small(), data=scenes(), moments=0)


def test_an_eigenvalue_without_curvlinops_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        what = "a Hessian"
        raise MissingDependencyError(what, "curvlinops", "curvature")

    module = import_module("weightatlas.conditioning.smoothness")  # the function of its name hides it
    monkeypatch.setattr(module, "eigenvalues_of", missing)
    found = survey(Small(), data=scenes(), **{**QUICK, "eigenvalues": 1})
    assert found.rows("steps")[0]["top_eigenvalue"] is None
    assert any("top Hessian eigenvalue not measured: curvlinops" in note for note in found.notes)


def test_a_transformer_is_measured() -> None:
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    name = "timm:vit_tiny_patch16_224?pretrained=false&img_size=24&patch_size=8&num_classes=4&depth=1&embed_dim=24"
    found = survey(open_model(name), data=scenes(), **{**QUICK, "eigenvalues": 1})
    assert [(row["function"], row["norm"]) for row in found.rows()] == [("gelu", None)]
    assert found.rows("steps")[0]["gradient_lipschitz"] > 0
    assert any(note.startswith("the top Hessian eigenvalue not measured: derivative") for note in found.notes)


def test_the_seed_decides() -> None:
    one, two, other = (survey(Small(), data=scenes(), **QUICK, seed=seed) for seed in (1, 1, 2))
    assert [one.rows(table) for table in one.tables] == [two.rows(table) for table in two.tables]
    assert one.rows("walks")[-1]["loss_change"] != other.rows("walks")[-1]["loss_change"]


def test_progress_is_told_of_each_moment(tmp_path: Path) -> None:
    save_run(tmp_path, {0: Small(), 5: Small()})
    told: list[tuple[int, int, str]] = []
    survey(
        open_trajectory(str(tmp_path)),
        model=Small(),
        data=scenes(),
        smooth=False,
        examples=8,
        progress=lambda *state: told.append(state),
    )
    assert told == [(1, 2, "step 0"), (2, 2, "step 5")]


def test_arrays_and_files_hold_what_the_tables_hold(run: Conditioning, tmp_path: Path) -> None:
    arrays = run.arrays()
    assert arrays["norm1/positive"].shape == (6,)
    np.testing.assert_allclose(arrays["steps/step"], [0, 20, 30])
    saved = np.load(run.save(tmp_path / "found.npz"))
    np.testing.assert_array_equal(saved["norm1/mean"], arrays["norm1/mean"])
    assert list(run.frame("steps")["step"]) == [0, 20, 30]
    for suffix in ("json", "csv", "svg"):
        assert run.save(tmp_path / f"found.{suffix}").stat().st_size > 100


def test_many_layers_are_measured_in_their_order() -> None:
    found = survey(deep(100), data=scenes(), smooth=False, examples=8)
    assert [row["layer"] for row in found.rows()] == [str(3 * place + 1) for place in range(100)]
