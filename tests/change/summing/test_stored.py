from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numba import njit

from weightatlas.change.summing import stored
from weightatlas.change.summing.stored import CONVERTS_HALF, as_stored, nothing, read, viewed

if TYPE_CHECKING:
    from pathlib import Path


@njit
def read_all(values: Any, into: Any) -> Any:  # noqa: ANN401 - typed by numba
    for index in range(values.size):
        into[index] = read(values[index])
    return nothing(values[0])


def all_patterns(dtype: torch.dtype) -> torch.Tensor:
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_bit_pattern_of_half_precision_is_read_exactly(dtype: torch.dtype) -> None:
    patterns = all_patterns(dtype)
    found = np.empty(2**16, np.float32)
    read_all(as_stored(patterns), found)
    expected = patterns.float().numpy()
    assert np.isnan(expected).sum() in {2046, 254}  # payloads of NaN, both signs
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    known = ~np.isnan(expected)
    assert np.array_equal(found[known].view(np.int32), expected[known].view(np.int32))  # -0 is not 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_full_precision_is_read_as_it_is(dtype: torch.dtype) -> None:
    values = torch.tensor([0.1, -0.0, 1e-40, torch.inf, torch.finfo(dtype).max], dtype=dtype)
    found = np.empty(5, values.numpy().dtype)
    zero = read_all(as_stored(values), found)
    assert found.tobytes() == values.numpy().tobytes()
    assert zero == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_what_the_loops_know_is_viewed_and_not_copied(dtype: torch.dtype) -> None:
    weight = torch.ones(64, dtype=dtype)
    array = viewed(weight)
    assert isinstance(array, np.ndarray)
    assert array.nbytes == weight.nbytes
    assert array.ctypes.data == weight.data_ptr()
    assert as_stored(array[8:24]).ctypes.data == weight[8:].data_ptr()


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.uint8], ids=str)
def test_other_types_are_converted_where_they_are_read(dtype: torch.dtype) -> None:
    weight = torch.arange(100).to(dtype)
    assert viewed(weight) is weight
    found = as_stored(weight[10:20])
    assert found.dtype == np.float32
    assert np.array_equal(found, weight.float()[10:20].numpy())


def test_elements_that_lie_apart_or_askew_are_copied_for_the_loops() -> None:
    apart = torch.arange(100.0)[::3]
    askew = np.zeros(41, np.uint8)[1:].view(np.float32)
    for weight in (apart, viewed(apart), askew):
        found = as_stored(weight)
        assert found.flags.c_contiguous
        assert found.flags.aligned
        assert np.array_equal(found, np.asarray(weight))


def test_without_the_processors_conversion_half_precision_is_converted_by_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored, "CONVERTS_HALF", False)
    weight = torch.tensor([1.5, -2.0, 6e-8], dtype=torch.float16)
    assert viewed(weight) is weight
    assert as_stored(weight).tolist() == weight.tolist()


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="other processors read half precision")
def test_a_processor_without_the_conversion_does_not_abort_python(tmp_path: Path) -> None:
    assert isinstance(CONVERTS_HALF, bool)
    script = """if True:
        import torch
        from weightatlas.change.statistics import statistics
        weight = torch.ones(9, dtype=torch.float16)
        print(statistics(weight, weight * 1.5, only_norms=True).ratio_l1)
    """
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    answer = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", script], env=os.environ | plain, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "0.5\n"), answer.stderr
