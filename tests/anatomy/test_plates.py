"""What the page says of a survey: planted faults are found, and a random network gives nothing to say."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
import torch

from weightatlas import palette
from weightatlas.anatomy import survey
from weightatlas.checkpoints import Checkpoint, Skipped, TensorInfo
from weightatlas.plate import Chart, Finding, Strip, Subject, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weightatlas.anatomy import LayerSurvey
    from weightatlas.plate import Plate


def measured(tensors: dict[str, torch.Tensor], *, source: str = "runs/model.pt?x=1") -> LayerSurvey:
    info = [
        TensorInfo(name, name.removesuffix(".weight"), "weight", tuple(value.shape), "float32", 4 * value.numel(), "f")
        for name, value in tensors.items()
    ]
    skipped = [Skipped("notes", "it is text")]
    return survey(Checkpoint(source, info, lambda tensor: tensors[tensor.name], skipped=skipped))


def random_network(depth: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"layers.{index}.weight": torch.randn(64, 48, generator=generator) for index in range(depth)}


def one(plates: Sequence[Plate], kind: type[Plate]) -> Plate:
    (plate,) = [plate for plate in plates if isinstance(plate, kind)]
    return plate


def statements(found: LayerSurvey) -> list[str]:
    return [plate.statement for plate in found.plates() if isinstance(plate, Finding)]


def test_a_random_network_has_nothing_that_stands_out() -> None:
    found = measured(random_network())
    assert statements(found) == ["No layer stands out by its zeros, its tails or its stable rank."]
    chart = one(found.plates(), Chart)
    assert isinstance(chart, Chart)
    assert chart.heading.title == "By their stable rank, all layers look random"


def plant_nan(weight: torch.Tensor) -> None:
    weight[0, 0] = math.nan


def plant_zeros(weight: torch.Tensor) -> None:
    weight[:32] = 0


def plant_outlier(weight: torch.Tensor) -> None:
    weight[5, 5] = 60.0


def plant_direction(weight: torch.Tensor) -> None:
    weight += 10 * torch.ones(64, 1) @ torch.randn(1, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("plant", "phrase"),
    [
        (plant_nan, "One tensor holds values that are NaN or infinite: 1 of 3,072."),
        (plant_zeros, "17% of the weights are exactly zero."),
        (plant_outlier, "One layer has weights far out in the tails; in layers.1"),
        (plant_direction, "One layer carries its weight in few directions; layers.1 has a stable rank of 1.0"),
    ],
)
def test_what_is_planted_in_one_layer_is_found(plant: Callable[[torch.Tensor], None], phrase: str) -> None:
    tensors = random_network()
    plant(tensors["layers.1.weight"])
    said = statements(measured(tensors))
    assert any(statement.startswith(phrase) for statement in said)


def test_the_subject_says_what_the_file_is() -> None:
    subject = one(measured(random_network()).plates(), Subject)
    assert subject == Subject("model.pt", ("9,216 parameters in 3 tensors", "float32, 36.9 kB", "3 linear"))


@pytest.mark.parametrize("source", ["/data/run/", "run", "hf://org/run", "run?pretrained=false"])
def test_the_title_is_the_last_part_of_the_source(source: str) -> None:
    subject = one(measured(random_network(1), source=source).plates(), Subject)
    assert isinstance(subject, Subject)
    assert subject.title == "run"


def test_the_table_has_strips_reasons_and_marks() -> None:
    tensors = random_network()
    plant_outlier(tensors["layers.2.weight"])
    table = one(measured(tensors).plates(), Table)
    assert isinstance(table, Table)
    assert [row["tensor"] for row in table.rows] == [*tensors, "notes"]
    assert table.rows[-1]["skipped"] == "it is text"
    assert table.marked == (False, False, True, False)
    strip = table.rows[0]["strip"]
    assert isinstance(strip, Strip)
    assert strip.low < strip.value < strip.high
    assert table.heading.title == "One of three layers has heavy tails"


@pytest.mark.parametrize("depth", [1, 3, 300])
def test_the_chart_draws_every_layer_in_colours_of_the_palette(depth: int) -> None:
    chart = one(measured(random_network(depth)).plates(), Chart)
    assert isinstance(chart, Chart)
    assert len(chart.rows) == depth
    text = json.dumps(chart.spec, allow_nan=False)
    assert text.count('"layers.0"') == 1  # the data is there once, not once a panel
    assert palette.CATEGORIES[0] in text


def test_the_title_of_the_chart_names_the_layer_with_the_fewest_directions() -> None:
    tensors = random_network(5)
    plant_direction(tensors["layers.1.weight"])
    chart = one(measured(tensors).plates(), Chart)
    assert isinstance(chart, Chart)
    assert chart.heading.title == "The stable rank of layers.1 is 7% of a random matrix's"


def test_a_source_without_weights_says_so() -> None:
    plates = measured({}).plates()
    table = one(plates, Table)
    assert isinstance(table, Table)
    assert table.heading.title == "No layer has weights that can be measured"
    assert not [plate for plate in plates if isinstance(plate, Chart)]


def test_weights_that_are_all_zero_can_be_drawn() -> None:
    chart = one(measured({"conv.weight": torch.zeros(4, 4, 3, 3)}).plates(), Chart)
    assert isinstance(chart, Chart)
    assert chart.rows[0]["stable_rank"] is None
    assert "NaN" not in json.dumps(chart.spec)
