from __future__ import annotations

import gc
import json
import tempfile
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from weightatlas.checkpoints.arranging import arrange
from weightatlas.checkpoints.hdf5.keras_archive import detect_keras_archive, open_keras_archive
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from weightatlas.checkpoints import Checkpoint

KERNEL = np.arange(12, dtype="f4").reshape(3, 4)
CONFIG = {
    "class_name": "Sequential",
    "config": {
        "layers": [{"class_name": name, "config": {"name": own}} for name, own in (("Dense", "z"), ("Dense", "a"))]
    },
}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layers/dense/vars/0"] = KERNEL
        file.create_dataset("layers/dense_1/vars/0", data=KERNEL, compression="gzip")
    return (tmp_path / "weights.h5").read_bytes()


def write(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def opened(path: Path) -> Checkpoint:
    return arrange(str(path), open_keras_archive(LocalBlob(path)), None)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_weights_are_read_in_place_or_unpacked_for_as_long_as_they_are_used(
    method: int, weights: bytes, tmp_path: Path, scratch: Path
) -> None:
    members = {"metadata.json": b'{"keras_version": "3.0.0", "n": 1}', "config.json": json.dumps(CONFIG).encode()}
    write(tmp_path / "x.keras", {**members, "model.weights.h5": weights}, method=method)
    checkpoint = opened(tmp_path / "x.keras")
    assert len(list(scratch.iterdir())) == (method != zipfile.ZIP_STORED)
    assert {info.layer for info in checkpoint.info.values()} == {"z", "a"}
    assert {info.file for info in checkpoint.info.values()} == {str(tmp_path / "x.keras")}
    assert checkpoint.metadata == {"keras_version": "3.0.0"}
    for name in checkpoint:
        np.testing.assert_array_equal(checkpoint[name], KERNEL.T)
    del checkpoint
    gc.collect()
    assert not list(scratch.iterdir())


def test_an_archive_is_told_by_its_member(weights: bytes, tmp_path: Path) -> None:
    write(tmp_path / "x.keras", {"model.weights.h5": weights})
    write(tmp_path / "other.zip", {"weights.h5": weights})
    assert [detect_keras_archive(LocalBlob(tmp_path / name), b"PK\x03\x04") for name in ("x.keras", "other.zip")] == [
        True,
        False,
    ]
    assert not detect_keras_archive(LocalBlob(tmp_path / "x.keras"), b"\x89HDF")
    assert {info.layer for info in opened(tmp_path / "x.keras").info.values()} == {"dense", "dense_1"}


@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b"7",
        b'{"config": 3}',
        b'{"config": {"layers": [1, null, {"class_name": 3}, {"class_name": "Dense", "config": []}]}}',
        json.dumps({"config": {"layers": [{"class_name": "os.system", "config": {"name": 3, "layers": {}}}]}}).encode(),
    ],
)
def test_a_configuration_that_makes_no_sense_tells_nothing(config: bytes, weights: bytes, tmp_path: Path) -> None:
    write(tmp_path / "x.keras", {"config.json": config, "model.weights.h5": weights})
    assert {info.parameter for info in opened(tmp_path / "x.keras").info.values()} == {"weight"}


def nested(depth: int) -> bytes:
    layer: dict[str, Any] = {"class_name": "Dense", "config": {"name": "in"}}
    for _ in range(depth):
        layer = {"class_name": "Sequential", "config": {"name": "deep", "layers": [layer]}}
    return json.dumps(layer).encode()


def test_a_configuration_nested_deeply_is_gone_through_so_far(weights: bytes, tmp_path: Path) -> None:
    write(tmp_path / "x.keras", {"config.json": nested(200), "model.weights.h5": weights})
    assert len(opened(tmp_path / "x.keras")) == 2


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"config.json": b"{"}, "config.json cannot be read"),
        ({"config.json": b"[" * 100_000}, "config.json cannot be read"),
        ({"config.json": b"," * 8_000_001}, "parts"),
        ({"config.json": b" " * (65 * 2**20)}, "bytes"),
        ({"model.weights.h5": b"no HDF5"}, "structure cannot be read"),
    ],
)
def test_members_that_lie_are_refused(members: dict[str, bytes], words: str, weights: bytes, tmp_path: Path) -> None:
    write(tmp_path / "x.keras", {"model.weights.h5": weights, **members}, method=zipfile.ZIP_DEFLATED)
    with pytest.raises(SourceError, match=words):
        opened(tmp_path / "x.keras")


def patched(path: Path, member: str, **fields: int) -> None:
    """Rewrite what the archive's directory says of a member."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, value in fields.items():
            setattr(archive.getinfo(member), name, value)
        archive.writestr("more", b"")


@pytest.mark.parametrize(
    ("method", "fields", "words"),
    [
        (zipfile.ZIP_DEFLATED, {"file_size": 10**12}, "would unpack to 1000000000000 bytes"),
        (zipfile.ZIP_DEFLATED, {"file_size": 100}, r"not as long as it says|corrupt"),
        (zipfile.ZIP_STORED, {"file_size": 100}, "not as long as it says"),
        (zipfile.ZIP_STORED, {"flag_bits": 1}, "encrypted"),
    ],
)
def test_sizes_that_lie_are_refused_and_nothing_is_left_behind(
    method: int, fields: dict[str, int], words: str, weights: bytes, scratch: Path
) -> None:
    tmp_path = scratch.parent
    write(tmp_path / "x.keras", {"model.weights.h5": weights}, method=method)
    patched(tmp_path / "x.keras", "model.weights.h5", **fields)
    with pytest.raises(SourceError, match=words):
        opened(tmp_path / "x.keras")
    assert not list(scratch.iterdir())


def test_an_archive_that_changes_after_it_was_listed_is_said(weights: bytes, tmp_path: Path) -> None:
    write(tmp_path / "x.keras", {"model.weights.h5": weights})
    checkpoint = opened(tmp_path / "x.keras")
    write(tmp_path / "x.keras", {"model.weights.h5": weights, "more": b"x"})
    for name in checkpoint:
        with pytest.raises(SourceError, match="changed since"):
            checkpoint[name]


def test_weights_are_listed_in_the_order_of_the_network(tmp_path: Path) -> None:
    layers = [{"class_name": "Dense", "config": {"name": name}} for name in ("z", "a")]
    layers = [{"class_name": "Sequential", "config": {"name": "inner", "layers": layers}}, *layers]
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for layer in ("dense", "dense_1", "sequential/layers/dense"):
            file[f"layers/{layer}/vars/0"] = KERNEL
    config = json.dumps({"config": {"layers": layers}}).encode()
    write(tmp_path / "x.keras", {"config.json": config, "model.weights.h5": (tmp_path / "weights.h5").read_bytes()})
    headers = open_keras_archive(LocalBlob(tmp_path / "x.keras")).headers
    assert [header.key for header in headers] == ["inner.z.weight", "z.weight", "a.weight"]
