"""What the page of degeneracy says, sentence by sentence, of surveys whose figures are known."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import weightatlas as wa
from tests.degeneracy.planted_graphs import interactions_of
from tests.degeneracy.planted_surveys import (
    CHANGED_AT_NIGHT,
    FIRST,
    LOST,
    SECOND,
    colours_in,
    data_of,
    deep,
    planted_coefficient,
    planted_counts,
    planted_structure,
    planted_survey,
    unablated,
    unknown,
)
from weightatlas.degeneracy.modules import modules
from weightatlas.degeneracy.union import CLOSED
from weightatlas.plate import Chart, Finding, Subject, Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weightatlas.degeneracy import Degeneracy
    from weightatlas.degeneracy.counts import Counts, LayerCounts
    from weightatlas.plate import Heading

BUILT = "First-order directions: no output changes along them on 40 examples. Each kind is built as explicit directions"
EXACTLY = (
    "All that are free: weights less the rank of the Jacobian of all outputs, singular values up to 10⁻⁹ of the "
    "largest counted as 0."
)


@cache
def whole() -> Degeneracy:
    return planted_survey(planted_counts(), planted_structure(), planted_coefficient())


@cache
def no_edges() -> Degeneracy:
    structure = unablated(planted_structure())
    graph = interactions_of([np.zeros((2, 3))])
    found = modules(graph, nulls=3, seeds=1, resolutions=())
    return planted_survey(None, replace(structure, interactions=graph, basis=graph.basis, modules=found))


@cache
def nothing_free() -> Degeneracy:
    none: dict[str, Any] = dict.fromkeys(("activations", "gradients", "conditional", "union", "exact"), 0)
    kinds: dict[str, Any] = dict.fromkeys(("synchronised", "rescalings"), 0)
    bounds: dict[str, Any] = {"exact_low": 0, "exact_high": 0, "rank": 100, "checked": 0, "curve": None}
    layers = (replace(FIRST, **none, **kinds), replace(SECOND, **none))
    return planted_survey(planted_counts(*layers, **none, **kinds, **bounds))


@cache
def one_layer() -> Degeneracy:
    return planted_survey(planted_counts(SECOND), unablated(planted_structure()))


@cache
def only_lost() -> Degeneracy:
    return planted_survey(unknown(activations=None, gradients=None, conditional=None))


@cache
def many_layers() -> Degeneracy:
    return planted_survey(deep(300))


@cache
def not_sampled() -> Degeneracy:
    return planted_survey(None, None, replace(planted_coefficient(), estimate=float("nan"), burn_in=0))


EVERY_SURVEY: list[Callable[[], Degeneracy]] = [
    whole,
    no_edges,
    nothing_free,
    one_layer,
    only_lost,
    many_layers,
    not_sampled,
]


@cache
def figures(survey: Degeneracy) -> dict[str, Table | Chart]:
    return {plate.heading.key: plate for plate in survey.plates() if isinstance(plate, Table | Chart)}


def heading(key: str, survey: Degeneracy) -> Heading:
    return figures(survey)[key].heading


def said(key: str, counts: Counts) -> Heading:
    return heading(key, planted_survey(counts))


@pytest.mark.parametrize(
    ("survey", "keys"),
    [
        (
            whole,
            ["counts", "shares", "layers", "spectra", "curve", "graph", "ablations", "needed", "chains"],
        ),
        (no_edges, ["graph"]),
        (nothing_free, ["counts", "shares", "layers", "spectra"]),
        (one_layer, ["counts", "shares", "layers", "spectra", "curve", "graph"]),
        (lambda: planted_survey(unknown("it is large", activations=None)), ["counts", "shares", "layers", "spectra"]),
        (lambda: planted_survey(planted_counts(LOST)), ["counts", "layers", "curve"]),
        (not_sampled, ["chains"]),
        (planted_survey, []),
    ],
)
def test_a_survey_has_the_plates_that_it_can_fill(survey: Callable[[], Degeneracy], keys: list[str]) -> None:
    assert list(figures(survey())) == keys


@pytest.mark.parametrize("survey", EVERY_SURVEY)
def test_every_plate_is_whole_finite_and_free_of_computers_figures(survey: Callable[[], Degeneracy]) -> None:
    found = survey()
    keys = set(figures(found))
    assert {plate.plate for plate in found.plates() if isinstance(plate, Finding)} <= keys
    for figure in figures(found).values():
        texts = (figure.heading.reading, figure.heading.method, *filter(None, [figure.heading.null]))
        assert all(text.endswith(".") and ".." not in text and "  " not in text for text in texts)
        assert not [text for text in texts if re.search(r"\de[-+]?\d|\bnan\b|\bNone\b", text)]
        assert figure.rows
        json.dumps(list(figure.rows), allow_nan=False)
        if isinstance(figure, Chart):
            json.dumps(figure.spec, allow_nan=False)


@pytest.mark.parametrize("survey", EVERY_SURVEY)
def test_colours_are_those_that_a_page_changes_at_night(survey: Callable[[], Degeneracy]) -> None:
    for figure in figures(survey()).values():
        if isinstance(figure, Chart):
            assert colours_in(figure.spec) <= CHANGED_AT_NIGHT
            assert not colours_in(data_of(figure.spec))  # a page leaves data as they are
            assert data_of(figure.spec)


def test_a_page_holds_every_title(tmp_path: Path) -> None:
    page = wa.write_atlas([whole()], tmp_path / "atlas.html").read_text(encoding="utf-8")
    titles = {figure.heading.title for figure in figures(whole()).values()}
    assert {title for title in titles if title not in html.unescape(page)} == set()


def test_the_subject_says_what_was_measured_on_what() -> None:
    (subject,) = (plate for plate in whole().plates() if isinstance(plate, Subject))
    assert subject == Subject("planted", ("on examples", "100 trained weights", "three layers"))
    (bare,) = planted_survey().plates()
    assert bare == Subject("planted", ("on examples",))


@pytest.mark.parametrize(
    ("counts", "method"),
    [
        (
            planted_counts(),
            (
                f"{BUILT}, and each of these 61 was followed. All together: the part of their span along which no "
                f"output changes. {EXACTLY}"
            ),
        ),
        (planted_counts(checked=0), f"{BUILT}: there are none. {EXACTLY}"),
        (
            planted_counts(checked=3, union_kind=CLOSED, exact_kind="estimate"),
            (
                f"{BUILT}. Three random combinations of all of them were followed. All together: {CLOSED}. All that "
                "are free: weights less the rank of random combinations of the Jacobian's rows of all outputs, "
                "singular values up to 10⁻⁹ of the largest counted as 0."
            ),
        ),
        (
            unknown(checked=1, union_kind=f"{CLOSED}; without the conditional ones of net.first: too many"),
            (
                f"{BUILT}. One random combination of all of them was followed. All together: {CLOSED}; without the "
                "conditional ones of net.first: too many. How many are free in all is not known: it was not asked for."
            ),
        ),
        (
            unknown(checked=0, union_kind=CLOSED),
            (
                f"{BUILT}. No random combinations of all of them were followed. All together: {CLOSED}. How many are "
                "free in all is not known: it was not asked for."
            ),
        ),
    ],
)
def test_the_method_says_what_was_followed_and_how_all_were_put_together(counts: Counts, method: str) -> None:
    assert said("counts", counts).method == method


def test_tolerances_are_written_with_powers() -> None:
    (method,) = (heading("counts", planted_survey(planted_counts(), tolerance=2.5e-7)).method,)
    assert "singular values up to 2.5\xa0×\xa010⁻⁷ of the largest" in method


@pytest.mark.parametrize(
    ("counts", "null"),
    [
        (
            planted_counts(),
            "40 examples × 3 outputs = 120, no fewer than there are weights: the number of examples alone frees none.",
        ),
        (
            planted_counts(examples=16, rank=48, data_limited=True),
            (
                "16 examples × 3 outputs = 48: no network of 100 weights has fewer than 52 free directions on them. "
                "The rank is as large as these examples allow: then no count is of the network."
            ),
        ),
        (
            unknown(examples=1, outputs=1, data_limited=True),
            (
                "1 example × 1 output = 1: no network of 100 weights has fewer than 99 free directions on them. The "
                "rank may be as large as these examples allow: then no count is of the network."
            ),
        ),
    ],
)
def test_the_null_is_what_the_examples_alone_free(counts: Counts, null: str) -> None:
    assert said("counts", counts).null == null


TOGETHER = "dependent activations, dependent gradients and activations where a unit is live"


@pytest.mark.parametrize(
    ("layers", "reading"),
    [
        (
            (FIRST, SECOND),
            (
                f"The bar is the share of a layer's directions that {TOGETHER} free together, without moving another "
                "layer; a dot marks what each frees. The dots of synchronised ReLUs need several layers and are not in "
                "it. The tick is all that is free when this layer alone moves."
            ),
        ),
        (
            (replace(FIRST, heads=3, norms=2, exact=None), SECOND),
            (
                f"The bar is the share of a layer's directions that {TOGETHER} free together, without moving another "
                "layer; a dot marks what each frees. The dots of synchronised ReLUs, bases inside attention heads and "
                "scales and shifts of norms need several layers and are not in it. The tick is all that is free when "
                "this layer alone moves."
            ),
        ),
        (
            (replace(SECOND, conditional=None, exact=None),),
            (
                "The bar is the share of a layer's directions that dependent activations and dependent gradients free "
                "together, without moving another layer; a dot marks what each frees."
            ),
        ),
    ],
)
def test_the_bar_of_a_layer_is_what_moves_no_other(layers: tuple[LayerCounts, ...], reading: str) -> None:
    assert said("shares", planted_counts(*layers)).reading == reading


def test_the_method_speaks_of_the_tick_where_there_is_one() -> None:
    tick = " The tick: the layer's weights less the rank of their columns of the Jacobian."
    bar = "The bar: the rank of these directions together."
    assert said("shares", planted_counts()).method == bar + tick
    assert said("shares", planted_counts(replace(FIRST, exact=None))).method == bar


def test_the_table_of_layers_says_what_free_means_and_keeps_what_was_skipped() -> None:
    table = figures(whole())["layers"]
    assert table.heading.reading == (
        f"One row a layer. Free: directions of its weights that {TOGETHER} free together, without moving another layer."
    )
    assert [(row["layer"], row["free"], row["share"], row["skipped"]) for row in table.rows] == [
        ("net.first", 24, 0.4, None),
        ("net.second", 4, 0.1, None),
        ("net.lost", None, None, "it is used twice"),
    ]
    assert table.heading.title == "Three layers: what their activations and gradients span"
    assert heading("layers", one_layer()).title == "One layer: what their activations and gradients span"


def test_the_table_of_what_is_needed_is_in_words() -> None:
    table = figures(whole())["needed"]
    assert [(row["removed"], row["basis"], row["needed"], row["total"]) for row in table.rows] == [
        ("edges", "interaction basis", 20, 72),
        ("edges", "interaction basis", 63, 63),
        ("directions", "interaction basis", 5, 8),
        ("edges", "principal components", 60, 72),
        ("edges", "principal components", None, 63),
        ("directions", "principal components", 7, 8),
    ]
    assert (
        table.heading.reading == "One row a pair of points and basis, for edges; one a point and basis, for directions."
    )
    kept = [row["basis"] for row in whole().rows("ablations")]
    assert set(kept) == {"interaction", "pca"}  # the command line's fields stay what they were


def test_the_graph_speaks_of_bands_only_where_there_are_modules() -> None:
    reading = (
        "A column a point of the network, a dot a direction of the interaction basis; a line an interaction, darker "
        "where it is stronger; hollow dots have no line that counts."
    )
    found = heading("graph", whole())
    assert found.reading == (
        f"{reading} A band a module, with its letter; grey lines join two modules. Within a band the most important "
        "direction is on top."
    )
    assert heading("graph", no_edges()).reading == f"{reading} The most important direction is on top."


def test_the_graph_says_where_edges_begin_to_count() -> None:
    method = (
        "Edges: mean squared effect of a direction on one of the next point. Modules: Leiden communities of a graph "
        "whose weights are log10(E / ε), with ε "
    )
    assert heading("graph", whole()).method == f"{method}the weakest edge that the accuracy needs."
    assert heading("graph", one_layer()).method == (
        f"{method}below the strongest edges that carry 99% of what acts between two points."
    )


def test_the_graphs_null_is_that_of_rewired_graphs_where_there_are_any() -> None:
    structure = planted_structure()
    found = replace(structure.modules, modularity=0.6842, p_value=0.05)
    drawn = planted_survey(None, replace(structure, modules=found))
    assert heading("graph", drawn).null == (
        "Graphs rewired between each two points, every degree kept: modularity 0.684, p = 0.05 by 19 rewired graphs."
    )
    bare = replace(found, null_modularity=np.zeros(0), p_value=float("nan"), count=1)
    assert heading("graph", planted_survey(None, replace(structure, modules=bare))).null == (
        "Modularity 0.684; no graph was rewired to compare it with."
    )
    assert heading("graph", no_edges()).null == "No edge counts, so there is nothing to rewire."


def test_the_chains_are_read_as_they_are_drawn() -> None:
    found = replace(planted_coefficient(), nbeta=72382.4, bracket=(0.5, 123456.0))
    drawn = heading("chains", planted_survey(coefficient=found))
    assert drawn.reading == (
        "A line a chain: its loss at each draw. Dashed is the loss where all begin, the bold line the mean over all "
        "draws: what lies between, times nβ, is the estimate. What stands on grey is burn-in, and left out."
    )
    assert drawn.method == (
        "Langevin dynamics held near the weights by a prior of precision 1, nβ = 72,380; "
        "the estimate is nβ times the mean loss above the first."
    )
    assert drawn.null == "The rank of the loss's curvature allows 0.5 to 123,500."
    bare = heading("chains", not_sampled())
    assert bare.reading == "A line a chain: its loss at each draw. Dashed is the loss where all begin."
    assert bare.null == ""
