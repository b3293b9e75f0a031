"""The drawing of the graph: what it is given, and no more than can be seen."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.degeneracy.planted_graphs import interactions_of, planted_blocks, random_blocks
from weightatlas import palette
from weightatlas.atlas.charts import save_chart
from weightatlas.degeneracy.drawing.graph_chart import COLOURS, MOST, TALL, edge_rows, graph_chart, graph_rows
from weightatlas.degeneracy.modules import Modules, modules
from weightatlas.wording import number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from weightatlas.degeneracy.interactions import Interactions

FAST: dict[str, Any] = {"nulls": 19, "seeds": 2, "resolutions": ()}


def drawn(sizes: Sequence[int], groups: int) -> tuple[Interactions, Modules]:
    graph = interactions_of(planted_blocks(0, sizes, groups, 0.9, 0.03))
    return graph, modules(graph, floors=[0.9] * (len(sizes) - 1), **FAST)


def colours_of(graph: Interactions, found: Modules) -> dict[str, str]:
    """The colour of every module, alike in lines, dots and letters."""
    layers = [layer for layer in graph_chart(graph, found).to_dict()["layer"] if "encoding" in layer]
    encodings = [layer["encoding"] for layer in layers]
    scales = [one[channel]["scale"] for one in encodings for channel in ("color", "stroke") if channel in one]
    scales += [one["fill"]["condition"]["scale"] for one in encodings if "fill" in one]
    assert scales == [scales[0]] * len(scales)
    return dict(zip(scales[0]["domain"], scales[0]["range"], strict=True))


def test_a_direction_has_a_place_of_its_own_and_a_module_a_band() -> None:
    graph, found = drawn((8, 9, 7), 2)
    rows = graph_rows(graph, found)
    assert [(row["point"], row["direction"]) for row in rows] == list(found.nodes)
    assert len({(row["column"], row["row"]) for row in rows}) == len(rows)
    bands = {letter: [row["row"] for row in rows if row["letter"] == letter] for letter in "AB"}
    assert max(bands["A"]) < min(bands["B"])
    first = [row for row in rows if row["column"] == 0 and row["letter"] == "A"]
    assert sorted(first, key=lambda row: row["row"]) == sorted(first, key=lambda row: -row["importance"])


def test_the_largest_modules_have_a_colour_each_and_all_others_are_grey() -> None:
    graph, found = drawn((8, 9, 7), 2)
    assert colours_of(graph, found) == {"A": palette.CATEGORIES[0], "B": palette.CATEGORIES[1], "": palette.GREY}
    many = interactions_of([np.eye(40)])
    labels = np.tile(np.arange(40), 2)
    several = replace(modules(many, floors=[0.5], nulls=0, seeds=1, resolutions=()), labels=labels, count=40)
    found_colours = colours_of(many, several)
    assert list(found_colours)[:2] == ["A", "B"]
    assert list(found_colours)[-3:] == ["AM", "AN", ""]
    assert list(found_colours.values()) == [*COLOURS, *[palette.GREY] * (41 - len(COLOURS))]


def test_without_modules_there_is_neither_letter_nor_colour() -> None:
    graph = interactions_of(random_blocks(0, (8, 8), 0.5))
    found = replace(modules(graph, floors=[1.0], **FAST), count=1)
    rows = graph_rows(graph, found)
    assert {row["letter"] for row in rows} == {""}
    assert {row["letter"] for row in edge_rows(graph, found)} == {""}
    assert colours_of(graph, found) == {"": palette.GREY}


def test_edges_go_forward_carry_their_strength_and_take_their_modules_colour() -> None:
    graph, found = drawn((6, 7, 5), 2)
    edges = edge_rows(graph, found)
    assert len(edges) == found.weights.nnz // 2
    assert all(edge["column2"] == edge["column"] + 1 for edge in edges)
    assert [edge["share"] for edge in edges] == sorted(edge["share"] for edge in edges)
    letters = {f"{row['point']}, {row['direction']}": row["letter"] for row in graph_rows(graph, found)}
    for edge in edges:
        both = {letters[edge["source"]], letters[edge["target"]]}
        assert {edge["letter"]} == (both if len(both) == 1 else {""})
        (target, source) = (int(edge[end].split(", ")[1]) for end in ("target", "source"))
        assert edge["strength"] == graph.edges[edge["column"]].strengths[target, source]


def test_many_edges_are_thinned_to_the_heaviest() -> None:
    graph = interactions_of(random_blocks(0, (60, 60), 0.9))
    found = modules(graph, floors=[1.0], nulls=0, seeds=1, resolutions=())
    edges = edge_rows(graph, found)
    assert len(edges) == MOST
    left = np.sort(found.weights.data)[-2 * MOST :].min()
    assert edges[0]["share"] == pytest.approx(left / found.weights.data.max())


def test_directions_without_edges_are_at_the_foot() -> None:
    block = np.array([[10.0, 0.0], [0.0, 0.0], [0.0, 10.0]])
    graph = interactions_of([block])
    rows = graph_rows(graph, modules(graph, floors=[1.0], **FAST))
    alone = [row for row in rows if not row["joined"]]
    assert [(row["point"], row["direction"]) for row in alone] == [("p0", 2)]
    assert alone[0]["row"] == max(row["row"] for row in rows)


@pytest.mark.parametrize(("sizes", "groups"), [((8, 8, 8), 2), ((120, 120, 120, 113), 5), ((40, 40), 12), ((1, 1), 1)])
def test_small_and_large_graphs_are_drawn_within_a_page(sizes: Sequence[int], groups: int, tmp_path: Path) -> None:
    blocks = planted_blocks(0, sizes, groups, 0.5, 0.01)
    blocks[0][0, 0] = 2.0
    graph = interactions_of(blocks)
    labels = np.concatenate([np.arange(size) % groups for size in sizes])
    found = replace(
        modules(graph, floors=[1.0] * len(blocks), nulls=0, seeds=1, resolutions=()), labels=labels, count=groups
    )
    chart = graph_chart(graph, found)
    assert 60 <= chart.to_dict()["height"] <= 1.5 * TALL
    save_chart(chart.to_dict(), tmp_path / "graph.svg")
    picture = (tmp_path / "graph.svg").read_text()
    heads = Counter(re.findall(r">([a-z]+|\d+) directions?<", picture))
    assert heads == Counter(number(size) for size in sizes)
    assert (">A" in picture) == (groups > 1)
