from __future__ import annotations

import os
import pickle
import threading
import time

import numpy as np
import numpy.typing as npt
import pytest

from weightatlas.parallel import BACKENDS, parallel_map

HELD: list[npt.NDArray[np.float64]] = []


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


def reciprocal(number: int) -> float:
    if number == 7:
        os._exit(1)
    if number == 8:
        raise StubbornError(number, "no way back")
    return 1 / number


class StubbornError(Exception):
    """An error that cannot be pickled back, as some libraries' are."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} from {number}")


def told(number: int, error: Exception) -> str:
    return f"{number}: {type(error).__name__} {error}"


@pytest.mark.parametrize(("jobs", "backend"), [(1, "threading"), (2, "threading"), (2, "loky"), (2, "dask")])
def test_an_error_in_one_item_does_not_lose_the_others(jobs: int, backend: str) -> None:
    answers: list[float | str] = parallel_map(
        reciprocal,
        [1, 0, 8, 2],
        jobs=jobs,
        backend=backend,  # type: ignore[arg-type]
        on_error=told,
    )
    assert answers[:2] == [1.0, "0: ZeroDivisionError division by zero"]
    assert str(answers[2]).endswith("no way back from 8")
    assert answers[3] == 0.5


def test_a_process_that_dies_loses_its_own_item_only() -> None:
    answers: list[float | str] = parallel_map(
        reciprocal, [1, 7, 2, 4, 7, 5], jobs=2, backend="loky", on_error=lambda _item, error: type(error).__name__
    )
    assert answers == [1.0, "WorkerLostError", 0.5, 0.25, "WorkerLostError", 0.2]


def test_what_the_callers_own_functions_raise_comes_through() -> None:
    def refuse(done: int, total: int, label: str) -> None:
        message = f"{label}, {done} of {total}"
        raise KeyError(message)

    for jobs in (1, 2):
        with pytest.raises(KeyError, match="first"):
            parallel_map(
                square, [1, 2], jobs=jobs, on_error=lambda _item, _error: 0, progress=refuse, label=lambda _: "first"
            )


def process(_item: int) -> int:
    time.sleep(0.2)
    return os.getpid()


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_isolated_items_have_processes_of_their_own(backend: str) -> None:
    answers = parallel_map(process, [1, 2], jobs=2, backend=backend, isolated=True)  # type: ignore[arg-type]
    assert len({os.getpid(), *answers}) == 3


def test_isolated_items_are_refused_where_a_process_would_be_shared() -> None:
    with pytest.raises(ValueError, match="threads share a process"):
        parallel_map(square, [1, 2], jobs=2, isolated=True)
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.Client(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"),
        pytest.raises(ValueError, match="one thread each"),
    ):
        parallel_map(square, [1, 2], jobs=2, backend="dask", isolated=True)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_work_that_cannot_be_sent_is_said_and_kills_no_process(backend: str) -> None:
    lock = threading.Lock()
    with pytest.raises(ValueError, match="cannot be sent to other processes"):
        parallel_map(lambda number: lock and number, [1, 2], jobs=2, backend=backend, on_error=told)  # type: ignore[arg-type]


def test_items_that_cannot_be_sent_are_an_error_of_the_call() -> None:
    with pytest.raises(pickle.PicklingError):
        parallel_map(id, [threading.Lock(), threading.Lock()], jobs=2, backend="loky", on_error=lambda _item, _error: 0)


@pytest.mark.parametrize(("jobs", "backend"), [(1, "threading"), (2, "threading"), (2, "loky"), (2, "dask")])
def test_answers_are_handed_over_in_order_before_progress_is_told(jobs: int, backend: str) -> None:
    events: list[tuple[str, object]] = []
    parallel_map(
        reciprocal,
        [1, 0, 2],
        jobs=jobs,
        backend=backend,  # type: ignore[arg-type]
        on_error=lambda _item, _error: -1.0,
        on_answer=lambda item, answer: events.append(("answer", (item, answer))),
        progress=lambda done, _total, _label: events.append(("done", done)),
    )
    expected = [
        ("answer", (1, 1.0)),
        ("done", 1),
        ("answer", (0, -1.0)),
        ("done", 2),
        ("answer", (2, 0.5)),
        ("done", 3),
    ]
    assert events == expected


@pytest.mark.parametrize("jobs", [1, 2])
def test_answers_handed_over_before_an_error_are_not_lost(jobs: int) -> None:
    kept: list[tuple[int, float]] = []
    is_kept = threading.Event()

    def keep(item: int, answer: float) -> None:
        kept.append((item, answer))
        is_kept.set()

    def late(item: int) -> float:
        return 1 / item if item else 1 / (item * is_kept.wait(10))

    with pytest.raises(ZeroDivisionError):
        parallel_map(late, [1, 0, 2], jobs=jobs, on_answer=keep)
    assert kept == [(1, 1.0)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_answers_come_while_others_are_still_under_way(jobs: int) -> None:
    first = threading.Event()

    def wait(item: int) -> bool:
        return item < 2 or first.wait(10)

    answers = parallel_map(
        wait, list(range(2 + 4 * jobs)), jobs=jobs, on_answer=lambda item, _answer: first.set() if item == 0 else None
    )
    assert all(answers)


def test_what_keeping_an_answer_raises_comes_through_and_is_not_taken_for_an_item() -> None:
    def full(_item: int, _answer: int) -> None:
        message = "no space left"
        raise OSError(message)

    for jobs in (1, 2):
        with pytest.raises(OSError, match="no space left"):
            parallel_map(square, [1, 2], jobs=jobs, on_error=lambda _item, _error: 0, on_answer=full)


def grows(number: int) -> int:
    """Hold more memory than loky lets a process grow by."""
    HELD.append(np.ones(50_000_000))
    time.sleep(1.1)  # it looks once a second
    return number


def test_a_process_that_has_grown_is_replaced_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    assert parallel_map(grows, range(8), jobs=2, backend="loky") == list(range(8))
    assert [str(one.message) for one in recwarn] == []
