from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.places.blob import LocalBlob, LocalFolder
from weightatlas.checkpoints.places.locations import locate, public_name
from weightatlas.checkpoints.places.remote import RemoteFolder
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def test_paths_and_file_urls_are_of_this_disk(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"x")
    for name in (str(tmp_path / "x.pt"), f"file://{tmp_path}/x.pt", f"local://{tmp_path}/x.pt"):
        assert isinstance(locate(name), LocalBlob)
    assert isinstance(locate(f"file://{tmp_path}"), LocalFolder)


def test_a_file_that_is_named_like_a_url_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "https:" / "host").mkdir(parents=True)
    (tmp_path / "https:" / "host" / "x.pt").write_bytes(b"x")
    assert isinstance(locate("https://host/x.pt"), LocalBlob)
    assert public_name("https://host/x.pt") == "https://host/x.pt"


def test_schemes_are_told_in_any_case_and_a_web_folder_asks_nothing() -> None:
    assert isinstance(locate("HTTPS://host/run/"), RemoteFolder)


@pytest.mark.parametrize(
    "name",
    [
        "file:///no/such/file.pt",
        "https://" + "x" * 5000,
        "https://a\0b/c",
        "https://",
        "://x",
        "hf://" + "x" * 5000,
        "s3://",
        "foo://x",
        "a::b://x",
    ],
)
def test_a_name_that_leads_nowhere_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(name)
    assert "\n" not in str(caught.value)


def test_a_name_for_readers_holds_no_secrets() -> None:
    assert public_name("https://me:secret@host/x?key=secret") == "https://host/x"
    assert public_name("run?/x.pt") == "run?/x.pt"
