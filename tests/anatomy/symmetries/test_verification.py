from __future__ import annotations

import numpy as np

from weightatlas.anatomy.symmetries.verification import offenders, shuffled


def test_bisection_finds_those_that_change_something_and_no_others() -> None:
    wrong = {"c", "f", "g"}
    asked: list[list[str]] = []

    def change(several: list[str]) -> float:
        asked.append(list(several))
        return float(len(wrong & set(several)))

    assert set(offenders(list("abcdefgh"), change)) == wrong  # type: ignore[arg-type]
    assert len(asked) <= 2 * len(wrong) * 4
    assert offenders(list("abd"), change) == {}  # type: ignore[arg-type]
    assert offenders([], change) == {}  # type: ignore[arg-type]


def test_those_that_change_something_only_together_are_all_named() -> None:
    found = offenders("abcd", lambda several: float({"a", "d"} <= set(several)))
    assert found == dict.fromkeys("abcd", 1.0)


def test_shuffles_move_something() -> None:
    generator = np.random.default_rng(0)
    assert all(shuffled(2, generator).tolist() == [1, 0] for _ in range(10))
    assert shuffled(1, generator).tolist() == [0]
