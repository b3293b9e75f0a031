from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab import Configuration, Recipe, read_configuration
from weightatlas.lab.configuration_file import configuration_from

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
model = "weightatlas:simplified?groups=small"
data = "cifar10:data"
interventions = ["no-pooling", "coordconv"]
keep = "log"
every = 100
seed = 3

[recipe]
epochs = 90
batch_size = 512
batch_schedule = [[30, 1024], [60, 2048]]
optimizer = "sgd"
milestones = [0.5, 0.75]
clip = 1.0

[augmentation]
flip = true
scale = [0.5, 1.0]
rotate = "90"
"""

READ = Configuration(
    model="weightatlas:simplified?groups=small",
    data="cifar10:data",
    interventions=("no-pooling", "coordconv"),
    keep="log",
    every=100,
    seed=3,
    recipe=Recipe(
        epochs=90,
        batch_size=512,
        batch_schedule=((30, 1024), (60, 2048)),
        optimizer="sgd",
        milestones=(0.5, 0.75),
        clip=1.0,
    ),
    augmentation=Augmentation(flip=True, scale=(0.5, 1.0), rotate="90"),
)


def test_toml_gives_the_frozen_values(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(TOML)
    assert read_configuration(file) == READ


def test_a_manifest_gives_back_what_it_was_made_from() -> None:
    assert configuration_from(READ.to_dict()) == READ


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"model": "m"}, "data"),
        ({"modle": "m", "data": "d"}, r"there is no field modle; did you mean model\?"),
        ({"recipe": {"learningrate": 1}}, r"no field recipe.learningrate; did you mean recipe.learning_rate\?"),
        ({"augmentation": {"zzz": 1}}, "no field augmentation.zzz; there is flip, shift"),
        ({"recipe": 3}, r"recipe is no table; write its fields under \[recipe\]"),
        ({"recipe": {"steps": "many"}}, "steps must be a whole number, not 'many'"),
        ({"recipe": {"steps": 2.5}}, "steps must be a whole number"),
        ({"recipe": {"steps": True}}, "steps must be a whole number"),
        ({"recipe": {"compile": "yes"}}, "compile must be true or false"),
        ({"recipe": {"batch_schedule": [30, 1024]}}, "batch_schedule must be pairs"),
        ({"recipe": {"milestones": 0.5}}, "milestones must be numbers"),
        ({"model": "m", "data": "d", "interventions": "x-pooling"}, "interventions must be a list of names"),
        ({"model": "m", "data": 3}, "data must be a name"),
        ({"augmentation": {"rotate": "45"}}, "rotate must be one of"),
        ({"augmentation": {"rotate": 90}}, 'augmentation.rotate must be text in quotes, such as "90", not 90'),
        ({"augmentation": {"scale": [0.5]}}, "augmentation.scale must be two numbers"),
        ({"recipe": {"flip": True}}, r"no field recipe.flip; it stands under \[augmentation\]"),
        ({"steps": 2}, r"no field steps; it stands under \[recipe\]"),
        ({"recipe": {"seed": 2}}, "no field recipe.seed; it stands under no table, at the top"),
    ],
)
def test_what_a_file_gets_wrong_is_named(values: dict[str, Any], what: str) -> None:
    with pytest.raises(SourceError, match=what):
        configuration_from(values)


def test_a_file_that_is_absent_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"No such file.*name a TOML file"):
        read_configuration(tmp_path / "absent.toml")
    file = tmp_path / "broken.toml"
    file.write_text("model = [")
    with pytest.raises(SourceError, match=r"broken.toml: no TOML \(.*line"):
        read_configuration(file)
    file.write_bytes(b"model = '\xff'")
    with pytest.raises(SourceError, match="no TOML"):
        read_configuration(file)
