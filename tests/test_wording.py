from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.result import csv_text, json_line
from weightatlas.wording import escaped, printable

HOSTILE = "\x1b[31m\x9b2J\a\r\n\t\0\u202e\u2066\u200b\ufeff\u2028\x85\ud800\U000e0041"


@given(st.text(st.characters(), max_size=400), st.integers(9, 300))
def test_what_is_shown_prints_and_is_short(text: str, limit: int) -> None:
    shown = printable(text, limit=limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode()


@given(st.text(max_size=50))
def test_what_prints_stays_as_it_is(text: str) -> None:
    plain = "".join(filter(str.isprintable, text))
    assert printable(plain, limit=50) == plain


def test_every_hostile_sign_is_seen() -> None:
    shown = printable(f"a{HOSTILE}b", limit=500)
    assert shown.startswith(r"a\x1b[31m\x9b2J\x07\r\n\t\x00\u202e\u2066\u200b\ufeff\u2028\x85\ud800\U000e0041b")


@pytest.mark.parametrize("length", [201, 10_000, 10_000_000])
def test_a_long_name_keeps_its_ends(length: int) -> None:
    shown = printable("start" + "x" * (length - 8) + "end")
    assert len(shown) == 200
    assert shown.startswith("startxxx")
    assert shown.endswith("xxxend")


@given(st.text(st.characters(), max_size=50))
def test_json_keeps_every_name_exactly_and_prints(name: str) -> None:
    line = json_line({"layer": name, "value": 1.5})
    assert line.isprintable()
    assert line.encode()
    assert json.loads(line)["layer"].encode("utf-16", "surrogatepass") == name.encode("utf-16", "surrogatepass")


def test_json_with_its_own_line_breaks_keeps_them() -> None:
    assert escaped('[\n  "\x9b"\n]') == '[\n  "\\u009b"\n]'


def test_csv_holds_what_utf_8_cannot() -> None:
    assert csv_text([{"layer": "=1+1\x1b\ud800"}], ("layer",)).encode() == b"layer\n=1+1\x1b\\ud800"
