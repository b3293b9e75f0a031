from __future__ import annotations

import json
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.evaluation import load_checkpoint
from weightatlas.evaluation.exported import is_export, open_export

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL, INPUTS = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "net.pt2"
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network(), (torch.zeros(2, 3, 4, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


def rewritten(export: Path, target: Path, changes: dict[str, Any], extra: dict[str, bytes] | None = None) -> Path:
    """The archive with some entries changed, left out or added."""
    with zipfile.ZipFile(export) as before, zipfile.ZipFile(target, "w") as after:
        root = before.namelist()[0].partition("/")[0]
        for entry in before.infolist():
            name = entry.filename.partition("/")[2]
            content = changes[name](before.read(entry)) if name in changes else before.read(entry)
            if content is not None:
                after.writestr(entry.filename, content)
        for name, content in (extra or {}).items():
            after.writestr(f"{root}/{name}", content)
    return target


def test_an_export_runs_as_the_network_did_at_every_batch_size(export: Path) -> None:
    assert is_export(export)
    model, reference = open_export(export), network()
    for count in (1, 2, 7):
        inputs = torch.randn(count, 3, 4, 4)
        assert torch.allclose(model(inputs), reference(inputs), atol=1e-6)


def test_a_checkpoint_goes_into_an_export(export: Path) -> None:
    model, other = open_export(export), network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    load_checkpoint(model, other)
    inputs = torch.randn(2, 3, 4, 4)
    assert torch.allclose(model(inputs), other(inputs), atol=1e-5)


def test_the_archive_as_rewritten_by_the_tests_opens(export: Path, tmp_path: Path) -> None:
    assert open_export(rewritten(export, tmp_path / "same.pt2", {}))(torch.zeros(1, 3, 4, 4)).shape == (1, 2)


def test_other_files_are_no_export(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "weights.pt")
    (tmp_path / "text").write_text("text")
    assert not is_export(tmp_path / "weights.pt")
    assert not is_export(tmp_path / "text")


class Runs:
    """What a hostile pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code ran')",)


def edit(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return changed


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        text = content.decode()
        assert old in text
        return text.replace(old, new).encode()

    return changed


RUN = "__import__('os')._exit(3)"
HOSTILE: dict[str, tuple[dict[str, Any], dict[str, bytes], str]] = {
    "pickled example inputs": ({INPUTS: lambda _: pickle.dumps(Runs())}, {}, "example inputs that are more"),
    "pickled weight": (
        {WEIGHTS: edit(lambda value: value["config"]["0.weight"].update(use_pickle=True))}, {}, "pickled"),
    "weight that is not there": (
        {WEIGHTS: edit(lambda value: value["config"]["0.weight"].update(path_name="../weight_0"))}, {}, "not there"),
    "weights of the old form": ({}, {"data/weights/model.pt": pickle.dumps(Runs())}, "more than a graph"),
    "opaque constant": ({}, {"data/constants/opaque_obj_0": pickle.dumps(Runs())}, "more than a graph"),
    "custom object": ({}, {"data/constants/custom_obj_0": b""}, "more than a graph"),
    "compiled library": ({}, {"data/aotinductor/model/a.so": b"\x7fELF"}, "more than a graph"),
    "second model": ({}, {"models/other.json": b"{}"}, "more than a graph"),
    "huge tensor without bytes": ({"data/weights/weight_0": lambda _: b""}, {}, "elements and no bytes"),
    "operator that runs code": ({MODEL: replaced("torch.ops.aten.relu.default", "torch.hub.load")}, {}, "as target"),
    "operator that reaches a file": (
        {MODEL: replaced("torch.ops.aten.relu.default", "torch.ops.aten.from_file.default")}, {}, "as target"),
    "operator with dunders": (
        {MODEL: replaced("torch.ops.aten.relu.default", "torch.ops.aten.__class__.mro")}, {}, "as target"),
    "expression": ({MODEL: edit(lambda value: value["graph_module"]["graph"]["sym_int_values"].update(
        s={"as_expr": {"expr_str": RUN, "hint": None}}))}, {}, "as expr_str"),
    "tower of powers": ({MODEL: edit(lambda value: value["graph_module"]["graph"]["sym_int_values"].update(
        s={"as_expr": {"expr_str": "9**9**9**9", "hint": None}}))}, {}, "as expr_str"),
    "name of an input": ({MODEL: replaced('"input"', f'"x={RUN}"')}, {}, "which no plain export has"),
    "name of a module": ({MODEL: replaced('"fqn": ""', f'"fqn": "{RUN}"')}, {}, "which no plain export has"),
    "tree of an unknown type": ({MODEL: replaced("builtins.tuple", "collections.defaultdict")}, {}, "as in_spec"),
    "tree with an enum": (
        {MODEL: replaced('\\"context\\": \\"null\\"', '\\"context\\": \\"{__enum__: 1}\\"')}, {}, "as in_spec"),
    "no graph": ({MODEL: lambda _: None}, {}, "no models/model.json in it"),
    "no JSON": ({MODEL: lambda _: b"[1, "}, {}, "cannot be read"),
    "JSON of another kind": ({WEIGHTS: lambda _: b"[]"}, {}, "corrupt"),
    "cut short": ({"data/weights/weight_0": lambda content: content[:-4]}, {}, "cannot be loaded as an exported"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_could_run_code_or_is_broken_is_refused(case: str, export: Path, tmp_path: Path) -> None:
    changes, extra, words = HOSTILE[case]
    path = rewritten(export, tmp_path / "hostile.pt2", changes, extra)
    with pytest.raises(SourceError, match=words) as caught:
        open_export(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_is_refused(export: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pt2"
    path.write_bytes(export.read_bytes()[:-200])
    with pytest.raises(SourceError):
        open_export(path)
