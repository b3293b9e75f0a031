from __future__ import annotations

import pytest

from weightatlas.parallel import BACKENDS, parallel_map


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "ray"])
@pytest.mark.parametrize("jobs", [1, 2, None])
def test_answers_come_in_the_order_of_the_items(backend: str, jobs: int | None) -> None:
    told = []
    answers = parallel_map(
        square,
        [3, 1, 2],
        jobs=jobs,
        backend=backend,  # type: ignore[arg-type]
        progress=lambda done, total, label: told.append((done, total, label)),
        label=lambda item: f"item {item}",
    )
    assert answers == [9, 1, 4]
    assert told == [(1, 3, "item 3"), (2, 3, "item 1"), (3, 3, "item 2")]


def test_nothing_to_do_is_done() -> None:
    assert parallel_map(square, []) == []


def test_an_error_in_the_work_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda number: 1 / number, [1, 0], jobs=2)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="threading, loky, dask, ray"):
        parallel_map(square, [1, 2], backend="celery")  # type: ignore[arg-type]
