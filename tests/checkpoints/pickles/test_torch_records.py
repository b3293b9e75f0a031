from __future__ import annotations

from typing import Any

import pytest

from weightatlas.checkpoints.pickles.pickle_records import Call, Global, Persistent
from weightatlas.checkpoints.pickles.torch_records import (
    Unreadable,
    builds_tensor,
    inner_call,
    sizes_of,
    storage_record,
    tensor_record,
)

STORAGE = Persistent(("storage", Global("torch", "FloatStorage"), "0", "cpu", 12))


def rebuild(*arguments: Any, version: str = "_v2") -> Call:  # noqa: ANN401 - anything can be in a pickle
    return Call(Global("torch._utils", f"_rebuild_tensor{version}"), arguments)


def test_a_tensor_is_read_from_the_call_that_would_build_it() -> None:
    record = tensor_record(rebuild(STORAGE, 2, (2, 3), (3, 1), False, None))
    assert (record.dtype, record.shape, record.strides, record.offset) == ("float32", (2, 3), (3, 1), 2)
    assert (record.storage.key, record.storage.count) == ("0", 12)
    old = tensor_record(rebuild(STORAGE, 0, Call(Global("torch", "Size"), ((12,),)), (1,), version=""))
    assert old.shape == (12,)


def test_the_third_version_says_its_type() -> None:
    raw = Persistent(("storage", Global("torch.storage", "UntypedStorage"), "3", "cpu", 8))
    record = tensor_record(rebuild(raw, 0, (4,), (1,), False, None, Global("torch", "uint16"), version="_v3"))
    assert record.dtype == "uint16"
    with pytest.raises(Unreadable, match="bits8 cannot be measured"):
        tensor_record(rebuild(raw, 0, (4,), (1,), False, None, Global("torch", "bits8"), version="_v3"))


def test_parameters_and_torchs_own_types_are_taken_off() -> None:
    tensor = rebuild(STORAGE, 0, (2,), (1,))
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), (tensor, True, None))
    assert inner_call(parameter) is tensor
    typed = Call(
        Global("torch._tensor", "_rebuild_from_type_v2"),
        (tensor.function, Global("torch.nn.parameter", "Buffer"), tensor.arguments, {}),
    )
    assert tensor_record(inner_call(typed)).shape == (2,)
    moved = Call(Global("torch.tensor", "_rebuild_from_type"), typed.arguments)  # the module's name before 1.7
    assert tensor_record(inner_call(moved)).shape == (2,)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (Call(Global("torch._utils", "_rebuild_qtensor"), ()), "quantized"),
        (Call(Global("torch._utils", "_rebuild_nested_tensor"), ()), "nested"),
        (Call(Global("torch._utils", "_rebuild_meta_tensor_no_storage"), ()), "meta device"),
        (
            Call(
                Global("torch._tensor", "_rebuild_from_type_v2"),
                (Global("torch._utils", "f"), Global("torch.distributed.tensor", "DTensor"), (), {}),
            ),
            "a DTensor, a tensor of a type of its own",
        ),
        (Call(Global("torch._utils", "_rebuild_parameter"), (3, True, None)), "nothing that makes"),
    ],
)
def test_what_is_no_plain_tensor_is_a_reason(call: Call, says: str) -> None:
    assert builds_tensor(call)
    with pytest.raises(Unreadable, match=says):
        inner_call(call)


def test_wrappers_without_end_are_a_reason() -> None:
    call = Call(Global("torch._utils", "_rebuild_parameter"), ())
    call.arguments = (call, True, None)
    with pytest.raises(Unreadable, match="nothing that makes"):
        inner_call(call)


@pytest.mark.parametrize(
    "call",
    [
        rebuild(STORAGE, 0, (2,)),
        rebuild(STORAGE, -1, (2,), (1,)),
        rebuild(STORAGE, 0, (-2,), (1,)),
        rebuild(STORAGE, 0, (2,), (-1,)),
        rebuild(STORAGE, 0, (2, 3), (1,)),
        rebuild(STORAGE, 0, (2**63,), (1,)),
        rebuild(STORAGE, 0, "shape", (1,)),
        rebuild(STORAGE, True, (2,), (1,)),
        rebuild(STORAGE, 0, (1,) * 65, (1,) * 65),
        rebuild("storage", 0, (2,), (1,)),
    ],
)
def test_arguments_that_make_no_tensor_are_a_reason(call: Call) -> None:
    with pytest.raises(Unreadable):
        tensor_record(call)


@pytest.mark.parametrize(
    "identity",
    [
        None,
        "storage",
        ("storage",),
        ("module", Global("torch", "FloatStorage"), "0", "cpu", 1),
        ("storage", Global("mypackage", "FloatStorage"), "0", "cpu", 1),
        ("storage", Global("torch", "Size"), "0", "cpu", 1),
        ("storage", "FloatStorage", "0", "cpu", 1),
        ("storage", Global("torch", "FloatStorage"), ("0",), "cpu", 1),
        ("storage", Global("torch", "FloatStorage"), "0", "cpu", -1),
        ("storage", Global("torch", "FloatStorage"), "0", "cpu", 5, ("1", -1, 2)),
    ],
)
def test_what_names_no_storage_is_none(identity: object) -> None:
    assert storage_record(Persistent(identity)) is None


def test_storages_of_old_files_may_be_views_of_others() -> None:
    record = storage_record(
        Persistent(("storage", Global("torch.cuda", "HalfStorage"), "7", "cuda:0", 10, ("8", 6, 9)))
    )
    assert record is not None
    assert (record.key, record.dtype, record.first, record.count) == ("7", "float16", 6, 4)


def test_sizes_are_numbers_not_below_zero() -> None:
    assert sizes_of((1, 2)) == (1, 2)
    assert sizes_of([3]) == (3,)
    assert sizes_of(()) == ()
    assert sizes_of((1, None)) is None
    assert sizes_of(3) is None
