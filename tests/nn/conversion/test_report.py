from __future__ import annotations

import pytest
from torch import nn

from weightatlas.nn.conversion.report import (
    COLUMNS,
    Conversion,
    ConvertedLayer,
    Folding,
    outcome_chart,
    summarised,
)

LAYERS = (
    ConvertedLayer("a", "convolution", "Conv2d", pair="b").done("WSConv2d", carried="weights", standardized=True),
    ConvertedLayer("b", "norm", "BatchNorm2d", pair="a").done("GroupNorm", carried="", groups=4),
    ConvertedLayer("c", "convolution", "Conv2d", evidence="seen").left("depthwise", standardized=False),
)


def test_a_sentence_counts_what_was_changed_of_what_there_is() -> None:
    assert summarised(LAYERS, "converted") == "one of two convolutions and one of one norm converted"
    assert summarised(LAYERS[2:], "folded") == "none of one convolution folded"
    assert summarised(LAYERS[1:2] * 13, "folded") == "13 of 13 norms folded"
    assert summarised([ConvertedLayer("d", "other", "Linear", "Linear")], "folded") == (
        "neither convolutions nor norms"
    )


@pytest.mark.parametrize(
    ("result", "summary"),
    [
        (
            Conversion("Net", nn.ReLU(), "ws+gn", LAYERS),
            "Net to ws+gn: one of two convolutions and one of one norm converted",
        ),
        (Folding("Net", nn.ReLU(), LAYERS), "Net: one of two convolutions and one of one norm folded"),
    ],
)
def test_a_result_has_a_row_for_each_layer_and_no_plate(result: Conversion | Folding, summary: str) -> None:
    assert result.summary == summary
    assert [tuple(row) for row in result.rows()] == [COLUMNS] * 3
    assert result.rows("layers") == result.rows()
    assert [(row["after"], row["carried"], row["skipped"]) for row in result.rows()] == [
        ("WSConv2d", "weights", None),
        ("GroupNorm", "", None),
        (None, None, "depthwise"),
    ]
    assert [row["standardized"] for row in result.rows()] == [True, None, False]
    assert [result.frame()[column].isna().sum() for column in ("after", "carried", "groups")] == [1, 1, 2]
    assert result.plates() == ()
    with pytest.raises(KeyError, match="layers"):
        result.rows("units")


def test_a_layer_that_is_changed_or_left_keeps_what_was_known_of_it() -> None:
    entry = ConvertedLayer("a", "convolution", "Conv2d", pair="b", evidence="order")
    for after in (entry.done("WSConv2d", carried="weights"), entry.left("depthwise")):
        assert (after.layer, after.kind, after.before, after.pair, after.evidence) == (
            *("a", "convolution", "Conv2d"),
            *("b", "order"),
        )
    assert (entry.after, entry.skipped) == (None, None)


def test_the_chart_counts_every_layer_once() -> None:
    drawn = outcome_chart(LAYERS * 3).to_dict()
    counted = {(value["before"], value["after"]): value["layers"] for value in drawn["data"]["values"]}
    assert counted == {
        ("Conv2d", "WSConv2d"): 3,
        ("Conv2d", "left as it was"): 3,
        ("BatchNorm2d", "GroupNorm"): 3,
    }
    assert outcome_chart([]).to_dict()["data"]["values"] == []
