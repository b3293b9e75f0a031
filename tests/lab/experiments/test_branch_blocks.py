from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.evaluation import open_model
from weightatlas.lab.experiments.branch_blocks import (
    block_arrays,
    block_figures,
    block_separation,
    gathering,
    inner_layers,
    tables_of,
)

GATHERED = {"layer1": [["colour"] * 6, ["other"] * 6], "layer2": [["curve"] * 4, ["curve"] * 4]}


def test_information_is_that_within_stages_weighted_by_units() -> None:
    found = gathering(tables_of(GATHERED))
    assert found.information == pytest.approx(12 / 20)
    assert found.family_entropy == pytest.approx(12 / 20)
    apart = {"layer1": GATHERED["layer1"][:1], "layer2": GATHERED["layer2"][:1]}
    assert gathering(tables_of(apart)).information == 0, "what a stage tells is not what a block tells"


def test_families_dealt_to_blocks_at_random_are_significant_as_often_as_the_level_says() -> None:
    generator = np.random.default_rng(0)
    families = np.array(["colour"] * 14 + ["curve"] * 6 + ["other"] * 28)
    p_values, excess = [], []
    for number in range(300):
        stages = {}
        for stage, blocks in (("layer1", 3), ("layer2", 6)):
            dealt = generator.permutation(families)
            stages[stage] = [list(part) for part in np.array_split(dealt, blocks)]
        found = gathering(tables_of(stages), permutations=99, seed=number)
        p_values.append(found.p_value)
        excess.append(found.excess)
    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.09
    assert abs(np.mean(excess)) < 4 * np.std(excess) / np.sqrt(len(excess))


def test_a_drift_with_depth_is_little_between_neighbours() -> None:
    drift = {"layer1": [["colour"] * (16 - number) + ["other"] * number for number in range(0, 17, 2)]}
    leap = {"layer1": [["colour"] * 16 if number % 2 else ["other"] * 16 for number in range(9)]}
    drifting, leaping = block_figures(drift), block_figures(leap)
    assert isinstance(drifting["block_excess"], float)
    assert isinstance(drifting["neighbour_excess"], float)
    assert drifting["block_excess"] > 0.3
    assert drifting["neighbour_excess"] < 0.05
    assert leaping["neighbour_excess"] == pytest.approx(1, abs=0.1)
    assert leaping["block_share"] == pytest.approx(1, abs=0.1)


def test_one_block_a_stage_and_one_family_tell_nothing() -> None:
    for stages in ({"layer1": [["colour", "other"]]}, {"layer1": [["other"] * 3, ["other"] * 3]}):
        figures = block_figures(stages)
        assert figures["block_excess"] == pytest.approx(0)
        assert figures["block_p"] == 1


def test_scores_are_separated_within_stages_only() -> None:
    generator = np.random.default_rng(1)
    dealt = [generator.normal(size=8) for _ in range(8)]
    stages = {"layer1": [block + 5 for block in dealt[:4]], "layer2": [block - 5 for block in dealt[4:]]}
    plain = {"layer1": dealt[:4], "layer2": dealt[4:]}
    assert block_separation(stages) == pytest.approx(block_separation(plain))
    drawn = []
    for _ in range(2000):
        whole = [generator.permutation(np.concatenate(blocks)) for blocks in plain.values()]
        drawn.append(block_separation({str(place): np.split(values, 4) for place, values in enumerate(whole)}))
    assert abs(np.mean(drawn)) < 5 * np.std(drawn) / np.sqrt(len(drawn))
    assert np.isnan(block_separation({"layer1": [np.ones(3), np.ones(3)]}))


@pytest.mark.parametrize(("depth", "blocks", "inner"), [(20, [3, 3, 3], "conv1"), (50, [3, 4, 6, 3], "conv2")])
def test_a_block_is_its_convolution_that_looks_at_space(depth: int, blocks: list[int], inner: str) -> None:
    with torch.device("meta"):
        model = open_model(f"weightatlas:resnet{depth}-cifar")
    found = inner_layers(model)
    assert [len(names) for names in found.values()] == blocks
    assert found["layer1"][0] == f"layer1.0.{inner}"
    kernels = [model.get_submodule(name) for names in found.values() for name in names]
    assert all(isinstance(each, torch.nn.Conv2d) and each.kernel_size == (3, 3) for each in kernels)


def test_arrays_count_units_by_block_and_family() -> None:
    arrays = block_arrays(GATHERED)
    assert arrays["blocks/names"].tolist() == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    assert arrays["blocks/families"].tolist() == ["colour", "curve", "other"]
    assert arrays["blocks/units"].tolist() == [[6, 0, 0], [0, 0, 6], [0, 4, 0], [0, 4, 0]]
