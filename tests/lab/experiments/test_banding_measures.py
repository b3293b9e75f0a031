from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from weightatlas.banding import score, score_slides, slides
from weightatlas.lab import Configuration, Recipe, Run, run
from weightatlas.lab.experiments.banding_measures import MEASURES, map_reader, measure_banding, profiles
from weightatlas.nn import AllPositions, ColumnMeans, GlobalMean, MapHead, RowMeans

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "weightatlas:simplified?groups=small&input_size=24&classes=4&width=0.5"


def trained(folder: Path, *interventions: str) -> Run:
    configuration = Configuration(
        model=MODEL, data="scenes", interventions=interventions, recipe=Recipe(steps=2, batch_size=8)
    )
    return run(configuration, folder)


def banded(done: Run, layer: str, folder: Path) -> Run:
    """The same run with bands in one layer: rows that differ, columns that do not."""
    state = load_file(done.checkpoint)
    weight = state[f"{layer}.weight"]
    rows = torch.randn(*weight.shape[:3], 1, generator=torch.Generator().manual_seed(0))
    state[f"{layer}.weight"] = rows.expand_as(weight).contiguous()
    folder.mkdir()
    save_file(state, folder / "banded.safetensors")
    return replace(done, checkpoint=folder / "banded.safetensors")


def test_planted_bands_are_found_in_their_layer_and_the_shift_says_which(tmp_path: Path) -> None:
    done = trained(tmp_path / "run")
    for layer, place, other, sign in (("conv5b", "last", "penultimate", -1), ("conv5a", "penultimate", "last", 1)):
        found = measure_banding(banded(done, layer, tmp_path / layer)).figures
        assert found[f"{place}_layer"] == layer
        assert found[f"{place}_score"] == pytest.approx(1.0)
        assert found[f"{place}_direction"] == "horizontal"
        assert found[f"{other}_direction"] == "none"
        assert np.sign(float(found["shift"] or 0)) == sign


def test_the_figures_are_those_of_the_single_estimators(tmp_path: Path) -> None:
    done = trained(tmp_path / "run")
    found = measure_banding(done)
    state = load_file(done.checkpoint)
    for place, layer in (("penultimate", "conv5a"), ("last", "conv5b")):
        weight = state[f"{layer}.weight"]
        alone = score(weight)
        assert found.figures[f"{place}_score"] == pytest.approx(alone.score)
        assert found.figures[f"{place}_null_std"] == pytest.approx(alone.null_std)
        assert found.figures[f"{place}_row_share"] == pytest.approx(alone.row_share)
        reduced = slides(weight)
        assert found.figures[f"{place}_slide_score"] == pytest.approx(score_slides(reduced.factors).score)
        assert np.array_equal(found.arrays[f"{place}/slides"], reduced.images)
    assert set(found.figures) <= {measure.key for measure in MEASURES}
    assert "row_contrast" not in found.figures


@pytest.mark.parametrize(("head", "axes"), [("no-pooling", ("y", "x")), ("x-pooling", ("y",)), ("y-pooling", ("x",))])
def test_what_reads_the_map_is_found_and_has_its_profile(head: str, axes: tuple[str, ...], tmp_path: Path) -> None:
    done = trained(tmp_path / "run", head)
    read = map_reader(done)
    assert read is not None
    assert read[0] == "classifier.weight"
    found = measure_banding(done)
    assert {name for name in found.arrays if name.startswith("classifier/")} == {f"classifier/{axis}" for axis in axes}
    weight = load_file(done.checkpoint)["classifier.weight"].double()
    for axis in axes:
        assert found.arrays[f"classifier/{axis}"].sum() == pytest.approx(1)
    sizes = [6 for _ in axes]
    cube = weight.reshape(4, 32, *sizes).square().numpy()
    first = cube.sum(axis=(0, 1, 3) if len(axes) == 2 else (0, 1))
    assert found.arrays[f"classifier/{axes[0]}"] == pytest.approx(first / first.sum())
    alone = score(weight, feature_map=(32, 6, 6)).score if len(axes) == 2 else None
    assert found.figures.get("classifier_score") == (None if alone is None else pytest.approx(alone))
    contrast = found.figures["row_contrast" if axes[0] == "y" else "column_contrast"]
    assert contrast == pytest.approx(first.max() / first.min())


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("weightatlas:alexnet?input_size=64&classes=4&width=0.125", 64, ("fc6.weight", (32, 6, 6))),
        ("torchvision:vgg11?pretrained=false&num_classes=4", 224, ("classifier.0.weight", (512, 7, 7))),
        ("torchvision:resnet18?pretrained=false&num_classes=4", 64, None),
    ],
)
def test_a_map_that_is_flattened_without_a_head_has_its_reader_too(
    model: str, size: int, expected: tuple[str, tuple[int, int, int]] | None, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"data": {"train": {"shape": [3, size, size]}}}))
    read = map_reader(
        Run(
            configuration=Configuration(model=model, data="scenes"),
            folder=tmp_path,
            checkpoint=tmp_path / "none",
            steps=1,
            train_loss=0.0,
            train_accuracy=0.0,
            test_loss=None,
            test_accuracy=None,
            test_top5=None,
            parameters=1,
            seconds=0.0,
            reused=False,
        )
    )
    found = None if read is None else (read[0], (read[1].channels, read[1].height, read[1].width))
    assert found == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (AllPositions(2, 3, 4), {"y": [0, 1, 0], "x": [0, 0, 0, 1]}),
        (RowMeans(4, 3, 2), {"y": [0.25, 0.5, 0.25]}),
        (ColumnMeans(4, 2, 3), {"x": [0.25, 0.5, 0.25]}),
        (GlobalMean(4, 2, 3), {}),
    ],
)
def test_profiles_of_planted_weights(head: MapHead, expected: dict[str, list[float]]) -> None:
    weight = torch.zeros(5, head.out_features)
    if isinstance(head, AllPositions):
        weight.reshape(5, 2, 3, 4)[:, :, 1, 3] = 2.0
    elif expected:
        weight.reshape(5, 4, 3).copy_(torch.tensor([1.0, 2.0**0.5, -1.0]))
    found = profiles(weight, head)
    assert {axis: shares.tolist() for axis, shares in found.items()} == {
        axis: pytest.approx(shares) for axis, shares in expected.items()
    }
