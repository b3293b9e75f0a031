"""A run's folder: manifest, metrics, checkpoints with the optimiser's state beside; whole whenever it is looked at."""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from weightatlas.errors import SourceError
from weightatlas.files import replacing
from weightatlas.result import json_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from weightatlas.result import Row

MANIFEST: Final = "manifest.json"
METRICS: Final = "metrics.jsonl"
RESULT: Final = "result.json"
OWN: Final = (METRICS, RESULT, "checkpoints", "optimizer")
ENTRY: Final = "training"
"""The one entry of metadata in a checkpoint, JSON: safetensors writes several in an order that changes."""

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NUMBER: Final = re.compile(r"os error (\d+)")
"""How safetensors says which error of the system it met."""


class RunFolder:
    """One run on disk.

    Layout: `manifest.json` says what the run is; `metrics.jsonl` has a row a step; `checkpoints/step-00000400` and
    `optimizer/step-00000400` (both `.safetensors`) are the weights and the optimiser's state after 400 updates;
    `result.json` is there when the run has ended. A file is written beside its place and renamed, weights after the
    state: where weights are, the state is whole. While the run lasts, the newest two are kept with their states: should
    a machine that fails spoil the last, the run goes on from the one before. Only one process at a time can hold a
    folder open.

    Attributes:
        path: the folder.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the folder; nothing is made yet."""
        self.path = Path(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep other processes out of it while the block runs; a killed process lets go.

        Raises:
            SourceError: another process trains here, it is no folder, or nothing can be written here.
        """
        if self.path.exists() and not self.path.is_dir():
            raise SourceError(self.path, "it is a file", "name a folder to keep the run in")
        with self.writing("its lock"):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            _lock(handle, self.path)
            self._sweep()
            yield
        finally:
            os.close(handle)

    def checkpoint(self, step: int) -> Path:
        """Where the weights after so many updates lie."""
        return self.path / "checkpoints" / f"step-{step:08d}.safetensors"

    def optimizer(self, step: int) -> Path:
        """Where the optimiser's state after so many updates lies."""
        return self.path / "optimizer" / f"step-{step:08d}.safetensors"

    def claim(self, manifest: Mapping[str, Any]) -> None:
        """Write what the run is, or see that the folder holds the same one already.

        Raises:
            SourceError: it holds another run or files of no run, what it holds cannot be read, or it cannot be written.
        """
        place = self.path / MANIFEST
        if place.is_file():
            earlier = _read_json(place, "remove the folder to train anew")
            differing = [key for key in ("configuration", "data") if earlier.get(key) != manifest.get(key)]
            if differing:
                problem = f"it holds another run (its {' and '.join(differing)} differ)"
                raise SourceError(self.path, problem, "name another folder, or remove this one")
            return
        foreign = next((name for name in OWN if (self.path / name).exists()), None)
        if foreign is not None:  # what is there might be anyone's, and a run rewrites and removes what it finds
            raise SourceError(self.path, f"it holds {foreign} and no {MANIFEST}", "name another folder, or empty it")
        with self.writing("its manifest"), replacing(place) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def result(self) -> dict[str, Any] | None:
        """What the run came to; None where it has not ended."""
        place = self.path / RESULT
        remedy = "remove it: it is made again from the last checkpoint"
        return _read_json(place, remedy) if place.is_file() else None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write what the run came to."""
        with self.writing("its result"), replacing(self.path / RESULT) as temporary:
            temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def saved(self) -> tuple[int, ...]:
        """The numbers of updates after which both files are there, in order."""
        return tuple(step for step in self._steps("checkpoints") if self.optimizer(step).is_file())

    def save(self, step: int, model: torch.nn.Module, state: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write a checkpoint.

        Args:
            step: updates made.
            model: its weights and buffers.
            state: the optimiser's `state_dict`.
            record: what else a resumed run needs; it goes into the metadata of the optimiser's file, so that the
                weights' are the same bytes whenever they are the same weights.

        Raises:
            SourceError: the disk is full, or the folder cannot be written; what was saved before is untouched.
        """
        weights, tied = _savable(model.state_dict())
        tensors, figures = _flattened(state)
        with self.writing(f"step {step}"):
            for path, content, more in (
                (self.optimizer(step), tensors, {**record, "figures": figures}),
                (self.checkpoint(step), weights, {"tied": tied}),
            ):
                metadata = {ENTRY: json.dumps({"step": step, **more})}
                with replacing(path) as temporary:
                    save_file(content, temporary, metadata=metadata)

    def load(self, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Put a checkpoint back into a model and its optimiser, bit for bit.

        Returns:
            The record it was saved with.

        Raises:
            SourceError: a file is corrupt or of another network.
        """
        weights, described = _load(self.checkpoint(step))
        tensors, record = _load(self.optimizer(step))
        try:
            missing, unexpected = model.load_state_dict(weights, strict=False)
            _fitted(set(missing) ^ set(described["tied"]) | set(unexpected))
            optimizer.load_state_dict(_nested(tensors, record["figures"], optimizer))
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            problem = f"its state does not fit this network ({' '.join(str(error).split())[:200]})"
            raise SourceError(self.checkpoint(step), problem, "remove the folder to train anew") from error
        return record

    def forget(self, *, after: int, keep: frozenset[int], spare: int = 1) -> None:
        """Remove checkpoints that are not to be kept, old states of the optimiser, and what came after.

        Args:
            after: updates made.
            keep: after how many updates checkpoints stay.
            spare: how many stay, with their states, beside the newest.
        """
        fresh = [step for step in self.saved() if step <= after][-1 - spare :]
        for step in self._steps("optimizer"):
            if step not in fresh:
                self.optimizer(step).unlink(missing_ok=True)
        for step in self._steps("checkpoints"):
            if step not in fresh and (step not in keep or step > after):
                self.checkpoint(step).unlink(missing_ok=True)

    def log(self, rows: list[Row]) -> None:
        """Append rows to the metrics, whole lines at a time."""
        text = "".join(json_line(row) + "\n" for row in rows)
        with self.writing("its metrics"), (self.path / METRICS).open("ab") as file:
            file.write(text.encode())

    def rows(self) -> list[Row]:
        """The metrics so far; a last line that a kill cut short is left out.

        Raises:
            SourceError: another line is no row of metrics.
        """
        place = self.path / METRICS
        if not place.is_file():
            return []
        rows: list[Row] = []
        for number, line in enumerate(place.read_bytes().rpartition(b"\n")[0].split(b"\n"), start=1):
            try:
                row = json.loads(line) if line else None
            except ValueError:
                row = {}
            if row is not None and (not isinstance(row, dict) or not isinstance(row.get("step"), int)):
                raise SourceError(place, f"line {number} is no row of metrics", "remove that line")
            rows += [] if row is None else [row]
        return rows

    def rewind(self, step: int) -> list[Row]:
        """Drop the metrics of updates after `step`, which will be made again, and give the rest."""
        rows = [row for row in self.rows() if row["step"] <= step]
        with self.writing("its metrics"), replacing(self.path / METRICS) as temporary:
            temporary.write_text("".join(json_line(row) + "\n" for row in rows), encoding="utf-8")
        return rows

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn a disk that is full, or refuses, into one sentence that says what is safe.

        Raises:
            SourceError: the block could not write.
        """
        try:
            yield
        except (OSError, SafetensorError) as error:
            said = NUMBER.search(str(error))
            number = error.errno if isinstance(error, OSError) else int(said[1]) if said else None
            if number is None:
                raise
            full = number in FULL
            saved = self.saved()
            safe = f"its last good checkpoint is of step {saved[-1]}" if saved else "nothing was saved yet"
            then = ": the run goes on from there" if saved else ""
            reason = f"no space is left for {what}" if full else f"{what} cannot be written ({os.strerror(number)})"
            remedy = "make room and start again" if full else "see that it can be written to, and start again"
            raise SourceError(self.path, f"{reason}; {safe}", remedy + then) from error

    def _sweep(self) -> None:
        """Remove what a killed process was writing."""
        own = [f".{Path(name).stem}-*{Path(name).suffix}" for name in (MANIFEST, METRICS, RESULT)]
        steps = [f"{kind}/{name}" for kind in ("checkpoints", "optimizer") for name in (".step-*", ".tmp*")]
        if not (self.path / MANIFEST).is_file():  # no run has begun here, so those are another's
            steps = []
        for pattern in (*own, *steps):  # `.tmp*` is safetensors' own
            for left in self.path.glob(pattern):
                left.unlink(missing_ok=True)

    def _steps(self, kind: str) -> list[int]:
        names = [path.stem.removeprefix("step-") for path in (self.path / kind).glob("step-*.safetensors")]
        return sorted(int(name) for name in names if name.isdigit())


def _fitted(foreign: set[str]) -> None:
    """See that no tensor was too many or too few."""
    if foreign:
        message = f"{min(foreign)} does not fit"
        raise ValueError(message)


def _lock(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on Windows; there two processes in one folder are the user's care
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SourceError(path, "another process trains here", "wait for it, or name another folder") from error
    except OSError:  # a file system without locks, as on Windows
        return


def _savable(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Contiguous tensors on the CPU, and the names of those that are the same tensor as an earlier one."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    kept: dict[str, torch.Tensor] = {}
    tied: list[str] = []
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and key in seen:
            tied.append(name)
            continue
        seen.add(key)
        kept[name] = tensor.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
    return kept, tied


def _flattened(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """An optimiser's state as tensors named `parameter/what`, and what of it is no tensor."""
    tensors: dict[str, torch.Tensor] = {}
    figures: dict[str, dict[str, Any]] = {}
    for number, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}/{name}"] = value.detach().to("cpu").contiguous()
            else:
                figures.setdefault(str(number), {})[name] = value
    return tensors, figures


def _nested(
    tensors: Mapping[str, torch.Tensor], figures: Mapping[str, Mapping[str, Any]], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The `state_dict` again; the groups' settings are those of the recipe, set anew at every step."""
    entries: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in figures.items()}
    for name, tensor in tensors.items():
        number, _, what = name.partition("/")
        entries.setdefault(int(number), {})[what] = tensor
    return {"state": entries, "param_groups": optimizer.state_dict()["param_groups"]}


def _load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[ENTRY])
            return {name: file.get_tensor(name) for name in file.keys()}, record  # noqa: SIM118 - it is not a mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        problem = f"cannot be read ({' '.join(str(error).split())[:200]})"
        raise SourceError(path, problem, "remove it: the run goes on from the checkpoint before") from error


def _read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(path, f"cannot be read ({error})", remedy) from error
    if not isinstance(content, dict):
        raise SourceError(path, "no JSON object", remedy)
    return content
