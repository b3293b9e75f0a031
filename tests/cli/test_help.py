from __future__ import annotations

import pytest

from weightatlas.cli.help import shown_default


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (False, None),
        ((), None),
        (True, "True"),
        (0, "0"),
        (0.003, "0.003"),
        ("sgd", "sgd"),
        ((1 / 3, 0.5), "1/3 0.5"),
        ((0.333, 8 / 9), "0.333 8/9"),
    ],
)
def test_a_default_is_what_a_reader_can_take_in(value: object, shown: str | None) -> None:
    assert shown_default(value) == shown
