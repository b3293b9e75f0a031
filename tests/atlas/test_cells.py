from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.atlas.cells import MINUS, THIN, axis_label, draw_strip, json_rows, plain, text_of
from weightatlas.plate import Column, Form, Strip


@pytest.mark.parametrize(
    ("form", "digits", "value", "text"),
    [
        ("signed", 3, 0.5, "+0.500"),
        ("signed", 2, -0.126, f"{MINUS}0.13"),
        ("signed", 2, -0.0001, "0.00"),
        ("number", 2, -3.14159, f"{MINUS}3.14"),
        ("number", 3, 1.5e-7, f"1.50e{MINUS}7"),
        ("number", 1, 2.5e9, "2.50e9"),
        ("number", 3, 0, "0.000"),
        ("integer", 3, 1234567, f"1{THIN}234{THIN}567"),
        ("integer", 3, np.int64(-4), f"{MINUS}4"),
        ("share", 3, 0.1234, f"12.3{THIN}%"),
        ("share", 2, 1, f"100{THIN}%"),
        ("probability", 3, 0.034, ".034"),
        ("probability", 3, 0.00099, "< .001"),
        ("probability", 3, 1.0, "1.000"),
        ("bytes", 3, 512, f"512{THIN}B"),
        ("bytes", 3, 2.5e6, f"2.5{THIN}MB"),
        ("shape", 3, [], "scalar"),
        ("shape", 3, (64, 3), "64 \N{MULTIPLICATION SIGN} 3"),
        ("strip", 2, Strip(0.5, -1, 1), "+0.50"),
        ("text", 3, True, "yes"),
        ("text", 3, ["a", "b"], "a, b"),
        ("number", 3, "not a figure", "not a figure"),
    ],
)
def test_a_value_is_written_in_the_form_of_its_column(form: Form, digits: int, value: object, text: str) -> None:
    assert text_of(value, Column("k", "label", form, digits)) == text


@pytest.mark.parametrize("form", ["layer", "integer", "number", "signed", "share", "probability", "bytes", "strip"])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, np.float32("nan")])
def test_what_is_missing_is_an_empty_cell_in_every_form(form: Form, value: object) -> None:
    assert text_of(value, Column("k", "label", form)) == ""


@given(st.floats(-2, 2), st.floats(-1, 0), st.floats(0, 1))
def test_a_strip_stays_on_its_axis_and_knows_what_lies_outside_its_null(value: float, low: float, high: float) -> None:
    drawing = draw_strip(Strip(value, low, high), Column("k", "label", "strip"))
    assert drawing.dot is not None
    assert drawing.bar is not None
    assert 0 <= drawing.dot <= 100
    assert drawing.bar[0] == pytest.approx(50 * (1 + low), abs=1e-3)
    assert drawing.bar[0] + drawing.bar[1] == pytest.approx(50 * (1 + high), abs=2e-3)
    assert drawing.zero == 50
    assert drawing.outside == (value < low or value > high)


def test_a_strip_without_null_or_value_draws_neither() -> None:
    column = Column("k", "label", "strip", domain=(1.0, 2.0))
    assert draw_strip(Strip(1.5, math.nan, math.nan), column).bar is None
    assert draw_strip(Strip(1.5, math.nan, math.nan), column).zero is None
    assert draw_strip(None, column).dot is None


def test_plain_values_are_json_whatever_they_were() -> None:
    value = {"a": (np.float32(1.5), np.nan, [np.int8(2)]), "b": object}
    assert json.loads(json.dumps([plain(item) for item in value["a"]])) == [1.5, None, [2]]  # type: ignore[attr-defined]
    assert plain(object).startswith("<class")


def test_rows_keep_every_field_and_strips_become_three() -> None:
    data = json_rows(({"a": 1}, {"b": Strip(0.5, 0.1, 0.2), "extra": "x"}, {"b": None}), ("b", "a"))
    assert data["fields"] == ["b", "b_low", "b_high", "a", "extra"]
    assert data["rows"] == [[None, None, None, 1, None], [0.5, 0.1, 0.2, None, "x"], [None, None, None, None, None]]
    out = io.StringIO()
    csv.writer(out).writerows(data["rows"])
    assert out.getvalue().count("\n") == 3


def test_axis_labels_are_short() -> None:
    assert [axis_label(number) for number in (-1.0, 0.0, 0.5)] == [f"{MINUS}1", "0", "+0.5"]
