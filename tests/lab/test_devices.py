from __future__ import annotations

import builtins
import logging
import os
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from weightatlas.errors import MissingDependencyError, SourceError, WeightatlasError
from weightatlas.lab import Devices
from weightatlas.lab.devices import (
    first_alone,
    is_first_process,
    open_fabric,
    over_processes,
    process,
    quiet_fabric,
    threads,
)


@pytest.mark.parametrize("more", [{"devices": 0}, {"nodes": 0}])
def test_no_devices_are_refused(more: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        Devices(**more)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_named_with_what_to_do() -> None:
    with pytest.raises(SourceError, match=r"1 x cuda in 32-true: cannot be used here .*give --accelerator cpu"):
        open_fabric(Devices(accelerator="cuda"), "32-true")


def test_half_precision_on_the_processor_is_refused_where_fabric_would_take_another() -> None:
    with pytest.raises(SourceError, match=r"16-mixed: the CPU does not compute in it; give --precision bf16-mixed"):
        open_fabric(Devices(accelerator="cpu"), "16-mixed")


def test_fabric_opens_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger("lightning_fabric").level
    fabric = open_fabric(Devices(accelerator="cpu"), "bf16-mixed")
    assert (str(fabric.device), fabric.world_size, fabric.is_global_zero) == ("cpu", 1, True)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("lightning_fabric").level == level


def test_without_fabric_the_line_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any, **more: Any) -> Any:  # noqa: ANN401 - handed on
        if name == "lightning_fabric":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'weightatlas\[train\]'"):
        open_fabric(Devices(accelerator="cpu"), "32-true")


def test_the_number_of_the_process_is_that_of_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert is_first_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert process() == 1
    monkeypatch.setenv("RANK", "5")
    assert process() == 5
    assert not is_first_process()


def test_only_fabrics_warnings_are_silenced() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with quiet_fabric():
            warnings.warn_explicit("advice", UserWarning, "fabric.py", 1, module="lightning_fabric.fabric")
            warnings.warn("of ours", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["of ours"]


def test_threads_are_put_back_after_an_error_too() -> None:
    before = torch.get_num_threads()
    seen = []

    def fails() -> None:
        seen.append(torch.get_num_threads())
        raise KeyError

    with pytest.raises(KeyError), threads(before + 1):
        fails()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_one_process_is_the_mean_and_the_sum_of_all() -> None:
    fabric = open_fabric(Devices(accelerator="cpu"), "32-true")
    assert over_processes(fabric, torch.tensor([1.0, 2.0]), "mean").tolist() == [1, 2]
    assert over_processes(fabric, torch.tensor([1.0, 2.0]), "sum").tolist() == [1, 2]


class Sent:
    """What the first of two processes broadcasts, and the second receives."""

    def __init__(self) -> None:
        self.parcel: Any = None

    def of(self, rank: int) -> Any:  # noqa: ANN401 - handed on
        return SimpleNamespace(
            world_size=2, is_global_zero=rank == 0, broadcast=self._first if rank == 0 else self._other
        )

    def _first(self, parcel: Any) -> Any:  # noqa: ANN401 - handed on
        self.parcel = parcel
        return parcel

    def _other(self, _: Any) -> Any:  # noqa: ANN401 - handed on
        return self.parcel


def test_what_the_first_process_finds_reaches_all_and_is_looked_for_once() -> None:
    sent, looked = Sent(), []
    answers = [first_alone(sent.of(rank), lambda: looked.append(1) or "there") for rank in (0, 1)]  # type: ignore[func-returns-value]
    assert answers == ["there", "there"]
    assert looked == [1]


@pytest.mark.parametrize(
    ("error", "there"),
    [
        (SourceError("run", "is full", "make room"), "run: is full; make room"),
        (ZeroDivisionError("by zero"), r"the first process stopped \(ZeroDivisionError: by zero\)"),
    ],
)
def test_an_error_of_the_first_process_is_raised_in_all(error: Exception, there: str) -> None:
    def fails() -> None:
        raise error

    sent = Sent()
    with pytest.raises(type(error)) as raised:
        first_alone(sent.of(0), fails)
    assert raised.value is error
    with pytest.raises(WeightatlasError, match=there):
        first_alone(sent.of(1), fails)


def test_under_torchrun_the_processes_are_those_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightatlas.lab import devices

    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setitem(os.environ, name, value)
    assert devices._started(Devices(accelerator="cpu")) == Devices(accelerator="cpu", devices=4, nodes=2)
