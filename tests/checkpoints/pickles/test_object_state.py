from __future__ import annotations

import collections
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.checkpoints.pickles.torch_saving import save
from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.pickles.object_state import ModuleReader, as_dictionary, describe, module_class
from weightatlas.checkpoints.pickles.pickle_machine import PickleError
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent, Global, Persistent
from weightatlas.errors import SourceError

TENSOR = Call(Global("torch._utils", "_rebuild_tensor_v2"), ())


def module(parameters: dict[str, object], modules: dict[str, object], **more: object) -> Call:
    state = {"_parameters": parameters, "_buffers": {}, "_modules": modules, "training": True, **more}
    return Call(Global("mypackage", "Net"), (), state=state)


class Learner:
    """Holds a model among other things, as trainers do."""

    def __init__(self) -> None:
        self.model = nn.Linear(3, 2)
        self.path = Path("runs")
        self.epoch = 7


def test_an_object_that_holds_a_model_gives_its_weights(tmp_path: Path) -> None:
    learner = Learner()
    checkpoint = open_checkpoint(save(learner, tmp_path / "x.pkl", zipped=True))
    assert list(checkpoint) == ["weight", "bias"]
    assert torch.equal(checkpoint["weight"], learner.model.weight.detach())
    assert checkpoint.metadata == {"epoch": "7"}
    assert {row.name: row.reason for row in checkpoint.skipped} == {
        "path": "a pathlib.PosixPath object, which is not loaded"
    }


def test_an_object_without_weights_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(collections.deque([1, 2])))
    with pytest.raises(SourceError, match=r"holds a collections\.deque, no dictionary"):
        open_checkpoint(tmp_path / "x.pkl")


def test_names_are_those_of_a_state_dict() -> None:
    inner = module({"weight": TENSOR, "bias": None}, {})
    net = module({"scale": TENSOR}, {"a": inner, "b": inner, "none": None}, _buffers={"mean": TENSOR, "mask": TENSOR})
    assert net.state is not None
    net.state["_non_persistent_buffers_set"] = Call(Global("__builtin__", "set"), (["mask"],))
    assert list(ModuleReader().tensors(net)) == ["scale", "mean", "a.weight", "b.weight"]


def test_objects_of_torchscript_hold_their_tensors_as_attributes() -> None:
    layer = Call(Global("__torch__.torch.nn", "Linear"), (), state={"weight": TENSOR, "training": False})
    net = Call(Global("__torch__", "Net"), (), state={"fc": layer, "scale": TENSOR})
    assert module_class(net) == "__torch__.Net"
    assert list(ModuleReader().tensors(net)) == ["scale", "fc.weight"]


def test_modules_that_hold_each_other_end() -> None:
    loop = module({"w": TENSOR}, {})
    loop.state["_modules"]["again"] = loop
    with pytest.raises(PickleError, match="without end"):
        ModuleReader().tensors(loop)
    wide = module({}, {})
    for _ in range(60):
        wide = module({}, {"left": wide, "right": wide})
    with pytest.raises(PickleError, match="without end"):
        ModuleReader().tensors(wide)


def test_dictionaries_of_every_kind_become_plain() -> None:
    ordered = Call(Global("collections", "OrderedDict"), (), items={"a": 1})
    old = Call(Global("collections", "OrderedDict"), ([["a", 1], ["b", 2]],))
    own = Call(Global("easydict", "EasyDict"), (), items={"a": 1})
    assert as_dictionary(ordered) == {"a": 1}
    assert as_dictionary(old) == {"a": 1, "b": 2}
    assert as_dictionary(own) == {"a": 1}
    assert as_dictionary(Call(Global("collections", "OrderedDict"), ())) == {}
    assert as_dictionary(Call(Global("mypackage", "Config"), ())) is None
    assert as_dictionary([("a", 1)]) is None


def test_tidying_goes_all_the_way_down_and_ends() -> None:
    state: dict[str, object] = {"inner": Call(Global("collections", "OrderedDict"), (), items={"net": module({}, {})})}
    state["loop"] = state
    reader = ModuleReader()
    tidied = reader.tidy(state)
    assert tidied["inner"] == {"net": {}}
    assert tidied["loop"] is tidied
    assert list(reader.classes) == ["mypackage.Net"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Global("m", "f"), "the name m.f, which is not loaded"),
        (Extent(0, 70_000, is_text=True), "70000 bytes of text"),
        (Extent(0, 5000), "5000 bytes of data"),
        (Persistent(("storage",)), "a storage without a tensor"),
        (Call(Persistent(("module", Global("m", "Net"), "net.py", "class Net")), ()), "a m.Net object"),
        (Call(Persistent(None), ()), "something unnamed"),
        ([1], "no tensor: list"),
    ],
)
def test_what_is_no_tensor_is_described(value: object, says: str) -> None:
    assert says in describe(value)
