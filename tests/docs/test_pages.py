"""What the pages say is so: links lead somewhere, fields and constants are those of the code, figures those printed."""

from __future__ import annotations

import re
import runpy
from importlib import import_module
from typing import TYPE_CHECKING, get_args

import pytest

from tests.docs.pages import PAGES, ROOT, page_name, section, table_rows
from weightatlas.anatomy.listing import COLUMNS
from weightatlas.anatomy.vocabulary import Kind, Role
from weightatlas.banding import tables
from weightatlas.branching.consistency import Consistency
from weightatlas.branching.tables import COLUMNS as BRANCHING_COLUMNS
from weightatlas.change.tables import COLUMNS as CHANGE_COLUMNS
from weightatlas.conditioning.tables import COLUMNS as CONDITIONING_COLUMNS
from weightatlas.connectivity.merge import COLUMNS as MERGE_COLUMNS
from weightatlas.connectivity.tables import COLUMNS as CONNECTIVITY_COLUMNS
from weightatlas.degeneracy.tables import COLUMNS as DEGENERACY_COLUMNS
from weightatlas.lab.experiments.banding_result import BandingExperimentResult
from weightatlas.lab.experiments.branch_result import BranchExperimentResult
from weightatlas.lab.experiments.change_result import ChangeExperimentResult
from weightatlas.lab.experiments.degeneracy_result import DegeneracyResult
from weightatlas.lab.experiments.micro_batch_result import MicroBatchResult
from weightatlas.nn import Conversion
from weightatlas.result import columns_with_source

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CLI = ROOT / "docs" / "cli.md"
BANDING = ROOT / "docs" / "banding.md"
TABLES = {
    "### layers": COLUMNS,
    **{f"### banding, `{name}`": columns for name, columns in tables.COLUMNS.items()},
    **{f"### branching, `{name}`": columns for name, columns in BRANCHING_COLUMNS.items()},
    "### branching, `consistency`": Consistency.tables["consistency"],
    **{f"### change, `{name}`": columns for name, columns in CHANGE_COLUMNS.items()},
    **{f"### conditioning, `{name}`": columns for name, columns in CONDITIONING_COLUMNS.items()},
    **{f"### connect, `{name}`": columns for name, columns in CONNECTIVITY_COLUMNS.items()},
    **{f"### degeneracy, `{name}`": columns for name, columns in DEGENERACY_COLUMNS.items()},
    "### merge": MERGE_COLUMNS,
    "### convert": Conversion.tables["layers"],
    "### experiment, `effects`": BandingExperimentResult.tables["effects"],
    **{
        f"### experiment {experiment}, `{name}`": columns
        for experiment, kind in (
            ("weight-banding", BandingExperimentResult),
            ("branch-specialization", BranchExperimentResult),
            ("weight-change", ChangeExperimentResult),
            ("micro-batch", MicroBatchResult),
            ("degeneracy", DegeneracyResult),
        )
        for name, columns in kind.tables.items()
        if name not in ("variants", "effects")
    },
}


def slug(heading: str) -> str:
    """The anchor that Markdown gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of a page."""
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    missing = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        linked = page.parent / path if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize(("heading", "columns"), TABLES.items(), ids=str)
def test_every_field_is_described_and_no_other(heading: str, columns: tuple[str, ...]) -> None:
    described = [name for row in table_rows(section(CLI, heading))[2:] for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(described) == sorted(columns_with_source(columns))


def test_every_kind_and_role_is_described() -> None:
    page = ROOT / "docs" / "anatomy.md"
    for heading, words in (("## Kinds", Kind), ("## Roles", Role)):
        named = set(re.findall(r"`([\w-]+)`", " ".join(row[0] for row in table_rows(section(page, heading)))))
        attention = {f"attention{short}" for short in named if short.startswith("-")}
        assert set(get_args(words)) == {name for name in named if not name.startswith("-")} | attention


def test_constants_are_those_of_the_code() -> None:
    modules = [import_module(f"weightatlas.banding.{name}") for name in ("score", "layer", "types", "flips")]
    rows = table_rows(section(BANDING, "## Verdicts"))[2:]
    assert len(rows) == 8
    for name, value, _ in rows:
        constant = name.strip("`")
        found = {vars(module)[constant] for module in modules if constant in vars(module)}
        assert found == {float(value.replace(",", ""))}, constant


@pytest.mark.reference
def test_figures_are_those_that_the_command_prints(
    reference: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["banding_cuts.py", str(reference)])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(ROOT / "benchmarks" / "banding_cuts.py"), run_name="__main__")
    assert leaving.value.code == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    text = BANDING.read_text(encoding="utf-8")
    assert len(printed) > 20
    assert [line for line in printed if line not in text] == []
