from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.data import Augmentation
from weightatlas.errors import SourceError
from weightatlas.lab import Configuration, Recipe, read_configuration
from weightatlas.lab.configuration import configuration_from

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


recipes = st.builds(
    Recipe,
    steps=st.integers(1, 10**6),
    batch_size=st.integers(1, 4096),
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
    learning_rate=st.floats(1e-8, 100),
    warmup=st.floats(0.001, 0.999),
    clip=st.none() | st.floats(1e-3, 10),
    compile=st.booleans(),
)


@given(recipe=recipes, other=recipes, seed=st.integers(0, 2**40))
def test_the_identity_goes_with_equality(recipe: Recipe, other: Recipe, seed: int) -> None:
    first, second = (Configuration(model="m", data="d", recipe=each, seed=seed) for each in (recipe, other))
    assert configuration_from(first.to_dict()).identity == first.identity
    assert (first.identity == second.identity) == (first == second)


def test_the_identity_does_not_depend_on_how_a_number_is_written() -> None:
    whole, real = (Configuration(model="m", data="d", recipe=Recipe(epochs=epochs)) for epochs in (2, 2.0))
    assert whole == real
    assert whole.identity == real.identity
    assert len({Configuration(model="m", data="d", seed=2**60 + more).identity for more in range(3)}) == 3


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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("epochs", 0.0),
        ("epochs", float("nan")),
        ("batch_size", -1),
        ("accumulate", 0),
        ("threads", 0),
        ("optimizer", "lion"),
        ("schedule", "linear"),
        ("precision", "fp8"),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("weight_decay", -0.1),
        ("momentum", 1.0),
        ("warmup", 1.0),
        ("warmup", 0.0),
        ("label_smoothing", -0.1),
        ("clip", 0.0),
        ("milestones", (0.9, 0.1)),
        ("milestones", (0.5, 1.5)),
        ("batch_schedule", ((2.0, 8), (1.0, 8))),
        ("batch_schedule", ((0.0, 8),)),
        ("batch_schedule", ((1.0, 0),)),
        ("batch_schedule", ((1.0, 2.5),)),
    ],
)
def test_recipes_without_meaning_are_refused(field: str, value: Any) -> None:  # noqa: ANN401 - handed on
    with pytest.raises(ValueError, match=field):
        Recipe(**{field: value})


def test_a_run_is_measured_in_steps_or_in_epochs() -> None:
    with pytest.raises(ValueError, match="one of them, not both"):
        Recipe(steps=1, epochs=1)


@pytest.mark.parametrize("more", [{"keep": "all"}, {"every": 0}, {"save_every": 0}, {"seed": 1.5}, {"seed": -1}])
def test_configurations_without_meaning_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(more))):
        Configuration(model="m", data="d", **more)


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
