from __future__ import annotations

from typing import Any, cast
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.atlas.plates_for_tests import Given, row, small, table
from weightatlas.atlas.chapters import encoded, gather
from weightatlas.plate import Finding, Subject


def test_results_of_one_source_share_a_chapter_even_when_another_comes_between() -> None:
    first = Given("a", (Subject("A", ("float32",)), table([row("x", 0.1)])))
    other = Given("b", (table([row("y", 0.1)]),))
    again = Given("a", (Subject("ignored", ("float32", "2 MB")), table([row("x", 0.2)], key="second")))
    chapters = gather([first, other, again])
    assert [chapter.source for chapter in chapters] == ["a", "b"]
    assert chapters[0].subject == Subject("A", ("float32", "2 MB"))
    assert chapters[1].subject == Subject("b")
    assert [plate.number for chapter in chapters for plate in chapter.plates] == [1, 2, 3]


def test_links_of_later_chapters_name_their_chapter() -> None:
    chapters = gather([small("a"), small("b")])
    anchors = [plate.anchor for chapter in chapters for plate in chapter.plates]
    assert anchors[:3] == ["plate/banding", "plate/depth", "plate/slides"]
    assert anchors[3:] == [f"chapter-2/{anchor}" for anchor in anchors[:3]]
    assert chapters[1].layer_anchor("x/y") == "chapter-2/layer/x%2Fy"


def test_findings_stand_in_order_of_importance_and_know_their_plate() -> None:
    given_ = Given("a", (Finding("low"), Finding("high", plate="banding", importance=2.0), table([])))
    (chapter,) = gather(given_)
    assert [finding.statement for finding in chapter.findings] == ["high", "low"]
    plate = chapter.plate_of(chapter.findings[0])
    assert plate is not None
    assert plate.number == 1
    assert chapter.plate_of(chapter.findings[1]) is None


def test_the_same_source_shown_again_begins_another_chapter() -> None:
    chapters = gather([small("a"), small("a"), small("b")])
    assert [chapter.source for chapter in chapters] == ["a", "a (2)", "b"]
    anchors = [plate.anchor for chapter in chapters for plate in chapter.plates]
    assert len(set(anchors)) == len(anchors)


def test_two_plates_of_one_key_are_refused() -> None:
    with pytest.raises(ValueError, match="two plates of 'a' have the key 'banding'"):
        gather(Given("a", (table([]), table([]))))


def test_what_is_no_plate_is_refused() -> None:
    with pytest.raises(TypeError, match="gave a str where a plate belongs"):
        gather(Given("a", cast("Any", ("a sentence",))))


@given(st.text())
def test_a_name_survives_its_link_and_cannot_leave_it(name: str) -> None:
    link = encoded(name)
    assert unquote(link) == name
    assert not set(link) & set("<>\"'/&#? ")
