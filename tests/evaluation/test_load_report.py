from __future__ import annotations

import pytest

from weightatlas.evaluation import Cast, LoadReport, Reshaped
from weightatlas.evaluation.load_report import COLUMNS

REPORT = LoadReport(
    "net.pt",
    loaded=("a", "b", "c"),
    missing=("d", "count"),
    optional=("count",),
    extra=("x",),
    reshaped=(Reshaped("b", (4, 3), (4, 3, 1, 1), loaded=True), Reshaped("e", (4,), (5,), loaded=False)),
    cast=(Cast("c", "float16", "float32", loaded=True), Cast("e", "float16", "float32", loaded=True)),
    not_finite=("a",),
)


def test_what_is_required_and_what_was_refused() -> None:
    assert REPORT.required == ("d",)
    assert REPORT.refused == ("e",)
    assert not REPORT.complete
    assert LoadReport("net.pt", ("a",), missing=("count",), optional=("count",)).complete


def test_one_sentence_says_it_all() -> None:
    expected = (
        "three tensors of net.pt loaded, two missing, one of another shape or type left out, one left over, "
        "one reshaped, two cast, one not finite"
    )
    assert REPORT.summary == expected
    assert LoadReport("net.pt", ("a",)).summary == "one tensor of net.pt loaded"


def test_every_tensor_is_one_row() -> None:
    rows = {row["tensor"]: row for row in REPORT.rows()}
    outcomes = {key: row["outcome"] for key, row in rows.items()}
    assert outcomes == {
        "a": "loaded", "b": "reshaped", "c": "cast", "e": "refused", "d": "missing", "count": "missing", "x": "extra",
    }  # fmt: skip
    assert rows["b"]["model_shape"] == [4, 3, 1, 1]
    assert rows["c"]["checkpoint_dtype"] == "float16"
    assert rows["a"]["model_shape"] is None


def test_the_frame_has_the_rows_and_always_the_columns() -> None:
    pytest.importorskip("pandas")
    assert REPORT.frame().shape == (7, len(COLUMNS))
    assert list(LoadReport("net.pt", ()).frame().columns) == list(COLUMNS)


def test_a_value_beyond_the_models_type_is_refused_with_its_reason() -> None:
    refused = Cast("a", "float32", "float16", loaded=False, reason="it holds 100000, and float16 ends at 65504")
    report = LoadReport("net.pt", ("b",), cast=(refused, Cast("b", "float32", "float16", loaded=True)))
    assert report.refused == ("a",)
    assert not report.complete
    rows = {row["tensor"]: (row["outcome"], row["reason"]) for row in report.rows()}
    assert rows == {"a": ("refused", refused.reason), "b": ("cast", None)}
