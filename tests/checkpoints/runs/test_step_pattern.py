from __future__ import annotations

import pytest

from weightatlas.checkpoints.runs.step_pattern import compile_pattern


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
