"""The limits that the page on security names are those of the code."""

from __future__ import annotations

from tests.docs.pages import ROOT, section, table_rows
from tests.hostile.catalogue import CATALOGUE
from weightatlas.checkpoints import bounded_json, bounded_names, gguf_file, npz, safetensors_file, weight_files, zipped
from weightatlas.checkpoints.hdf5 import hdf5_file, hdf5_process, hdf5_walk, hdf5_worker
from weightatlas.checkpoints.onnx import onnx_graph, protobuf
from weightatlas.checkpoints.pickles import pickled
from weightatlas.checkpoints.places import network_errors

PAGE = ROOT / "docs" / "security.md"
MIB = 2**20


def test_every_limit_is_that_of_the_code() -> None:
    assert npz.BOMB_RATIO == hdf5_file.BOMB_RATIO == 100
    assert safetensors_file.HEADER_LIMIT == weight_files.INDEX_LIMIT == 100_000_000
    assert len(network_errors.PAUSES) == 3
    expected = [
        f"{bounded_names.COUNT_LIMIT:,}; {bounded_names.NAME_LIMIT:,} and {bounded_names.DEPTH_LIMIT}",
        f"{safetensors_file.HEADER_LIMIT // 10**6} MB",
        f"{bounded_json.STRUCTURE_LIMIT:,}",
        f"{zipped.DIRECTORY_LIMIT // MIB} MiB",
        f"{npz.HEADER_LIMIT // 10**6} MB",
        f"{npz.BOMB_SIZE // 2**30} GiB; {hdf5_file.BOMB_SIZE // MIB} MiB in HDF5",
        f"{pickled.LONGEST:,}",
        (
            f"{hdf5_walk.OBJECT_LIMIT:,}, {hdf5_walk.DEPTH_LIMIT}, {hdf5_walk.CHUNK_LIMIT // MIB} MiB, "
            f"{hdf5_process.PATIENCE:g} s"
        ),
        f"{hdf5_worker.MEMORY_LIMIT // MIB} MiB",
        f"{gguf_file.TENSOR_LIMIT:,}, {gguf_file.ENTRY_LIMIT:,}, {gguf_file.ELEMENT_LIMIT:,}",
        f"{onnx_graph.NODE_LIMIT:,}, {onnx_graph.TENSOR_LIMIT:,}, {protobuf.FIELD_LIMIT:,}",
        f"{network_errors.SECONDS:g} s, three more tries",
    ]
    assert [row[1] for row in table_rows(section(PAGE, "## Limits"))[2:]] == expected


def test_there_are_as_many_files_as_it_says() -> None:
    assert "more than 600 files" in PAGE.read_text(encoding="utf-8")
    assert len(CATALOGUE) > 600
