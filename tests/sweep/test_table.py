from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sweep.networks import COUNT, LIST
from tests.sweep.table import passed, refresh, table

if TYPE_CHECKING:
    from pathlib import Path

STEP: dict[str, Any] = {"input": [2, 3, 32, 32], "unreached": [], "zero": [], "not_finite": []}


def record(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a line of JSON
    return {
        "source": f"torchvision:{name}",
        "family": "torchvision, x",
        "recipe": "ws+gn",
        "outcome": "converted",
    } | more


RECORDS = [
    record("a", counts={"convolution": [3, 4], "norm": [2, 2]}, **STEP),
    record("b", counts={"convolution": [1, 1], "norm": [1, 1]}, **(STEP | {"zero": ["conv"]})),
    record(
        "c", outcome="refused", reason="nothing in it becomes ws+gn: it has one convolution and two layer norms; no"
    ),
    record("d", outcome="stopped", reason="it took more than 600 s"),
]
LARGER = record(
    "e",
    counts={"convolution": [1, 1], "norm": [1, 1]},
    smaller=[STEP | {"not_finite": ["stem", "conv"]}],
    **(STEP | {"input": [2, 3, 64, 64]}),
)


def test_every_network_stands_in_the_table_or_below_it() -> None:
    text = table(RECORDS)
    assert "| torchvision, x | 4 | 2 | 1 | 4 of 5 | 3 of 3 |" in text
    assert "- layer norms, with no norm to replace and none right behind a convolution (1): `torchvision:c`" in text
    assert "- `torchvision:b`, ws+gn: 1 with a gradient of zero (conv)" in text
    assert "- `torchvision:d`, ws+gn: it took more than 600 s" in text
    assert [passed(one) for one in RECORDS] == [True, False, False, False]


def test_a_step_that_is_whole_on_a_larger_input_only_counts_and_says_so() -> None:
    text = table([*RECORDS, LARGER])
    assert "| torchvision, x | 5 | 3 | 2 | 5 of 6 | 4 of 4 |" in text
    assert "A whole step on a larger input than the smallest only:" in text
    assert "- `torchvision:e`, ws+gn: at 64; at 32 2 not finite (stem, conv)" in text
    assert "larger input" not in table(RECORDS)


def test_the_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- sweep: begin -->\nold\n<!-- sweep: end -->\nafter\n", encoding="utf-8")
    refresh(page, RECORDS)
    refresh(page, RECORDS)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- sweep: begin -->\n\n| family")
    assert text.endswith("<!-- sweep: end -->\nafter\n")
    assert "old" not in text
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table"):
        refresh(page, RECORDS)


def test_the_list_has_as_many_networks_as_it_says() -> None:
    names = LIST.read_text(encoding="utf-8").split()
    assert names == sorted(set(names))
    assert len(names) == COUNT
