"""What the tests of the documentation read: the pages, their code blocks, and the checkpoint they speak of."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import save_file

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md")))
BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ENDS_A_COMMAND: Final = ("|", ">", "&&", ";")


def page_name(page: Path) -> str:
    """How a page is called in a test's name."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced code blocks of a page in the languages named."""
    return [code for language, code in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of every line of a shell block that starts with a program."""
    for block in blocks(page, "sh", "bash", "console"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == program:
                end = next((place for place, word in enumerate(words) if word in ENDS_A_COMMAND), len(words))
                yield words[1:end]


def table_rows(section: str) -> list[list[str]]:
    """The cells of all tables in a piece of Markdown, heads and rules included; an escaped bar is no cell's end."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def section(page: Path, heading: str) -> str:
    """What stands under a heading, to the next one of its level or above."""
    level = heading.split(" ", maxsplit=1)[0]
    text = page.read_text(encoding="utf-8")
    start = text.index(f"\n{heading}\n") + len(heading) + 2
    following = re.search(rf"^#{{1,{len(level)}}} ", text[start:], re.MULTILINE)
    return text[start : start + following.start()] if following else text[start:]


def make_checkpoint(folder: Path) -> None:
    """Write the checkpoint that the pages speak of: two convolutions and a fully connected layer over a 6 x 6 map.

    And a run of such checkpoints, `runs/today`, in which the classifier stands still from step 300 on; the first and
    the last of them, `before.safetensors` and `after.pt`; the configuration `run.toml` as the page on training has it;
    families and branches of the first layer's units.
    """
    for name, units in (
        ("families", {"low": [0, 1, 2], "high": [3, 4]}),
        ("branches", {"one": [0, 1, 2, 3], "two": [4, 5, 6, 7]}),
    ):
        (folder / f"{name}.json").write_text(json.dumps({"features.0": units}), encoding="utf-8")
    (folder / "run.toml").write_text(blocks(ROOT / "docs" / "training.md", "toml")[0], encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    shapes = {"features.0.weight": (8, 3, 5, 5), "features.3.weight": (32, 8, 3, 3), "classifier.1.weight": (4, 9216)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    tensors["features.0.bias"] = torch.zeros(8)
    save_file(tensors, folder / "model.safetensors")
    run = folder / "runs" / "today"
    run.mkdir(parents=True)
    save_file(tensors, folder / "before.safetensors")
    for step in range(100, 900, 100):
        save_file(tensors, run / f"step{step}.safetensors")
        moved = [name for name in tensors if step < 300 or "classifier" not in name]
        tensors |= {
            name: tensors[name] + 0.01 * torch.randn(tensors[name].shape, generator=generator) for name in moved
        }
    torch.save(tensors, folder / "after.pt")
