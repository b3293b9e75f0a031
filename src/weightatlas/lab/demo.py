"""The demo: the simplified network trained on scenes upright, scenes turned, and scenes in which position is no use."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import weightatlas
from weightatlas.data import Scenes
from weightatlas.files import replacing
from weightatlas.lab.training import Recipe, TrainingRun, train
from weightatlas.nn import SMALL, SimplifiedNetwork
from weightatlas.parallel import parallel_map
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import os

    from weightatlas.data.scenes import Label

VARIANTS: Final[dict[str, Label]] = {"upright": "top", "turned": "left", "control": "set"}
"""The demo's networks and the question each is trained on."""

PATIENCE: Final = 10.0
"""Seconds that an interrupted demo waits for networks in training to notice."""


@dataclass(frozen=True, slots=True, eq=False)
class DemoNetwork:
    """One trained network of the demo.

    Attributes:
        name: "upright", "turned" or "control".
        path: its `.safetensors` file; the entry "training" of its metadata is JSON: network, recipe, scenes, seed,
            versions, accuracy and losses.
        run: how training went.
        model: the network itself, in evaluation mode.
        reused: whether it was read back from an earlier, identical run.
    """

    name: str
    path: Path
    run: TrainingRun
    model: SimplifiedNetwork
    reused: bool


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """The demo's networks, which differ in nothing but the question they were trained on.

    Attributes:
        upright: told the kind of the topmost disc.
        turned: told the kind of the leftmost disc.
        control: told the kind that is missing, which no position tells.
    """

    upright: DemoNetwork
    turned: DemoNetwork
    control: DemoNetwork

    @property
    def networks(self) -> tuple[DemoNetwork, DemoNetwork, DemoNetwork]:
        """All three, in the order above."""
        return self.upright, self.turned, self.control


def demo(
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    steps: int = 400,
    progress: Progress = silent,
    jobs: int | None = None,
) -> Demo:
    """Train three small networks on the built-in scenes and keep them in `folder`, one `.safetensors` file each.

    The three have the same first weights, the same number of images and the same recipe; the images follow one law, in
    which x and y are alike. They differ in the question: the topmost disc, the leftmost, or what is missing. So what
    differs between their weights comes from the question.

    Each trains on one thread, `jobs` side by side, so that the files are the same bytes whatever `jobs` is. A file is
    written beside its place and renamed; one that an earlier run with the same recipe, seed and versions left is read
    back and not trained again, so a demo that was killed goes on with what is missing.

    Args:
        folder: made if it is absent.
        seed: fixes the first weights and the scenes.
        steps: batches of 64 images each network sees, 2 or more; 400 take about 10 s a network on one core.
        progress: called after every step, with all steps of all networks as the total.
        jobs: how many networks train at once; None is one a core.

    Raises:
        DivergedError: a loss became NaN or infinite.
        OSError: the folder cannot be made or written.

    **Source:** the rotation experiment of Weight Banding (Petrov et al., Distill 2021), scaled down from ImageNet to
    scenes, with a control the article does not have.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     networks = demo(folder, steps=2).networks
        ...     [(network.name, network.path.name) for network in networks]
        [('upright', 'upright.safetensors'), ('turned', 'turned.safetensors'), ('control', 'control.safetensors')]
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(steps)
    models = {name: SimplifiedNetwork(SMALL, input_size=24, classes=4, seed=seed) for name in VARIANTS}
    crew = _Crew(len(VARIANTS) * steps, progress)

    def train_or_read_back(name: str) -> DemoNetwork:
        path = place / f"{name}.safetensors"
        model = models[name]
        scenes = Scenes(VARIANTS[name], steps=steps, seed=seed)
        wanted = _identity(recipe, scenes)
        earlier = _read_back(path, model, recipe, wanted)
        if earlier is not None:
            crew.advance(name, steps)
            return DemoNetwork(name, path, earlier, model, reused=True)
        run = train(
            model,
            scenes,
            **asdict(recipe),
            seed=seed,
            progress=lambda _done, _total, label: crew.advance(f"{name}: {label}", 1),
            evaluate=scenes.held_out(),
        )
        record = wanted | {"accuracy": run.accuracy, "losses": run.losses.tolist()}
        with replacing(path) as temporary:  # one entry: safetensors writes several in an order that changes
            save_file(model.state_dict(), temporary, metadata={"training": json.dumps(record)})
        return DemoNetwork(name, path, run, model, reused=False)

    def obtain(name: str) -> DemoNetwork:
        with crew.member():
            return train_or_read_back(name)

    with _single_threaded():
        try:
            return Demo(*parallel_map(obtain, tuple(VARIANTS), jobs=jobs))
        except BaseException:
            crew.stop()
            raise


def _identity(recipe: Recipe, scenes: Scenes) -> dict[str, Any]:
    """What a file must say of itself to stand for this run."""
    return {
        "network": "SimplifiedNetwork(SMALL)",
        "recipe": asdict(recipe),
        "scenes": asdict(scenes),
        "seed": scenes.seed,
        "versions": {"weightatlas": weightatlas.__version__, "torch": torch.__version__},
    }


def _read_back(path: Path, model: SimplifiedNetwork, recipe: Recipe, wanted: dict[str, Any]) -> TrainingRun | None:
    """Load an earlier identical run into `model`; None where there is none, or its file is not whole."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["training"])
            if {key: record[key] for key in wanted} != wanted:
                return None
            run = TrainingRun(recipe, wanted["seed"], np.array(record["losses"]), record["accuracy"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        return None
    model.load_state_dict(state)
    model.eval()
    return run


class _Crew:
    """Networks that train side by side: their steps added up and passed on one at a time, and stopped together."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._lock = threading.Condition()
        self._done = 0
        self._total = total
        self._progress = progress
        self._working = 0
        self._stopped = False

    @contextmanager
    def member(self) -> Iterator[None]:
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1
                self._lock.notify_all()

    def advance(self, label: str, steps: int) -> None:
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._done += steps
            self._progress(self._done, self._total, label)

    def stop(self) -> None:
        """Let nobody take another step, and wait until all have noticed: a thread left in torch aborts the process."""
        with self._lock:
            self._stopped = True
            self._lock.wait_for(lambda: self._working == 0, timeout=PATIENCE)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """One thread a network, and the global random state left alone: training side by side shares both."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=()):
            yield
    finally:
        torch.set_num_threads(threads)
