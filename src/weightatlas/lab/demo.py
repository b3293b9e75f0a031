"""The demo: the simplified network trained on scenes upright, scenes turned, and scenes in which position is no use."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weightatlas.errors import WeightatlasError
from weightatlas.files import replacing
from weightatlas.progress import Progress, silent

if TYPE_CHECKING:
    import os

    from weightatlas.lab.experiments import Measurement
    from weightatlas.lab.running import Run

VARIANTS: Final = {"upright": "baseline", "turned": "rotated-90", "control": "control"}
"""The demo's networks, and the variants of the experiment that they are."""


class DemoError(WeightatlasError):
    """A network of the demo could not be trained."""


@dataclass(frozen=True, slots=True, eq=False)
class DemoNetwork:
    """One trained network of the demo.

    Attributes:
        name: "upright", "turned" or "control".
        path: its weights, a `.safetensors` file of that name.
        run: how it was trained; its folder has the manifest and the metrics.
    """

    name: str
    path: Path
    run: Run


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """The demo's networks, which differ in nothing but what they were trained on.

    Attributes:
        upright: told the kind of the topmost disc.
        turned: the same, of images turned by a quarter: there it is the leftmost disc.
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
    """Train three small networks on the built-in scenes and keep their weights in `folder`, one file each.

    They are three variants of the experiment `weight-banding` at its quick preset, for one seed: the same first
    weights, as many images, the same recipe. The images follow one law, in which x and y are alike, so what differs
    between the weights comes from the question: the topmost disc, the leftmost, or what is missing.

    Each trains on one thread, so that its weights are the same bytes whatever `jobs` is. Runs are kept in
    `folder/runs`: a demo that was killed goes on there, and one that has ended is read back.

    Args:
        folder: made if it is absent.
        seed: fixes the first weights and the scenes.
        steps: batches of 64 images each network sees, 2 or more; 400 take about 10 s a network on one core.
        progress: called twice a second, with all steps of all networks as the total.
        jobs: how many networks train at once; None is one a core.

    Raises:
        DemoError: a network could not be trained.
        SourceError: the folder holds another demo.
        OSError: the folder cannot be made or written.

    **Source:** the rotation experiment of Weight Banding (Petrov et al., Distill 2021), scaled down from ImageNet to
    scenes, with a control the article does not have.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     networks = demo(folder, steps=2, jobs=1).networks
        ...     [(network.name, network.path.name) for network in networks]
        [('upright', 'upright.safetensors'), ('turned', 'turned.safetensors'), ('control', 'control.safetensors')]
    """
    from weightatlas.lab.experiments import open_experiment, run_experiment  # what measures loads scikit-learn

    place = Path(folder)
    whole = open_experiment("weight-banding", preset="quick", seeds=(seed,), variants=[*VARIANTS.values()], steps=steps)
    result = run_experiment(
        replace(whole, variants=tuple(replace(variant, claims=()) for variant in whole.variants), measure=unmeasured),
        place / "runs",
        jobs=jobs,
        progress=progress,
    )
    networks = []
    for name, variant in VARIANTS.items():
        (done,) = (run for run in result.runs if run.variant == variant)
        if done.run is None:
            message = f"the {name} network: {done.skipped}"
            raise DemoError(message)
        path = place / f"{name}.safetensors"
        with replacing(path) as temporary:
            shutil.copyfile(done.run.checkpoint, temporary)
        networks.append(DemoNetwork(name, path, done.run))
    return Demo(*networks)


def unmeasured(run: Run) -> Measurement:  # noqa: ARG001 - what an experiment asks of every run
    """Measure nothing: the demo's page surveys the networks whole."""
    from weightatlas.lab.experiments import Measurement

    return Measurement({})
