"""One map over independent work, on joblib: threads, processes, Dask or Ray, as the user chooses."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import joblib
from threadpoolctl import threadpool_limits

from weightatlas.errors import MissingDependencyError
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Backend = Literal["threading", "loky", "dask", "ray"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def parallel_map(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
    label: Callable[[Item], str] = str,
) -> list[Answer]:
    """Apply `function` to every item and return the answers in the order of the items.

    Args:
        function: pure; for every backend but threads it and its items must pickle.
        items: the independent pieces of work.
        jobs: how many run at once; None is one a core.
        backend: "threading" (the kernels here release the interpreter lock), "loky" (processes), "dask" (the current
            distributed client, or a local one made for this call), "ray".
        progress: called once for each finished item, in order.
        label: names an item for `progress`.

    Raises:
        ValueError: `backend` is not one of the four.
        MissingDependencyError: Dask or Ray is asked for and not installed.

    Example:
        >>> parallel_map(abs, [-2, 3, -5], jobs=2)
        [2, 3, 5]
    """
    if backend not in BACKENDS:
        message = f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}"
        raise ValueError(message)
    workers = joblib.cpu_count() if jobs is None else jobs
    if workers == 1 or len(items) <= 1:
        answers: Iterator[Answer] = (function(item) for item in items)
        return _collect(answers, items, progress, label)
    # The items are the parallel work: matrix products with threads of their own would wait for each other.
    with (
        _scheduler(backend),
        threadpool_limits(1, user_api="blas"),
        joblib.parallel_config(backend=backend, n_jobs=workers),
    ):
        # Ray hands back everything at once; the others in order, as it comes.
        pool = joblib.Parallel(return_as="list" if backend == "ray" else "generator", mmap_mode="r")
        return _collect(iter(pool(joblib.delayed(function)(item) for item in items)), items, progress, label)


def _collect(
    answers: Iterator[Answer], items: Sequence[Item], progress: Progress, label: Callable[[Item], str]
) -> list[Answer]:
    collected: list[Answer] = []
    for done, (item, answer) in enumerate(zip(items, answers, strict=True), start=1):
        collected.append(answer)
        progress(done, len(items), label(item))
    return collected


@contextlib.contextmanager
def _scheduler(backend: Backend) -> Iterator[Any]:
    """Stand up what a backend needs before joblib can use it."""
    if backend == "dask":
        try:
            from dask import distributed
        except ImportError as error:
            need = "the dask backend"
            raise MissingDependencyError(need, "dask.distributed", "dask") from error
        try:
            client = distributed.get_client()
        except ValueError:
            with distributed.Client(processes=False, dashboard_address=":0") as client:  # type: ignore[no-untyped-call]
                yield client
            return
        yield client
    elif backend == "ray":
        try:
            from ray.util.joblib import register_ray
        except ImportError as error:
            need = "the ray backend"
            raise MissingDependencyError(need, "ray", "ray") from error
        register_ray()
        yield None
    else:
        yield None
