"""A mapped file that another process cuts short: one line and exit 1 instead of death by a signal.

A page of a mapping that no longer has a file behind it raises SIGBUS in the thread that looks at it, in the middle of a
kernel. Python's own signal handlers run too late: the same instruction would fault again. The handler here is called
at once. It may run Python, since the signal is synchronous: what it interrupts is a load from the mapping, never an
allocation or a lock. Results are written beside their place and renamed, so nothing half-written remains.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Final

LINE: Final = (
    b"weightatlas: a file was cut short by another process while it was read; start again once it is written\n"
)


_TURN: Final = iter(range(1))  # many threads may look at the file; the first one speaks


def _leave(_number: int) -> None:
    for _ in _TURN:
        os.write(2, LINE)
        os._exit(1)
    time.sleep(60)  # the first is about to end the process


_HANDLER: Final = ctypes.CFUNCTYPE(None, ctypes.c_int)(_leave)


def leave_on_bus_errors() -> None:
    """Leave with a line and exit 1 when a mapped file is cut short; does nothing where there is no SIGBUS."""
    number = getattr(signal, "SIGBUS", None)
    if number is not None and sys.platform != "win32":
        install = ctypes.CDLL(None).signal
        install.argtypes = [ctypes.c_int, ctypes.c_void_p]
        install.restype = ctypes.c_void_p
        install(int(number), ctypes.cast(_HANDLER, ctypes.c_void_p))
