from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
import safetensors.torch
import torch

from tests.servers.checkpoints import write_sparse
from tests.servers.ranged import RangedServer
from tests.servers.s3 import BucketServer
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places import network_errors
from weightatlas.checkpoints.places.fsspec_ranges import FsspecRanges, S3Ranges, bounded_s3_options
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIDE = 400
SIZE = 4 * SIDE * SIDE


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    folder = tmp_path_factory.mktemp("sharded")
    write_sparse(folder, shards=3, tensors=2, side=SIDE)
    with BucketServer() as server:
        server.put_folder("run/step1000", folder)
        yield server


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_errors, "PAUSES", (0.0, 0.0, 0.0))


def refusal(address: str, options: dict[str, Any]) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(address, storage_options=options)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    return caught.value


def test_a_sharded_checkpoint_in_a_bucket_is_listed_from_its_headers(bucket: BucketServer) -> None:
    bucket.forget()
    checkpoint = open_checkpoint(f"s3://{bucket.bucket}/run/step1000", storage_options=bucket.options)
    assert len(checkpoint) == 6
    assert bucket.sent < 6 * SIZE / 10 + 4 * 65_536
    assert sum("list-type" in path for _, path, _ in bucket.requests) <= 2  # is it a folder; what is in it
    assert sum(bool(asked) for _, _, asked in bucket.requests) == 4  # the index and three headers
    assert checkpoint.info["model.layers.0.mlp.weight"].file.startswith(f"s3://{bucket.bucket}/run/step1000/model-")
    bucket.forget()
    tensor = checkpoint["model.layers.3.mlp.weight"]
    assert tensor[0, 0] == tensor.sum() == 4
    assert bucket.sent == SIZE
    assert len(bucket.requests) == 1


def test_an_index_in_a_bucket_needs_no_list(bucket: BucketServer) -> None:
    bucket.forget()
    index = f"s3://{bucket.bucket}/run/step1000/model.safetensors.index.json"
    assert len(open_checkpoint(index, storage_options=bucket.options)) == 6
    assert not any("list-type" in path for _, path, _ in bucket.requests)


def test_the_endpoint_may_come_from_the_environment(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert len(open_checkpoint(f"s3://{bucket.bucket}/run/step1000/")) == 6


def test_a_bucket_that_lacks_it_is_said(bucket: BucketServer) -> None:
    for address in (f"s3://{bucket.bucket}/nothing", "s3://no-such-bucket/x.pt"):
        assert refusal(address, bucket.options).problem == "there is nothing at this address"
    unreached = refusal(f"s3://{bucket.bucket}/x", bucket.options | {"endpoint_url": "http://127.0.0.1:9"})
    assert "cannot be reached" in unreached.problem


def test_an_object_that_changes_is_said(bucket: BucketServer) -> None:
    address = f"s3://{bucket.bucket}/changing.safetensors"
    first = safetensors.torch.save({"a.weight": torch.zeros(SIDE, SIDE)})
    for content in (safetensors.torch.save({"a.weight": torch.ones(SIDE, SIDE)}), b"short"):
        bucket.put("changing.safetensors", first)
        checkpoint = open_checkpoint(address, storage_options=bucket.options)
        bucket.put("changing.safetensors", content)
        with pytest.raises(SourceError, match="changed since it was opened"):
            checkpoint["a.weight"]


def test_a_store_that_ignores_ranges_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with (tmp_path / "models" / "x.safetensors").open("wb") as file:
        file.truncate(2**30)
    with RangedServer(tmp_path) as server:
        server.manner = "no ranges"
        options = {"key": "key", "secret": "secret", "endpoint_url": server.url}
        system = fsspec.filesystem("s3", skip_instance_cache=True, **bounded_s3_options(options))
        system.retries = 1
        with pytest.raises(SourceError, match="gives no ranges"):
            S3Ranges(system).fetch("models/x.safetensors", 0, memoryview(bytearray(1000)))
        assert server.sent < 2**26  # what the buffers between hold


def test_a_store_that_goes_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_errors, "SECONDS", 0.4)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.bin").write_bytes(bytes(100_000))
    with RangedServer(tmp_path) as server:
        options = {"key": "key", "secret": "secret", "endpoint_url": server.url}
        system = fsspec.filesystem("s3", skip_instance_cache=True, **bounded_s3_options(options))
        system.retries = 1
        server.manner = "silent"
        with pytest.raises(SourceError, match="in time"):
            S3Ranges(system).fetch("models/x.bin", 0, memoryview(bytearray(90_000)))
        server.manner, server.failures = "503", 1
        memory = bytearray(b"x" * 90_000)
        S3Ranges(system).fetch("models/x.bin", 0, memoryview(memory))
        assert not any(memory)


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.pipe("/run/a.bin", bytes(range(100)))
    system.pipe("/run/inner/b.bin", b"b")
    yield system
    system.rm("/run", recursive=True)


def test_any_file_system_gives_ranges_and_lists(memory: Any) -> None:  # noqa: ANN401 - fsspec has no types
    ranges = FsspecRanges(memory)
    part = bytearray(10)
    ranges.fetch("/run/a.bin", 5, memoryview(part))
    assert part == bytes(range(5, 15))
    listing = ranges.listing("/run")
    assert {name: stat.size for name, stat in listing.files.items()} == {"a.bin": 100}
    assert listing.folders == ("inner",)
    assert ranges.look("/run") is None
    assert ranges.name("/run/a.bin") == "memory:///run/a.bin"


def test_an_object_that_ends_before_the_range_is_said_as_it_is_now(memory: Any) -> None:  # noqa: ANN401
    stat = FsspecRanges(memory).fetch("/run/a.bin", 95, memoryview(bytearray(10)))
    assert stat.size == 100


def test_a_chained_url_opens_what_is_inside(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("in/a.safetensors", safetensors.torch.save({"a.weight": torch.ones(3)}))
    (tmp_path / "z.zip").write_bytes(buffer.getvalue())
    with RangedServer(tmp_path) as server:
        checkpoint = open_checkpoint(f"zip://in/a.safetensors::{server.url}/z.zip?key=secret")
        assert checkpoint["a.weight"].tolist() == [1, 1, 1]
        assert checkpoint.source == f"zip://in/a.safetensors::{server.url}/z.zip"
        assert checkpoint.info["a.weight"].file == checkpoint.source


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("memory://nothing/x.pt", "nothing at this address"),
        ("zip://a.pt::http://127.0.0.1:9/x.zip", ""),
        ("simplecache::http://127.0.0.1:9/x.zip", ""),
    ],
)
def test_what_cannot_be_opened_is_refused(address: str, problem: str) -> None:
    assert problem in refusal(address, {}).problem
