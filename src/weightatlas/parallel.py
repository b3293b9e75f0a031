"""One map over independent work, on joblib: threads, processes, Dask or Ray, as the user chooses."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

import joblib
from joblib.externals.loky.backend.reduction import dumps
from threadpoolctl import threadpool_limits

from weightatlas.errors import MissingDependencyError, WeightatlasError
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Backend = Literal["threading", "loky", "dask", "ray"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


class WorkerLostError(WeightatlasError, RuntimeError):
    """The process that worked on an item is gone: killed, or out of memory."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """What an item raised, on its way back from a worker."""

    error: Exception


def parallel_map(
    function: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    jobs: int | None = None,
    backend: Backend = "threading",
    isolated: bool = False,
    on_error: Callable[[Item, Exception], Answer] | None = None,
    on_answer: Callable[[Item, Answer], None] | None = None,
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
        isolated: let no two items share a process at one time, as work needs that sets a process's own state (threads,
            random numbers): a local Dask cluster is then one of processes.
        on_error: what stands for an item whose work raised, or whose process died; the others go on. None raises the
            first error. Where a process dies, what it may have been working on is done again, one item at a time, to
            find which one killed it.
        on_answer: called here with each item and its answer, in order, as they come: what must not be lost is kept so.
        progress: called once for each finished item, in order, after that.
        label: names an item for `progress`.

    Raises:
        ValueError: `backend` is not one of the four, or is threads (or a client with several a worker) where items
            are `isolated`; or `function` cannot be sent to other processes.
        PicklingError: an item cannot be sent to them.
        MissingDependencyError: Dask or Ray is asked for and not installed.

    Example:
        >>> parallel_map(abs, [-2, 3, -5], jobs=2)
        [2, 3, 5]
        >>> parallel_map(float, ["1", "one"], jobs=1, on_error=lambda text, error: float("nan"))
        [1.0, nan]
    """
    if backend not in BACKENDS:
        message = f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}"
        raise ValueError(message)
    workers = joblib.cpu_count() if jobs is None else jobs
    collected = _Collected(items, on_error, on_answer, progress, label)
    work = function if on_error is None else partial(_attempt, function)
    if workers == 1 or len(items) <= 1:
        collected.take(work(item) for item in items)
        return collected.answers
    if isolated and backend == "threading":
        message = "threads share a process: with isolated items take backend loky, dask or ray"
        raise ValueError(message)
    if backend != "threading":
        _check_portable(function)
    # The items are the parallel work: matrix products with threads of their own would wait for each other.
    with (
        _scheduler(backend, workers, isolated=isolated),
        threadpool_limits(1, user_api="blas"),
        joblib.parallel_config(backend=backend, n_jobs=workers),
        warnings.catch_warnings(),
    ):
        # loky starts a fresh process for one whose memory has grown: nothing is lost, and there is nothing to do
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given", category=UserWarning)
        while collected.left:
            try:
                collected.take(_side_by_side(work, collected.left, backend))
            except Exception as error:
                if on_error is None or collected.fault is not None or isinstance(error, pickle.PicklingError):
                    raise  # what cannot be sent to a process has not killed it
                _one_at_a_time(work, collected, collected.left[:workers], backend, error)
    return collected.answers


def _check_portable(function: Callable[[Item], Answer]) -> None:
    """Refuse what cannot be sent to another process: a pool would wait for it, or take its process for dead."""
    try:
        dumps(function)
    except Exception as error:
        message = f"the work cannot be sent to other processes ({error}); give a function of a module"
        raise ValueError(message) from error


def _side_by_side(
    work: Callable[[Item], Answer | _Failed], items: Sequence[Item], backend: Backend
) -> Iterator[Answer | _Failed]:
    """Do the items in a pool."""
    # Ray hands back everything at once; the others in order, as it comes.
    pool = joblib.Parallel(return_as="list" if backend == "ray" else "generator", mmap_mode="r")
    return iter(pool(joblib.delayed(work)(item) for item in items))


def _one_at_a_time(
    work: Callable[[Item], Answer | _Failed],
    collected: _Collected[Item, Answer],
    suspects: Sequence[Item],
    backend: Backend,
    error: Exception,
) -> None:
    """Do again what was under way when a process died, each item alone in the pool."""
    for item in suspects:
        try:
            answer = next(_side_by_side(work, [item], backend))
        except Exception as again:  # noqa: BLE001 - each pool has an error of its own for a lost process
            lost = WorkerLostError("its process died; memory may have run out: try fewer jobs, or smaller batches")
            lost.__cause__ = again if isinstance(again, type(error)) else error
            answer = _Failed(lost)
        collected.take(iter([answer]))


def _attempt(function: Callable[[Item], Answer], item: Item) -> Answer | _Failed:
    """Do one item and send back what it raises: an error that does not survive the trip would break the pool."""
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - `on_error` judges it
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - made here, a line above
        except Exception:  # noqa: BLE001 - whatever its own `__reduce__` does
            return _Failed(RuntimeError(f"{type(error).__name__}: {error}"))
        return _Failed(error)


class _Collected(Generic[Item, Answer]):
    """The answers so far, in the order of the items; what failed is replaced as the caller wants."""

    def __init__(
        self,
        items: Sequence[Item],
        on_error: Callable[[Item, Exception], Answer] | None,
        on_answer: Callable[[Item, Answer], None] | None,
        progress: Progress,
        label: Callable[[Item], str],
    ) -> None:
        self.answers: list[Answer] = []
        self.fault: BaseException | None = None
        self._items, self._on_error, self._on_answer = items, on_error, on_answer
        self._progress, self._label = progress, label

    @property
    def left(self) -> Sequence[Item]:
        """The items that have no answer yet."""
        return self._items[len(self.answers) :]

    def take(self, answers: Iterator[Answer | _Failed]) -> None:
        """Take answers as they come; what the caller's own functions raise is noted as such."""
        for answer in answers:
            item = self._items[len(self.answers)]
            try:
                self.answers.append(self._replaced(item, answer.error) if isinstance(answer, _Failed) else answer)
                if self._on_answer is not None:
                    self._on_answer(item, self.answers[-1])
                self._progress(len(self.answers), len(self._items), self._label(item))
            except BaseException as fault:
                self.fault = fault
                raise

    def _replaced(self, item: Item, error: Exception) -> Answer:
        if self._on_error is None:
            raise error
        return self._on_error(item, error)


@contextlib.contextmanager
def _scheduler(backend: Backend, workers: int, *, isolated: bool) -> Iterator[Any]:
    """Stand up what a backend needs before joblib can use it."""
    if backend == "dask":
        try:
            from dask import distributed
        except ImportError as error:
            need = "the dask backend"
            raise MissingDependencyError(need, "dask.distributed", "dask") from error
        try:
            client: Any = distributed.get_client()
        except ValueError:
            processes = {"n_workers": workers, "threads_per_worker": 1} if isolated else {}
            made: Any = distributed.Client
            with made(processes=isolated, dashboard_address=":0", **processes) as client:
                yield client
            return
        if isolated and max(client.nthreads().values(), default=1) > 1:
            message = "the Dask client's workers have several threads; isolated items need workers of one thread each"
            raise ValueError(message)
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
