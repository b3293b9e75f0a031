"""Images that lie as files of their own, or as bytes in a table: decoded when a batch asks for them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.untrusted import summary
from weightatlas.data.decoding import KEEP, Fit, decode_image, quiet_decoding
from weightatlas.data.examples import Examples
from weightatlas.errors import SourceError

MEMORY: Final = 256 * 2**20
"""Bytes of pixels up to which a whole data set is kept once it is decoded: CIFAR's 50,000 images are 147 MB."""

TRIES: Final = 100
"""How many images are tried for the size of all, before the data count as unreadable."""


def encoded_examples(
    name: str,
    load: Callable[[int], bytes],
    targets: torch.Tensor,
    *,
    title: Callable[[int], str],
    fit: Fit = KEEP,
    classes: Sequence[str] | None = None,
    blocks: Sequence[int] = (),
    notes: Sequence[str] = (),
    split: str | None = None,
) -> Examples:
    """Examples whose inputs are image files, decoded when they are asked for.

    An image that cannot be decoded is left out of its batch and listed in `skipped`. Without a size to fit, all must
    have the size of the first.

    Args:
        name: what the user named.
        load: the bytes of the image of a number.
        targets: int64, (n,).
        title: how the image of a number is called in `skipped`.
        fit: the size to bring the images to.
        classes: names of the classes.
        blocks: lengths of the runs that are cheap to read together.
        notes: what was assumed.
        split: which part of the data they are.

    Raises:
        SourceError: no image is there, or none of the first hundred can be decoded. Fetching raises it where an image
            has another size than the first.
    """
    decoder = _Decoder(name, load, title, fit)
    height, width = decoder.measure(len(targets))
    if math.prod((len(targets), 3, height, width)) <= MEMORY:
        decoder.remember(len(targets))
    return Examples(
        name,
        decoder.fetch,
        targets,
        (3, height, width),
        None if classes is None else tuple(classes),
        tuple(blocks),
        decoder.skipped,
        tuple(notes),
        split,
    )


class _Decoder:
    """Decodes images by number; remembers them all where they are small, and what it could not read."""

    def __init__(self, name: str, load: Callable[[int], bytes], title: Callable[[int], str], fit: Fit) -> None:
        self.name = name
        self.load = load
        self.title = title
        self.fit = fit
        self.size = (0, 0)
        self.skipped: list[Skipped] = []
        self._failed: set[int] = set()
        self._lock = threading.Lock()
        self._pixels: torch.Tensor | None = None
        self._known: torch.Tensor | None = None

    def measure(self, count: int) -> tuple[int, int]:
        """Decode the first image that can be, for the height and width of all."""
        with quiet_decoding():
            for number in range(min(count, TRIES)):
                image = self._decode(number)
                if image is not None:
                    self.size = (image.shape[0], image.shape[1])
                    return self.size
        if not count:
            raise SourceError(self.name, "no image", "give data with one image or more")
        first = self.skipped[0]
        problem = f"none of its first {min(count, TRIES)} images can be read ({first.name[:80]}: {first.reason})"
        raise SourceError(self.name, problem, "check that they are images")

    def remember(self, count: int) -> None:
        """Keep what is decoded from now on."""
        self._pixels = torch.empty((count, *self.size, 3), dtype=torch.uint8)
        self._known = torch.zeros(count, dtype=torch.bool)

    def fetch(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The images (k, 3, h, w) of those numbers that can be read, and the numbers."""
        if self._pixels is not None and self._known is not None:
            missing = numbers[~self._known[numbers]]
            if len(missing):
                pixels, read = self._decoded(missing)
                self._pixels[read] = pixels
                self._known[read] = True
            readable = numbers[self._known[numbers]]
            return self._pixels[readable].permute(0, 3, 1, 2), readable
        pixels, read = self._decoded(numbers)
        return pixels.permute(0, 3, 1, 2), read

    def _decoded(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = np.empty((len(numbers), *self.size, 3), dtype=np.uint8)
        read: list[int] = []
        with quiet_decoding():
            for number in numbers.tolist():
                image = self._decode(number)
                if image is None:
                    continue
                if image.shape[:2] != self.size:
                    raise self._other_size(number, image.shape)
                pixels[len(read)] = image
                read.append(number)
        return torch.from_numpy(pixels[: len(read)]), torch.tensor(read, dtype=torch.int64)

    def _decode(self, number: int) -> np.ndarray | None:
        if number in self._failed:
            return None
        try:
            return decode_image(self.load(number), self.fit)
        except SourceError:  # the file around the image is broken, not one image
            raise
        except Exception as error:  # noqa: BLE001 - a decoder raises nearly anything on a corrupt image
            with self._lock:
                if number not in self._failed:
                    self._failed.add(number)
                    self.skipped.append(Skipped(self.title(number), f"cannot be decoded ({summary(error)})"))
            return None

    def _other_size(self, number: int, shape: Sequence[int]) -> SourceError:
        problem = (
            f"its images have several sizes: {self.title(number)[:80]} is {shape[1]} x {shape[0]}, "
            f"the first is {self.size[1]} x {self.size[0]}"
        )
        return SourceError(self.name, problem, "add a size to bring them to, such as ?size=224")
