from __future__ import annotations

import pytest

from weightatlas.checkpoints.places.addresses import LONGEST, child, parent, shown


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://me:pw@host:8000/a/b.pt?sig=secret#part", "https://host:8000/a/b.pt"),
        ("https://me:p@w@host/a", "https://host/a"),
        ("https://host/a@b.pt", "https://host/a@b.pt"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("zip://a.pt::https://me:pw@host/b.zip?sig=secret", "zip://a.pt::https://host/b.zip"),
        ("https://host/a\nb\x1b[31m", "https://host/a?b?[31m"),
        ("https://host?sig=secret", "https://host"),
    ],
)
def test_secrets_and_control_characters_are_not_shown(address: str, name: str) -> None:
    assert shown(address) == name


def test_a_long_address_is_cut() -> None:
    assert len(shown("https://host/" + "x" * 10_000)) == LONGEST


@pytest.mark.parametrize("name", ["b.pt", "shards/b.pt", "b c.pt", "50%.pt", "what?.pt", "a#b.pt", "%2e%2e/b.pt"])
def test_a_name_from_an_index_stays_a_path_below_the_folder(name: str) -> None:
    address = child("https://host/run/?key=1", name)
    assert address.startswith("https://host/run/")
    assert address.endswith("?key=1")
    assert address.count("?") == 1
    assert "#" not in address
    assert "/%2e%2e" not in address


def test_a_file_lies_in_the_parent_that_it_names() -> None:
    address = "https://host/run/model.safetensors.index.json?key=1"
    assert child(parent(address), "model.safetensors.index.json") == address
