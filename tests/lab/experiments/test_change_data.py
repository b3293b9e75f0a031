from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.errors import SourceError
from weightatlas.lab.experiments.change_data import data_sets

if TYPE_CHECKING:
    from pathlib import Path


def test_sets_are_named_one_by_one_or_by_the_folder_that_holds_them(tmp_path: Path) -> None:
    for name in ("cifar10", "svhn", "other"):
        (tmp_path / "a,b" / name).mkdir(parents=True)
    held = str(tmp_path / "a,b")
    assert data_sets("x", held, needed=["svhn"]) == {"cifar10": f"cifar10:{held}/cifar10", "svhn": f"svhn:{held}/svhn"}
    plain = tmp_path / "c"
    (plain / "cifar100").mkdir(parents=True)
    found = data_sets("x", f"{plain},cifar10:elsewhere?limit=8", needed=["cifar10", "cifar100"])
    assert found == {"cifar100": f"cifar100:{plain / 'cifar100'}", "cifar10": "cifar10:elsewhere?limit=8"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "this preset needs data; give them: --data cifar10:PATH,cifar100:PATH, or a folder"),
        ("cifar10:a", "cifar100 is not among the data"),
        ("svhn:a", "cifar10 and cifar100 are not among the data"),
        ("mnist:a", "'mnist:a' names no data set and no folder"),
        ("cifar10:", "'cifar10:' names no data set"),
    ],
)
def test_what_is_not_there_is_said(data: str | None, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        data_sets("x", data, needed=["cifar10", "cifar100"])
