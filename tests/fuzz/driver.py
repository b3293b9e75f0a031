"""Run one format's fuzzer in this process: so many files from a seed, counted; the smallest that fails is kept."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import archives, binary_files, distributed_folders, pickles, tensor_files
from tests.fuzz.examine import Counts, examine

if TYPE_CHECKING:
    from tests.fuzz.sample import Sample

FORMATS: Final[dict[str, Callable[[], st.SearchStrategy[Sample]]]] = {
    "safetensors": tensor_files.safetensors,
    "shards": tensor_files.folder,
    "npz": archives.npz,
    "torch": pickles.torch_zip,
    "legacy": pickles.torch_legacy,
    "pickle": pickles.plain_pickle,
    "distributed": distributed_folders.folder,
    "gguf": binary_files.gguf_files,
    "onnx": binary_files.onnx_files,
    "hdf5": binary_files.hdf5_files,
}
DATA_LIMIT: Final = 4 * 2**30


def fuzz(name: str, examples: int, start: int, *, keep: Path | None = None) -> Counts:
    """Make, open and read so many files of a format.

    Args:
        name: one of `FORMATS`.
        examples: how many.
        start: the seed.
        keep: where the smallest failing file is left.

    Raises:
        Exception: a file broke a promise; hypothesis has made it as small as it could.
    """
    counts = Counts()
    with tempfile.TemporaryDirectory() as text:
        room = Path(text)

        @seed(start)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            print_blob=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(FORMATS[name]())
        def run(sample: Sample) -> None:
            folder = room / "f"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            path = sample.write(folder)
            try:
                examine(path, counts, canary=folder / "canary")
            except BaseException:
                if keep is not None:
                    shutil.rmtree(keep, ignore_errors=True)
                    shutil.copytree(folder, keep)
                raise

        run()
    return counts


def limit_memory() -> None:
    """Let this process fail to allocate rather than take the machine down; only where the system can."""
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, hard))
