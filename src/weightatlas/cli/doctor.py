"""`weightatlas doctor`: what is installed, what is missing and how to install it, what there is to compute on."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal

from weightatlas import __version__
from weightatlas.cli.devices import Device, devices
from weightatlas.cli.options import FormatOption, Output
from weightatlas.cli.printing import check_output, print_rows
from weightatlas.cli.terminal import TerminalColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.result import Row

COLUMNS: Final = ("item", "kind", "version", "needed_for", "remedy", "skipped")
SHOWN: Final = tuple(TerminalColumn(key, key.replace("_", " ")) for key in COLUMNS[:-1])
PURPOSES: Final = {
    "aiohttp": "checkpoints behind http and https URLs",
    "altair": "charts",
    "cyclopts": "the command line",
    "curvlinops-for-pytorch": "curvature of a loss",
    "dask": "--backend dask",
    "devinterp": "the learning coefficient",
    "fsspec": "checkpoints behind URLs",
    "h5py": "HDF5 and Keras checkpoints",
    "huggingface-hub": "hf://org/repo and the Hub's cache",
    "jaxtyping": "shapes in signatures",
    "jinja2": "the page",
    "joblib": "parallel work",
    "lightning": "the recorder in a Lightning Trainer",
    "lightning-fabric": "training",
    "numba": "fast loops",
    "numpy": "arrays",
    "pandas": "data frames",
    "pillow": "slides as pictures",
    "pyarrow": ".parquet files",
    "ray": "--backend ray",
    "rich": "tables in the terminal",
    "s3fs": "s3:// URLs",
    "safetensors": "writing safetensors",
    "scikit-learn": "factors and clusters",
    "scipy": "statistics",
    "threadpoolctl": "threads of numerical libraries",
    "timm": "timm:NAME",
    "torch": "tensors",
    "torchvision": "torchvision:NAME",
    "transformers": "models of Hugging Face folders",
    "vl-convert-python": "charts as files, and the page's JavaScript",
}
"""What each package is for, in the words of this command line."""

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?:\(?>=\s*([\d.]+))?")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")


def doctor(*, format_: FormatOption = None, output: Output = None) -> int:
    """Say what is installed, what is missing and how to install it, and what there is to compute on."""
    check_output(output, format_, sources=1, pictures=False)
    rows = [*tool_rows(), *package_rows(), *map(_device, devices())]
    rows.sort(key=lambda row: row["skipped"] is None or row["kind"] == "device")  # first what a pip line would mend
    to_read = format_ == "table" or (format_ is None and (output is None or output.suffix.lower() == ".txt"))
    if to_read:  # what is missing stands in the table itself, its remedy beside it
        rows = [row | {"version": row["skipped"] or row["version"], "skipped": None} for row in rows]
    print_rows(rows, COLUMNS, format_=format_, output=output, shown=SHOWN)
    return 0


def tool_rows() -> Iterator[Row]:
    """The package itself, and what runs it."""
    yield row("weightatlas", "tool", version=__version__)
    yield row("Python", "tool", version=platform.python_version(), needed_for=f"running weightatlas on {sys.platform}")


def package_rows() -> Iterator[Row]:
    """One row a package that weightatlas declares: first those it always needs, then those of its extras.

    Versions come from the packages' metadata; none of them is imported.
    """
    seen: set[str] = set()
    for text in sorted(metadata.requires("weightatlas") or (), key=lambda text: "extra ==" in text):
        match, extra = _REQUIREMENT.match(text), _EXTRA.search(text)
        if match is None:
            continue
        name = match[1].lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        yield _package(name, match[2] or "", extra[1] if extra else None)


def _package(name: str, least: str, extra: str | None) -> Row:
    kind: Literal["package", "extra"] = "extra" if extra else "package"
    remedy: str | None = (
        f"pip install 'weightatlas[{extra}]'" if extra else f"pip install '{name}{f'>={least}' if least else ''}'"
    )
    version = installed(name)
    skipped = None
    if name == "torchvision" and _cpu_only_torch(version):
        remedy = "none needed: beside this CPU-only torch its compiled operators do not load; plain ones stand in"
    elif version is None:
        skipped = "not installed"
    elif _numbers(version) < _numbers(least):
        skipped = f"{version} is installed, {least} or later is needed"
    else:
        remedy = None
    needed_for = PURPOSES.get(name, f"the extra {extra}" if extra else "weightatlas")
    return row(name, kind, version=version, needed_for=needed_for, remedy=remedy, skipped=skipped)


def _cpu_only_torch(torchvision: str | None) -> bool:
    """Whether torchvision's operators, compiled for a torch with CUDA, stand beside one without."""
    return torchvision is not None and "+" not in torchvision and (installed("torch") or "").endswith("+cpu")


def installed(name: str) -> str | None:
    """The version of a package by its metadata, or None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(device: Device) -> Row:
    return row(
        device.item,
        "device",
        version=device.description,
        needed_for="computing",
        remedy=device.remedy,
        skipped=device.skipped,
    )


def row(item: str, kind: str, **fields: Any) -> Row:  # noqa: ANN401 - whatever a row holds
    """One row of the table, with null for what is not given."""
    return dict.fromkeys(COLUMNS) | {"item": item, "kind": kind} | fields


def _numbers(version: str) -> tuple[int, ...]:
    """A version's leading numbers: 2.13.0+cpu is (2, 13, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
