from __future__ import annotations

import pytest

from weightatlas.checkpoints.runs.step_pattern import compile_pattern, template_of


@pytest.mark.parametrize(
    ("pattern", "name", "step"),
    [
        ("model_{step}.pt", "model_1000.pt", 1000),
        ("model_{step}.pt", "model_10k.pt", 10_000),
        ("model_{step}.pt", "runs/model_7.pt", 7),
        ("model_{step}.pt", "my_model_7.pt", None),
        ("model_{step}.pt", "model_7.pth", None),
        ("*-{step}-*.pt", "a-7-b.pt", 7),
        ("resnet{step}", "resnet50/", 50),
        ("model_{step}.pt", "model_1.5e4.pt", 15_000),
        ("model_{step}.pt", "model_1E+03.pt", 1000),
        (r"(?P<step>\d+)-(\d+)", "3-9.pt", 3),
        (r"-(\d+)", "3-9.pt", 9),
        (r"n(\w+)", "nothing", None),
        (r"n(\d+)?", "n", None),
    ],
)
def test_a_pattern_finds_the_step(pattern: str, name: str, step: int | None) -> None:
    assert compile_pattern(pattern).step(name) == step


def test_a_template_may_name_a_file_within_the_folder() -> None:
    pattern = compile_pattern("step{step}/model.pt")
    assert (pattern.inner, pattern.step("step12"), pattern.step("step12x")) == ("model.pt", 12, None)


def test_a_step_below_a_fixed_folder_is_found() -> None:
    pattern = compile_pattern("weights/{step}.pt")
    assert (pattern.inner, pattern.step("run/weights/12.pt")) == ("", 12)


@pytest.mark.parametrize("pattern", ["(", r"\d+", r"(\d)(\d)", ""])
def test_what_names_no_step_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="step"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("names", "others", "template"),
    [
        (["G_1000.pth", "G_2000.pth"], ["D_1000.pth"], "G_{step}.pth"),
        (["10_net_G.pth", "20_net_G.pth"], ["10_net_D.pth"], "{step}_net_G.pth"),
        (["epoch=1-step=20.ckpt", "epoch=2-step=40.ckpt"], [], "epoch=*-step={step}.ckpt"),
        (["m_1e3.pt", "m_1.5k.pt"], [], "m_{step}.pt"),
        (["step1000-tokens4B"], [], "step{step}-tokens*"),
        (["1000"], [], "{step}"),
        (["net_18.pt"], ["net_50.pt"], None),
        (["a.pt", "b.pt"], [], None),
        (["a{step}_5"], [], None),
        (["1" * 500], [], None),
    ],
)
def test_a_template_is_found_for_names(names: list[str], others: list[str], template: str | None) -> None:
    assert template_of(names, others) == template
