"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter, validators

from weightatlas.cli.reporting import UsageError

Source = Annotated[
    str,
    Parameter(
        name="source",
        required=True,
        help="A file, a folder, a URL or a name: model.safetensors, a Hugging Face or distributed folder, .pt .pth .th "
        ".ckpt, .npz, .h5, .keras, .onnx, .gguf, https://..., s3://..., hf://org/repo, timm:NAME, "
        "torchvision:NAME?pretrained=false.",
    ),
]
Format = Literal["table", "json", "jsonl", "csv"]
FormatOption = Annotated[
    Format | None,
    Parameter(name="--format", help="How rows are printed: a table to read, or JSON, JSON lines or CSV to build on."),
]
Output = Annotated[
    Path | None,
    Parameter(help="Write here instead of to standard output; the suffix chooses the format unless --format does."),
]
Jobs = Annotated[
    int | None,
    Parameter(
        help="How many layers are worked on at once; one a core if left out.", validator=validators.Number(gte=1)
    ),
]
BackendOption = Annotated[
    Literal["threading", "loky", "dask", "ray"],
    Parameter(name="--backend", help="What runs the jobs: threads, processes, Dask or Ray."),
]
AcceleratorOption = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Parameter(name="--accelerator", help="Where to compute; auto is a GPU where there is one."),
]
Nodes = Annotated[
    int,
    Parameter(
        help="Machines that train together; start the command on each with torchrun.",
        validator=validators.Number(gte=1),
    ),
]
AT_LEAST_ONE: Final = validators.Number(gte=1)
LAUNCHED: Final = frozenset({"TORCHELASTIC_RUN_ID", "NODE_RANK", "SLURM_NTASKS", "LSB_JOBID", "VC_HOSTS"})
"""What launchers that Lightning Fabric knows leave in the environment."""

PAGES: Final = (".html", ".htm")
Seed = Annotated[int, Parameter(help="Seed of every random choice.", validator=validators.Number(gte=0))]
Quiet = Annotated[bool, Parameter(help="Show no progress.", negative=())]
FeatureMaps = Annotated[
    tuple[str, ...],
    Parameter(
        name="--feature-map",
        help="A fully connected layer that reads a flattened map, with the map's channels, height and width: "
        "classifier.1=256x6x6. May be given several times.",
        negative=(),
        show_default=False,
    ),
]
Layout = Annotated[
    Literal["oihw", "hwio"] | None,
    Parameter(
        help="Axes of convolution kernels in files that do not say: (out, in, h, w), the default, or (h, w, in, out)."
    ),
]


def feature_maps(texts: tuple[str, ...]) -> dict[str, tuple[int, int, int]]:
    """Read what `--feature-map` gives.

    Raises:
        UsageError: a text is not layer=CxHxW.

    Example:
        >>> feature_maps(("classifier.1=256x6x6",))
        {'classifier.1': (256, 6, 6)}
    """
    maps = {}
    for text in texts:
        layer, _, sizes = text.rpartition("=")
        parts = sizes.split("x")
        if not layer or len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
            message = f"--feature-map takes layer=CxHxW, as in classifier.1=256x6x6, not {text!r}"
            raise UsageError(message)
        channels, height, width = map(int, parts)
        maps[layer] = (channels, height, width)
    return maps


def check_page(page: Path | None) -> None:
    """Refuse, before any work, a page that no browser would open as one.

    Raises:
        UsageError: its name does not end in .html.
    """
    if page is not None and page.suffix.lower() not in PAGES:
        message = f"the atlas is a page: end {page} in .html"
        raise UsageError(message)


def check_nodes(nodes: int) -> None:
    """Refuse to wait for machines that nothing has told of this one.

    Raises:
        UsageError: there are several machines, and this process was started by no launcher.
    """
    if nodes > 1 and not LAUNCHED & os.environ.keys():
        message = (
            f"{nodes} machines train together when torchrun starts the command on each: torchrun --nnodes {nodes} ..."
        )
        raise UsageError(message)
