"""The blocks read last from remote objects: parsers read headers in small steps, a request should fetch a block."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

BLOCK: Final = 65_536
LIMIT: Final = 256


class RecentBlocks:
    """At most 16 MiB of blocks, shared by all objects of one opening; the one unused longest goes first."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._last = 0

    def owner(self) -> int:
        """A number for one more object whose blocks are kept here."""
        with self._lock:
            self._last += 1
            return self._last

    def get(self, owner: int, index: int) -> bytes | None:
        """A block, if it is still here."""
        with self._lock:
            block = self._blocks.get((owner, index))
            if block is not None:
                self._blocks.move_to_end((owner, index))
            return block

    def put(self, owner: int, first: int, data: bytes) -> None:
        """Keep bytes that begin at block `first`; the last block of an object may be short."""
        with self._lock:
            for start in range(0, len(data), BLOCK):
                self._blocks[owner, first + start // BLOCK] = data[start : start + BLOCK]
            while len(self._blocks) > LIMIT:
                self._blocks.popitem(last=False)
