from __future__ import annotations

import pytest

from weightatlas.nn.conversion.recipes import NORMS, WEIGHTS, Recipe, parse_recipe


@pytest.mark.parametrize("norm", [None, *NORMS])
@pytest.mark.parametrize("weights", [None, *WEIGHTS])
def test_a_recipe_survives_being_written_and_read(weights: str | None, norm: str | None) -> None:
    if weights or norm:
        recipe = Recipe(weights, norm)
        assert parse_recipe(str(recipe)) == recipe
        assert parse_recipe(f" {str(recipe).upper().replace('+', ' + ')} ") == recipe


@pytest.mark.parametrize("text", ["", "+", "gn+ws", "ws+", "ws gn", "bn+gn", "ws+gn+bn", "layer"])
def test_other_words_are_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="micro-bcn"):
        parse_recipe(text)
