"""`weightatlas convert` from arguments to rows and weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conditioning.example_networks import Small, save_run
from weightatlas.cli.application import run
from weightatlas.evaluation import open_model
from weightatlas.nn import Conversion

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "tests.conditioning.example_networks:Small"
OWN = "weightatlas:resnet20-cifar?width=0.25&classes=4"
FIELDS = [*(column for column in Conversion.tables["layers"] if column != "skipped"), "source", "skipped"]


def _rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert run(["convert", *arguments, "--format", "json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_a_row_for_every_convolution_and_norm(capsys: pytest.CaptureFixture[str]) -> None:
    rows = _rows(capsys, MODEL, "ws+bcn", "--groups", "3")
    assert all(list(row) == FIELDS for row in rows)
    assert [row["after"] for row in rows] == [
        "WSConv2d", "BatchChannelNorm2d", "WSConv2d", "BatchChannelNorm2d", None,
    ]  # fmt: skip
    assert {row["groups"] for row in rows if row["kind"] == "norm"} == {3}
    assert rows[-1]["skipped"]


def test_the_summary_is_said_once_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", MODEL, "gn"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("Small to gn") == 1
    assert "GroupNorm" in captured.out


def test_options_reach_the_conversion(capsys: pytest.CaptureFixture[str]) -> None:
    followed, every = (_rows(capsys, MODEL, "ws", "--standardized", which) for which in ("followed", "all"))
    assert sum(bool(row["standardized"]) for row in followed) == 2
    assert sum(bool(row["standardized"]) for row in every) == 3


def test_the_norms_options_are_in_the_weights_that_are_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "converted.safetensors"
    options = ["--rate", "0.02", "--warmup", "5", "--groups", "2"]
    assert run(["convert", OWN, "ws+micro-bcn", *options, "--save", str(file), "--seed", "3"]) == 0
    capsys.readouterr()
    weights = load_file(file)
    rates = {name: value.item() for name, value in weights.items() if name.endswith(".rate")}
    assert len(rates) == 21  # 19 on the path, two shortcuts
    assert list(rates.values()) == pytest.approx([0.02] * 21)
    name = f"{OWN}&convert=ws+micro-bcn&convert.rate=0.02&convert.warmup=5&convert.groups=2"
    images = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(open_model(name, checkpoint=str(file))(images), open_model(name, seed=3)(images))


@pytest.mark.parametrize("recipe", ["ws+gn", "micro-bcn", "fold"])
def test_weights_that_are_saved_are_those_of_the_converted_network(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "converted.safetensors"
    assert run(["convert", OWN, recipe, "--save", str(file), "--seed", "3"]) == 0
    capsys.readouterr()
    if recipe == "fold":
        assert file.stat().st_size > 1000
        return
    network = open_model(f"{OWN}&convert={recipe}", checkpoint=str(file))
    again = open_model(f"{OWN}&convert={recipe}", seed=3)
    images = torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(network(images), again(images))


def test_a_checkpoint_is_loaded_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_run(tmp_path, {0: Small(seed=5)})
    source, file = tmp_path / "step0.safetensors", tmp_path / "folded.safetensors"
    assert run(["convert", MODEL, "gn", "--checkpoint", str(source), "--save", str(file)]) == 0
    capsys.readouterr()
    network = Small()
    network.load_state_dict(Small(seed=5).state_dict())
    assert torch.equal(load_file(file)["conv1.weight"], network.conv1.weight)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([MODEL, "nonsense"], 2, "no recipe 'nonsense'"),
        ([MODEL, "ws+gn", "--how", "nobody"], 2, "nobody"),
        ([MODEL, "micro-bcn", "--rate", "1.5"], 2, "--rate"),
        ([MODEL, "micro-bcn", "--warmup", "-1"], 2, "--warmup"),
        ([MODEL, "ws+gn", "--save", "weights.pt"], 2, ".safetensors"),
        ([MODEL, "ws+gn", "--output", "page.html"], 2, "page.html"),
        ([MODEL, "ws+gn", "--checkpoint", "none.safetensors"], 1, "none.safetensors"),
        (["nonsense", "ws+gn"], 1, "nonsense"),
        (["no.such:network", "nonsense"], 2, "no recipe 'nonsense'"),
        (["torch.nn:Identity", "ws+gn"], 1, "nothing in it becomes ws+gn"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert run(["convert", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1
