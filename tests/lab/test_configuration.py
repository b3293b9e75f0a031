from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.lab import Configuration, Recipe
from weightatlas.lab.configuration_file import configuration_from

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
