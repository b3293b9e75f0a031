from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.torch import load_file

from weightatlas.lab import Configuration, Recipe, run
from weightatlas.lab.experiments.branch_measures import MEASURES, measure_branches

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.lab import Run


def small_run(folder: Path, model: str) -> Run:
    data = "scenes?size=12"
    recipe = Recipe(steps=2, batch_size=4)
    return run(
        Configuration(model=model, data=data, held_out=f"{data}&split=test&steps=1", recipe=recipe, every=1), folder
    )


def test_branches_of_one_weight(tmp_path: Path) -> None:
    done = small_run(tmp_path, "weightatlas:branched?branches=2&width=0.125&input_size=12&classes=4")
    found = measure_branches(done)
    assert set(found.figures) <= {measure.key for measure in MEASURES}
    weight = load_file(done.checkpoint)["conv1.weight"].double()
    grey = weight.mean(dim=1, keepdim=True)
    chroma = ((weight - grey) ** 2).sum(dim=(1, 2, 3)) / (weight**2).sum(dim=(1, 2, 3))
    np.testing.assert_allclose(found.arrays["first/chroma"], chroma.numpy(), rtol=1e-6)
    assert found.arrays["first/branch"].tolist() == [0] * 4 + [1] * 4
    assert found.arrays["kernels/1"].shape == (4, 7, 7, 3)
    assert found.arrays["onset/step"].tolist() == [0, 1, 2]
    assert found.arrays["onset/separation"][-1] == pytest.approx(found.figures["separation"])
    assert found.figures["start_separation"] == pytest.approx(found.arrays["onset/separation"][0])


def test_halves_of_a_hidden_axis_where_there_is_one_branch(tmp_path: Path) -> None:
    done = small_run(tmp_path, "weightatlas:branched?branches=1&width=0.125&input_size=12&classes=4")
    found = measure_branches(done)
    assert set(found.figures) <= {measure.key for measure in MEASURES}
    axis = found.arrays["hidden/axes"][:, 0]
    assert found.arrays["first/branch"].tolist() == (axis > np.median(axis)).astype(int).tolist()
    assert "onset/step" not in found.arrays
    assert found.figures["separation"] is not None


def test_branches_that_differ_in_width_and_kernels(tmp_path: Path) -> None:
    model = "weightatlas:parallel-branches?share=0.25&first_kernel=7&second_kernel=3&width=0.25&input_size=12&classes=4"
    found = measure_branches(small_run(tmp_path, model))
    chroma, branch = found.arrays["first/chroma"], found.arrays["first/branch"]
    assert np.bincount(branch).tolist() == [2, 6]
    assert found.figures["chroma_narrow"] == pytest.approx(chroma[branch == 0].mean() - chroma[branch == 1].mean())
    assert found.figures["chroma_large"] == found.figures["chroma_narrow"]
    assert [found.arrays[f"kernels/{part}"].shape[1] for part in (0, 1)] == [7, 3]


@pytest.mark.slow
def test_residual_blocks_by_what_their_units_answer_to(tmp_path: Path) -> None:
    done = small_run(tmp_path, "weightatlas:resnet20-cifar?width=0.25&classes=4")
    found = measure_branches(done)
    assert set(found.figures) <= {measure.key for measure in MEASURES}
    assert found.arrays["blocks/units"].sum(axis=1).tolist() == [4] * 3 + [8] * 3 + [16] * 3
    assert found.figures["block_start"] is not None
