from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.user_code import call_by_name, find_callable, is_code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODE = """
import torch
number = 3
class Maker:
    def build(width=1):
        return torch.nn.Linear(width, 2)
def build(width=1, bias=True, name="x"):
    return torch.nn.Linear(width, 2, bias=bias)
def fails():
    raise RuntimeError("first line\\nsecond line")
def lazily():
    import h6_beside
    return h6_beside.value
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "h6_nets").mkdir()
    (tmp_path / "h6_nets" / "small.py").write_text(CODE)
    (tmp_path / "h6_beside.py").write_text("value = 5")
    (tmp_path / "h6_broken.py").write_text("import h6_no_such_package")
    (tmp_path / "h6_wrong.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("h6_")]:
        del sys.modules[name]


def test_code_of_the_current_directory_is_called_with_its_options() -> None:
    path = list(sys.path)
    layer = call_by_name("h6_nets.small:build?width=3&bias=false", seed=0)
    assert layer.weight.shape == (2, 3)
    assert layer.bias is None
    assert call_by_name("h6_nets.small:Maker.build?width=4", seed=0).in_features == 4
    assert call_by_name("h6_nets.small:lazily", seed=0) == 5
    assert sys.path == path


def test_random_weights_follow_the_seed_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, other = (call_by_name("h6_nets.small:build", seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("h6_net.small:build", "there is no module 'h6_net'"),
        ("h6_nets.smal:build", "there is no module 'h6_nets.smal'"),
        ("h6_broken:build", r"importing h6_broken fails \(ModuleNotFoundError: .*h6_no_such_package.*install what"),
        ("h6_wrong:build", r"importing h6_wrong fails \(ZeroDivisionError"),
        ("h6_nets.small:biuld", "h6_nets.small has no 'biuld'; did you mean build"),
        ("h6_nets.small:Maker.nothing", "h6_nets.small.Maker has no 'nothing'"),
        ("h6_nets.small:number", "h6_nets.small.number is a int, which cannot be called"),
        ("h6_nets.small:fails", "it raises RuntimeError: first line; correct it"),
        ("h6_nets.small:build?colour=red", "it raises TypeError"),
        ("no code", "not of the form"),
    ],
)
def test_what_is_wrong_with_code_is_said_in_one_line(source: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        call_by_name(source, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["timm", "cifar10:/data", "cifar10:../data", "http://a/b", "a b:c", ":c", "a:", "a:b.", "C:\\data", "a-b:c"]
)
def test_other_names_are_no_code(text: str) -> None:
    assert not is_code(text)


def test_finding_does_not_call() -> None:
    assert find_callable("h6_nets.small:fails").__name__ == "fails"
