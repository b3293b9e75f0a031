"""Small training runs for tests: weights that move, written in any format, and figures by the slow, obvious way."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

from weightatlas.change.statistics import statistics
from weightatlas.change.survey import Options, _surveyed
from weightatlas.checkpoints import open_trajectory
from weightatlas.parallel import parallel_map
from weightatlas.progress import silent

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from weightatlas.change.changes import Changes
    from weightatlas.parallel import Backend
    from weightatlas.progress import Progress

Weights = dict[str, torch.Tensor]

SHAPES = {"conv1.weight": (8, 3, 5, 5), "conv2.weight": (9, 8, 3, 3), "fc.weight": (33, 40), "fc.bias": (33,)}
STEPS = (0, 1, 2, 3)
WEIGHTS = tuple(name for name in SHAPES if not name.endswith("bias"))
BYTES = 4 * sum(math.prod(SHAPES[name]) for name in WEIGHTS)
"""Bytes that are measured of each checkpoint, of float32."""

FIGURES = ("ratio_l1", "elementwise", "ratio_l2", "cosine", "from_start", "angle_from_start", "zeros")


def weights(step: int, dtype: torch.dtype = torch.float32, *, seed: int = 0) -> Weights:
    """Weights that walk at random, the same whenever they are asked for."""
    made = {}
    for place, (name, shape) in enumerate(SHAPES.items()):
        generator = torch.Generator().manual_seed(1000 * seed + place)
        values = torch.randn(shape, generator=generator)
        for _ in range(step):
            values = values + 0.05 * torch.randn(shape, generator=generator)
        values[0, ...] = 0.0 if place == 1 else values[0, ...]
        made[name] = values.to(dtype)
    return made


def save(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write a file in the format that its name claims."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {} if path.suffix in {".safetensors", ".pt"} else _arrays(state)
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    elif path.suffix == ".pt":
        torch.save(dict(state), path)
    elif path.suffix == ".npz":
        (np.savez_compressed if "deflated" in path.name else np.savez)(path, allow_pickle=False, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, **({"compression": "gzip"} if "deflated" in path.name else {}))


def _arrays(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in state.items()}


def write_run(
    folder: Path, steps: Sequence[int], form: str = "step{step}.safetensors", dtype: torch.dtype = torch.float32
) -> Path:
    """A folder of checkpoints."""
    for step in steps:
        save(folder / form.format(step=step), weights(step, dtype))
    return folder


def expected(
    states: Sequence[Mapping[str, torch.Tensor]],
    names: Sequence[str],
    **options: Any,  # noqa: ANN401 - handed on
) -> dict[str, list[list[float]]]:
    """Figures of whole tensors, by figure: for each tensor those of each pair."""
    found: dict[str, list[list[float]]] = {figure: [] for figure in (*FIGURES, "median")}
    for name in names:
        pairs = [
            statistics(
                states[place - 1][name],
                states[place][name],
                start=states[0][name],
                previous=states[place - 2][name] if place > 1 else None,
                **options,
            )
            for place in range(1, len(states))
        ]
        for figure, rows in found.items():
            rows.append([getattr(pair, figure) for pair in pairs])
    return found


def assert_figures(
    changes: Changes,
    found: Mapping[str, list[list[float]]],
    *,
    relative: float = 1e-12,
    figures: Sequence[str] = FIGURES,
) -> None:
    """The curves of a run are those."""
    for figure in figures:
        np.testing.assert_allclose(changes.curves(figure), found[figure], rtol=relative, atol=1e-9, err_msg=figure)


def assert_same(one: Changes, other: Changes) -> None:
    """The same table, as exact as sums are: loops compiled here and loaded from a cache may add in other orders."""
    for row, twin in zip(one.rows("steps"), other.rows("steps"), strict=True):
        for name, value in row.items():
            if isinstance(value, float):
                assert twin[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
            else:
                assert twin[name] == value, name
    for name, values in one.arrays().items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values, other.arrays()[name], rtol=1e-6, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(values, other.arrays()[name], err_msg=name)


def surveyed(
    run: str | os.PathLike[str],
    *,
    journal: Path | None = None,
    jobs: int | None = None,
    backend: Backend = "threading",
    progress: Progress = silent,
    **options: Any,  # noqa: ANN401 - handed on
) -> Changes:
    """What a survey measures, without what is made of it: that takes longer than all else in runs this small."""
    work = partial(parallel_map, jobs=jobs, backend=backend, progress=progress)
    return _surveyed(open_trajectory(run), Options(**options), journal, work)


def when_done(parts: int, act: Callable[[], object]) -> Progress:
    """What does something once so many parts are done."""

    def progress(done: int, total: int, label: str) -> None:  # noqa: ARG001 - as progress is told
        if done == parts:
            act()

    return progress


def kept(folder: Path) -> Path:
    """Where a test keeps its journal: not among the checkpoints."""
    return folder.parent / f"{folder.name}.journal"
