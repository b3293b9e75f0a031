"""`weightatlas demo`: train small networks on the built-in scenes, intervene, write the atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from weightatlas.cli.options import Jobs, Quiet, Seed, check_page
from weightatlas.cli.reporting import progress_bar


def demo(
    *,
    output: Annotated[Path, Parameter(help="The page to write.")] = Path("atlas.html"),
    folder: Annotated[
        Path | None,
        Parameter(help="Keep the trained networks here; a folder beside the page if left out."),
    ] = None,
    steps: Annotated[int, Parameter(help="Training steps of each network.", validator=validators.Number(gte=2))] = 400,
    jobs: Jobs = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Train the article's simplified network on scenes upright and turned by 90 degrees, and draw their atlas.

    The upright network bands horizontally, the turned one vertically, a control whose question knows no position not
    at all. Networks that an earlier, identical run left in the folder are used again.
    """
    check_page(output)
    from weightatlas import anatomy, banding, open_checkpoint, write_atlas  # after parsing: it loads torch
    from weightatlas.lab import demo as train_demo

    place = folder or output.with_suffix("")
    with progress_bar("training", quiet=quiet) as progress:
        networks = train_demo(place, seed=seed, steps=steps, progress=progress, jobs=jobs).networks
    results = []
    for network in networks:
        checkpoint = open_checkpoint(str(network.path))
        results += [anatomy.survey(checkpoint, seed=seed, jobs=jobs), banding.survey(checkpoint, seed=seed, jobs=jobs)]
    title = "Three networks, one image law: told the topmost disc, the leftmost, or what is missing"
    written = write_atlas(results, output, title=title, seed_note=f"Seed {seed}, {steps} steps.")
    print(written)  # noqa: T201 - the command's answer
    return 0
