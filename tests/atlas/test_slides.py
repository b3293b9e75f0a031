from __future__ import annotations

import json

import numpy as np
import pytest

from tests.atlas.plates_for_tests import Given, images, slide, slides
from weightatlas.atlas.chapters import gather
from weightatlas.atlas.slides import FRONTISPIECE_LAYERS, SlidesView, frontispiece, slide_anchors, slides_view
from weightatlas.plate import SlideLayer, Slides


def view(drawn: Slides) -> SlidesView:
    (chapter,) = gather(Given("a", (drawn,)))
    return slides_view(chapter.plates[0], drawn, chapter)


def test_measures_are_json_and_what_is_not_finite_is_null() -> None:
    layer = SlideLayer("x", images(3, 3, 0), measures={"norm": np.array([0.123456, np.nan, -np.inf])})
    data = view(slides([layer])).layers[0].data
    assert data["measures"] == {"norm": [0.1235, None, None]}
    assert data["order"] == [0, 1, 2]
    json.dumps(data, allow_nan=False)


def test_measures_of_all_layers_are_offered_once_each() -> None:
    other = SlideLayer("y", images(2, 3, 0), measures={"score": np.zeros(2), "age": np.zeros(2)})
    assert view(slides([slide("x"), other])).measures == ("score", "norm", "age")


def test_a_layer_without_units_is_shown_and_drawn_by_nobody() -> None:
    drawn = view(slides([slide("x", units=0), slide("y", units=5)]))
    assert [layer.data["units"] for layer in drawn.layers] == [0, 5]
    assert drawn.units == 5


def test_two_layers_of_one_name_and_two_plates_of_one_layer_have_links_of_their_own() -> None:
    first, second = slides([slide("x"), slide("x")]), slides([slide("x")], key="more")
    (chapter,) = gather(Given("a", (first, second)))
    assert slide_anchors(chapter.plates[0], ["x", "x"], chapter) == ["layer/x", "layer/x~2"]
    assert slide_anchors(chapter.plates[1], ["x"], chapter) == ["plate/more/layer/x"]


@pytest.mark.parametrize(
    ("names", "stem"),
    [
        (["a.b.one", "a.b.two"], "a.b."),
        (["a.b", "a.bc"], "a."),
        (["a.b", "a.b.c"], "a."),
        (["one"], ""),
        (["x", "y"], ""),
        ([], ""),
    ],
)
def test_the_contents_write_once_what_all_names_begin_with(names: list[str], stem: str) -> None:
    assert view(slides([slide(name) for name in names])).stem == stem


def test_the_cover_shows_every_marked_layer_of_a_deep_network_and_some_between() -> None:
    layers = [slide(f"l{place}", units=4, marked=place in (3, 97)) for place in range(100)]
    shown = frontispiece(slides(layers), [f"layer/{layer.layer}" for layer in layers])
    names = [specimen.layer for specimen in shown]
    assert len(names) == FRONTISPIECE_LAYERS
    assert {"l0", "l3", "l97", "l99"} <= set(names)
    assert names == sorted(names, key=lambda name: int(name[1:]))


def test_the_cover_leaves_out_what_cannot_be_drawn() -> None:
    layers = [slide("x", units=0), slide("y")]
    assert [specimen.layer for specimen in frontispiece(slides(layers), ["layer/x", "layer/y"])] == ["y"]


def test_measures_that_do_not_fit_the_units_are_refused() -> None:
    with pytest.raises(ValueError, match=r"measure 'norm' of layer 'x' has shape \(2,\) for 3 units"):
        view(slides([SlideLayer("x", images(3, 3, 0), measures={"norm": np.zeros(2)})]))
