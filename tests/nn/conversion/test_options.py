from __future__ import annotations

import math
from typing import Any

import pytest

from weightatlas.nn.conversion.norm_replacement import NormOptions
from weightatlas.nn.conversion.options import ConversionOptions
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization


@pytest.mark.parametrize(
    ("recipe", "how", "used"),
    [
        ("ws+gn", "qiao2019", STANDARDIZATIONS["qiao2019"]),
        ("ws", Standardization(eps=0.5), Standardization(eps=0.5)),
        ("centred+gn", "qiao2019", STANDARDIZATIONS["centred"]),
        ("scaled", "timm", STANDARDIZATIONS["scaled"]),
    ],
)
def test_half_a_standardisation_is_named_by_the_recipe_the_whole_by_how(
    recipe: str, how: Standardization | str, used: Standardization
) -> None:
    assert ConversionOptions.of(recipe, how=how).how == used


def test_what_is_asked_for_is_kept() -> None:
    options = ConversionOptions.of(
        "micro-bcn", groups=4, rate=0.5, warmup=3, depthwise=True, standardized="all", how="bit"
    )
    assert options.norms == NormOptions(groups=4, rate=0.5, warmup=3)
    assert (options.depthwise, options.every, str(options.recipe)) == (True, True, "micro-bcn")
    assert ConversionOptions.of("gn").norms == NormOptions(32, 0.1, 0)


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("ws+xn", {}, "no recipe 'ws[+]xn'"),
        ("centred+gn", {"how": "nobody"}, "no standardization is called 'nobody'"),
        ("ws+gn", {"standardized": "some"}, "there is 'followed' and 'all'"),
        ("ws", {"groups": 0}, "groups must be 1 or more, not 0"),
        ("gn", {"rate": 1.5}, "rate must be from 0 to 1, not 1.5"),
        ("micro-bcn", {"rate": math.nan}, "rate must be from 0 to 1, not nan"),
        ("micro-bcn", {"warmup": -1}, "warmup must be a number of batches, not -1"),
    ],
)
def test_what_means_nothing_is_refused_whatever_the_recipe_needs(
    recipe: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        ConversionOptions.of(recipe, **options)
