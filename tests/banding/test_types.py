from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from weightatlas.banding.types import given_types, types

if TYPE_CHECKING:
    from pathlib import Path


def tissue(kind: str, units: int = 30, side: int = 5, seed: int = 0) -> np.ndarray:
    """Slides of one kind: red, green and blue stripes in rows or columns, or noise."""
    noise = np.random.default_rng(seed).random((units, side, side, 3))
    if kind == "noise":
        return noise
    stripes = np.zeros((side, side, 3))
    stripes[np.arange(side), :, np.arange(side) * 3 // side] = 1
    return (stripes if kind == "rows" else stripes.swapaxes(0, 1)) + 0.1 * noise


def test_planted_tissues_are_told_apart() -> None:
    layers = {kind: tissue(kind, seed=seed) for seed, kind in enumerate(("noise", "rows", "columns"))}
    found = types(layers, types=3)
    assert found.banded_share("rows") == (1, 0)
    assert found.banded_share("columns") == (0, 1)
    assert found.banded_share("noise") == (0, 0)
    assert list(found.scores["5x5"]) == sorted(found.scores["5x5"], reverse=True)
    np.testing.assert_array_equal(found.overall("5x5"), [1 / 3, 1 / 3, 1 / 3])


def test_scale_of_a_unit_does_not_matter() -> None:
    layers = {"a": tissue("noise"), "b": tissue("rows")}
    scales = np.random.default_rng(1).uniform(0.1, 10, (30, 1, 1, 1))
    plain, scaled = types(layers, types=4), types({name: stack * scales for name, stack in layers.items()}, types=4)
    for layer in layers:
        np.testing.assert_array_equal(plain.assignment[layer], scaled.assignment[layer])


def test_kernel_sizes_are_clustered_apart_and_layers_keep_their_order() -> None:
    layers = {"first": tissue("rows", side=3), "second": tissue("noise"), "third": tissue("noise", side=3)}
    found = types(layers, types=2)
    assert set(found.centres) == {"3x3", "5x5"}
    assert list(found.assignment) == ["first", "second", "third"]
    assert found.sizes["third"] == "3x3"
    assert found.centres["3x3"].shape == (2, 3, 3, 3)
    assert found.banded_share("first") == (1, 0)


def test_centres_are_the_means_of_their_units() -> None:
    stack = tissue("noise")
    found = types({"layer": stack}, types=3)
    unit = stack / np.sqrt((stack**2).sum(axis=(1, 2, 3), keepdims=True))
    for index, centre in enumerate(found.centres["5x5"]):
        np.testing.assert_allclose(centre, unit[found.assignment["layer"] == index].mean(axis=0))


def test_rows_say_the_shares() -> None:
    found = types({"layer": tissue("noise")}, types=3)
    rows = list(found.rows_of("layer"))
    assert [row["type"] for row in rows] == [0, 1, 2]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(row["kernel"] == "5x5" and row["units"] == 30 and row["skipped"] is None for row in rows)


def test_the_seed_gives_the_same_types() -> None:
    layers = {"layer": tissue("noise", units=200)}
    first, second = types(layers, seed=3), types(layers, seed=3)
    assert first.centres["5x5"].tobytes() == second.centres["5x5"].tobytes()


def test_units_without_weights_are_in_no_type() -> None:
    stack = tissue("rows")
    stack[:5] = 0
    found = types({"layer": stack, "black": np.zeros((4, 5, 5, 3))}, types=2)
    assert (found.assignment["layer"][:5] == -1).all()
    assert found.banded_share("layer") == (1, 0)
    assert not found.shares("black").any()


def test_only_black_slides_have_no_types() -> None:
    found = types({"black": np.zeros((4, 3, 3, 3))})
    assert found.centres["3x3"].shape == (0, 3, 3, 3)
    assert found.banded_share("black") == (0, 0)
    assert list(found.rows_of("black")) == []


def test_fewer_different_slides_than_types() -> None:
    found = types({"layer": np.repeat(tissue("noise", units=2), 4, axis=0)}, types=11)
    np.testing.assert_array_equal(np.sort(found.shares("layer")), [0.5, 0.5])


@pytest.mark.parametrize(
    ("layers", "count", "message"),
    [
        ({}, 11, "at least one layer"),
        ({"layer": np.ones((3, 3, 3, 3))}, 0, "at least one layer"),
        ({"layer": np.ones((3, 3, 3))}, 11, "layer: slides are finite numbers"),
        ({"layer": np.full((3, 3, 3, 3), np.nan)}, 11, "layer: slides are finite numbers"),
        ({"a": np.ones((3, 3, 3, 3)), "b": np.ones((3, 3, 3, 2))}, 11, "different numbers of factors"),
    ],
)
def test_what_has_no_types_is_refused(layers: dict[str, np.ndarray], count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        types(layers, types=count)


def test_an_assignment_beyond_the_centres_is_refused() -> None:
    with pytest.raises(ValueError, match="assigned to clusters 0 to 2, and there are 2"):
        given_types(np.ones((2, 3, 3, 3)), {"layer": [0, 1, 2]})


@pytest.mark.reference
@pytest.mark.parametrize(
    ("run", "layer", "horizontal", "vertical"),
    [
        ("base", "5b", 1.00, 0.00),
        ("base-2", "5b", 1.00, 0.00),
        ("coordconv", "5b", 1.00, 0.00),
        ("fc", "5b", 1.00, 0.00),
        ("attention-v1", "5b", 0.99, 0.00),
        ("channel-groups-bnorm-64", "5b", 0.98, 0.00),
        ("spatial-film", "5b", 0.89, 0.06),
        ("fc-only", "5b", 0.00, 0.05),
        ("x-avgpool", "5a", 0.92, 0.06),
        ("x-avgpool", "5b", 0.02, 0.00),
        ("90deg", "5a", 0.13, 0.86),
        ("90deg", "5b", 0.00, 1.00),
    ],
)
def test_figure_12_from_its_own_clusters(
    reference: Path, run: str, layer: str, horizontal: float, vertical: float
) -> None:
    with np.load(reference / "distill" / "distill_banding_fig12_clusters.npz") as figure:
        found = given_types(figure["centers_11"], dict(zip(figure["names"], figure["assign_11"], strict=True)))
    shares = found.banded_share(f"simplified-{run}:v0/v1/{layer}/weights/read")
    assert shares == pytest.approx((horizontal, vertical), abs=0.005)
