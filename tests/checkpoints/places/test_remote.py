from __future__ import annotations

import gc
import shutil
from typing import TYPE_CHECKING

import fsspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.checkpoints import Sparse, write_sparse
from tests.servers.ranged import RangedServer
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places import network_errors, remote
from weightatlas.checkpoints.places.recent_blocks import BLOCK, RecentBlocks
from weightatlas.checkpoints.places.remote import RemoteBlob, RemoteFolder, locate_by_fsspec
from weightatlas.checkpoints.places.transport import Listing, Stat, Transport
from weightatlas.errors import MissingDependencyError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.checkpoints.conftest import Tensors

CONTENT = bytes(number * number % 251 for number in range(5 * BLOCK + 77))
SHARDS, TENSORS, SIDE = 3, 8, 6000  # 3.5 GB
SIZE = 4 * SIDE * SIDE


class Store(Transport):
    """Objects in memory; counts what is fetched."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.version = "1"
        self.fetched: list[tuple[int, int]] = []
        self.lists = 0

    def name(self, address: str) -> str:
        return f"store://{address}"

    def child(self, address: str, name: str) -> str:
        return f"{address}/{name}"

    def parent(self, address: str) -> str:
        return address.rpartition("/")[0]

    def look(self, address: str) -> Stat | None:
        return Stat(len(self.objects[address]), self.version) if address in self.objects else None

    def fetch(self, address: str, offset: int, view: memoryview) -> Stat:
        data = self.objects[address]
        view[:] = data[offset : offset + len(view)].ljust(len(view), b"\0")
        self.fetched.append((offset, len(view)))
        return Stat(len(data), self.version)

    def listing(self, address: str) -> Listing:
        self.lists += 1
        names = (name.removeprefix(f"{address}/") for name in sorted(self.objects))
        return Listing({name: Stat(len(self.objects[f"{address}/{name}"]), self.version) for name in names})


def open_blob(content: bytes = CONTENT) -> tuple[Store, RemoteBlob]:
    store = Store({"run/x.bin": content})
    return store, RemoteFolder(store, "run", RecentBlocks()).blob("x.bin")


RANGES = st.tuples(st.integers(0, len(CONTENT)), st.integers(0, len(CONTENT))).map(sorted)


@given(ranges=st.lists(RANGES, max_size=8), piece=st.integers(1, 3 * BLOCK))
@settings(max_examples=60, deadline=None)
def test_reading_gives_the_bytes_whatever_was_read_before(ranges: list[list[int]], piece: int) -> None:
    store, blob = open_blob()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "PIECE", piece + BLOCK)
        for start, stop in ranges:
            assert blob.read(start, stop - start) == CONTENT[start:stop]
            memory, offset = blob.memory(start, stop - start)
            assert bytes(memoryview(memory)[offset : offset + stop - start]) == CONTENT[start:stop]
    assert all(length <= piece + BLOCK for _, length in store.fetched)


def test_small_reads_share_a_block_and_tensors_are_exact() -> None:
    store, blob = open_blob()
    for offset in range(0, BLOCK, 4096):
        blob.read(offset, 4096)
    assert store.fetched == [(0, BLOCK)]
    blob.memory(100, 1000)  # kept already
    blob.memory(2 * BLOCK + 5, 1000)
    blob.read(4 * BLOCK, 5)
    blob.read(len(CONTENT) - 22, 22)
    assert store.fetched == [(0, BLOCK), (2 * BLOCK + 5, 1000), (4 * BLOCK, BLOCK), (5 * BLOCK, 77)]


def test_memory_is_written_to_without_reaching_what_is_kept() -> None:
    _, blob = open_blob()
    before = blob.read(0, 10)
    memory, offset = blob.memory(0, 10)
    memoryview(memory)[offset : offset + 10] = bytes(10)
    assert blob.read(0, 10) == before


@pytest.mark.parametrize(("offset", "length"), [(0, len(CONTENT) + 1), (len(CONTENT), 1), (-1, 1), (0, 2**62)])
def test_what_lies_beyond_the_end_is_not_asked_for(offset: int, length: int) -> None:
    store, blob = open_blob()
    for read in (blob.read, blob.memory):
        with pytest.raises(ValueError, match="shorter"):
            read(offset, length)
    assert not store.fetched


def test_an_object_that_changes_is_said() -> None:
    store, blob = open_blob()
    blob.read(0, 1)
    store.version = "2"
    with pytest.raises(SourceError, match="changed since it was opened"):
        blob.read(3 * BLOCK, 1)
    store, blob = open_blob()
    store.objects["run/x.bin"] += b"more"
    with pytest.raises(SourceError, match="changed since it was opened"):
        blob.memory(0, 1)


def test_a_folder_is_listed_once() -> None:
    store = Store({"run/a": b"1", "run/b": b"22"})
    folder = RemoteFolder(store, "run", RecentBlocks())
    assert folder.files() == {"a": 1, "b": 2}
    assert folder.blob("b").folder() is folder
    assert (folder.blob("b").size, folder.blob("b").name, folder.blob("b").filename) == (2, "store://run/b", "b")
    assert store.lists == 1
    with pytest.raises(SourceError, match="c is missing"):
        folder.blob("c")
    with pytest.raises(SourceError, match="a folder, no file"):
        folder.blob("inner/d")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "https://other/x", "a\0b", ""])
def test_a_name_that_leaves_the_folder_is_not_asked_for(name: str) -> None:
    folder = RemoteFolder(Store({}), "run", RecentBlocks())
    for get in (folder.blob, folder.folder):
        with pytest.raises(SourceError, match="outside its folder"):
            get(name)


def test_a_download_is_made_once_and_goes_with_its_blob() -> None:
    store, blob = open_blob()
    path = blob.path()
    assert path.read_bytes() == CONTENT
    assert path.name == "x.bin"
    fetched = len(store.fetched)
    assert blob.path() == path
    assert len(store.fetched) == fetched
    del blob
    gc.collect()
    assert not path.parent.exists()


def test_a_download_that_this_disk_has_no_room_for_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    store, blob = open_blob()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(SourceError, match=r"must be downloaded.*this disk has 0 left; set TMPDIR"):
        blob.path()
    assert not store.fetched


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sparse]:
    folder = tmp_path_factory.mktemp("web")
    return folder, write_sparse(folder / "run", shards=SHARDS, tensors=TENSORS, side=SIDE)


@pytest.fixture
def server(folder: tuple[Path, Sparse], monkeypatch: pytest.MonkeyPatch) -> Iterator[RangedServer]:
    monkeypatch.setattr(network_errors, "PAUSES", (0.0, 0.0, 0.0))
    with RangedServer(folder[0]) as server:
        yield server


def index(server: RangedServer) -> str:
    return f"{server.url}/run/model.safetensors.index.json?key=secret"


def test_a_remote_list_of_layers_costs_the_headers_alone(server: RangedServer, folder: tuple[Path, Sparse]) -> None:
    written = folder[1]
    checkpoint = open_checkpoint(index(server))
    assert tuple(checkpoint) == written.names
    assert len(server.requests) == SHARDS + 1
    assert all("key=secret" in path for _, path, _ in server.requests)
    assert server.sent <= written.header_bytes + (SHARDS + 1) * BLOCK
    assert written.total_bytes > 3 * 10**9
    assert "secret" not in checkpoint.source + "".join(info.file for info in checkpoint.info.values())


def test_one_tensor_costs_its_bytes_and_a_chunk_its_own(server: RangedServer, folder: tuple[Path, Sparse]) -> None:
    checkpoint = open_checkpoint(index(server))
    name = folder[1].names[TENSORS + 1]
    server.forget()
    tensor = checkpoint[name]
    assert tensor.shape == (SIDE, SIDE)
    assert tensor[0, 0] == tensor.sum() == TENSORS + 2
    assert server.sent == SIZE
    server.forget()
    chunks = checkpoint.chunks(name, 10**6)
    assert next(chunks)[0] == TENSORS + 2
    assert next(chunks).shape == (10**6,)
    assert server.sent == 8 * 10**6
    assert [asked.partition("=")[2] != "" for _, _, asked in server.requests] == [True, True]


def test_a_tensor_survives_a_connection_that_breaks(server: RangedServer, folder: tuple[Path, Sparse]) -> None:
    checkpoint = open_checkpoint(index(server))
    server.manner, server.failures = "breaks", 2
    assert checkpoint[folder[1].names[0]].sum() == 1
    server.failures = -1
    with pytest.raises(SourceError, match="breaks off, 4 times in a row"):
        checkpoint[folder[1].names[0]]


def test_a_file_that_changes_between_list_and_reading_is_said(server: RangedServer, tmp_path: Path) -> None:
    server.folder = tmp_path
    write_sparse(tmp_path / "run", shards=1, tensors=2, side=300)
    checkpoint = open_checkpoint(index(server))
    write_sparse(tmp_path / "run", shards=1, tensors=2, side=300)
    with pytest.raises(SourceError, match="changed since it was opened"):
        checkpoint["model.layers.1.mlp.weight"]
    (tmp_path / "run" / "model-00001-of-00001.safetensors").unlink()
    with pytest.raises(SourceError, match="nothing at this address"):
        checkpoint["model.layers.1.mlp.weight"]


def test_a_large_file_without_ranges_is_refused_unread(server: RangedServer) -> None:
    server.manner = "no ranges"
    with pytest.raises(SourceError, match="no ranges; download the file and give its path"):
        open_checkpoint(f"{server.url}/run/model-00001-of-00003.safetensors")
    assert server.sent < 2**26  # what the buffers between hold


def test_every_format_is_read_by_ranges(files: dict[str, Path], tensors: Tensors) -> None:
    with RangedServer(files["zip.pt"].parent) as server:
        for name, path in files.items():
            here, there = open_checkpoint(path), open_checkpoint(f"{server.url}/{name}")
            assert list(there) == list(here)
            assert len(there) == len(tensors)
            for tensor in here:
                assert torch.equal(here[tensor], there[tensor])
            assert {info.file for info in there.info.values()} == {f"{server.url}/{name}"}


def test_the_pip_line_is_said_where_a_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_options: object) -> None:
        raise ImportError

    monkeypatch.setattr(fsspec, "filesystem", missing)
    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    monkeypatch.setattr(remote, "find_spec", lambda _name: None)
    addresses = {"https://host/x?key=secret": "aiohttp", "s3://bucket/x": "s3fs", "zip://a::https://host/x": "aiohttp"}
    for address, package in addresses.items():
        with pytest.raises(MissingDependencyError) as caught:
            locate_by_fsspec(address, storage_options={})
        assert (caught.value.problem, caught.value.remedy) == (
            f"{package} is not installed", "pip install 'weightatlas[remote]'",
        )  # fmt: skip
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("foo://x", "no file system is known as foo://; give a path, hf://"),
        ("zip://a::foo://x", "no file system is known as foo://"),
        ("gs://bucket/x", "gcsfs"),
    ],
)
def test_a_file_system_that_is_not_there_is_said(address: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        locate_by_fsspec(address, storage_options={})
