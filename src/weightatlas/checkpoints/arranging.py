"""From what a format finds to what every command sees: wrappers undone, arrays in torch's order, tensors read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from weightatlas.checkpoints.bounded_names import bounded_names, encodable
from weightatlas.checkpoints.checkpoint import Checkpoint, Skipped, TensorInfo
from weightatlas.checkpoints.layout import arranged, arranged_shape, from_hwio, note_of_hwio
from weightatlas.checkpoints.mapped import read_elements, read_span
from weightatlas.checkpoints.ordering import in_network_order
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.checkpoints.wrapping import split_key, unwrap
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.contents import Contents, Header, Layout, Span


def arrange(
    name: str, contents: Contents, layout: Layout | None, reopen: Callable[[], Checkpoint] | None = None
) -> Checkpoint:
    """Undo wrappers and layouts; what comes out is what every command sees. `reopen` opens it in another process."""
    kept, unnamed = bounded_names(name, contents.headers)
    skipped = [Skipped(encodable(entry.name), encodable(entry.reason)) for entry in (*contents.skipped, *unnamed)]
    headers, notes = laid_out(replace(contents, headers=kept), layout)
    keys, undone = unwrap([header.key for header in headers])
    places = _distinct([split_key(key) for key in keys], headers)
    if not headers:
        reasons = "; ".join(sorted({entry.reason for entry in skipped})[:3])
        problem = f"holds no tensors ({reasons})" if reasons else "holds no tensors"
        raise SourceError(name, problem, "give a file of weights")
    info = [
        TensorInfo(header.name, *place, arranged_shape(header), header.dtype, header.nbytes, header.file)
        for header, place in zip(headers, places, strict=True)
    ]
    stored = {header.name: header for header in headers}

    def read(tensor: TensorInfo) -> torch.Tensor:
        with untrusted(tensor.file, f"{tensor.name[:80]!r} cannot be read"):
            header = stored[tensor.name]
            if header.span is None:
                return arranged(contents.read(tensor.name), header)
            return arranged(read_span(header.span, header.shape, header.dtype), header)

    def parts(tensor: TensorInfo) -> Callable[[int, int], torch.Tensor]:
        header = stored[tensor.name]
        span = _plain_span(header)
        if span is None:
            flat = read(tensor).reshape(-1)
            return lambda start, stop: flat[start:stop]

        def fetch(start: int, stop: int) -> torch.Tensor:
            with untrusted(tensor.file, f"{tensor.name[:80]!r} cannot be read"):
                return read_elements(span, start, stop, header.dtype)

        return fetch

    return Checkpoint(
        name,
        info if contents.in_order else in_network_order(info),
        read,
        parts=parts,
        is_mapped=lambda tensor: (span := _plain_span(stored[tensor.name])) is not None and span.blob.is_local,
        reopen=reopen,
        file_format=contents.format,
        metadata={encodable(key): encodable(value) for key, value in contents.metadata.items()},
        skipped=skipped,
        notes=(*notes, *undone),
    )


def _plain_span(header: Header) -> Span | None:
    """Where a tensor's elements lie in the order that it has for us; None where they do not."""
    span = header.span
    return None if span is None or span.strides is not None or header.axes is not None else span


def _distinct(places: Sequence[tuple[str, str]], headers: Sequence[Header]) -> list[tuple[str, str]]:
    """Layer and parameter of every tensor; two that would be called the same keep their names in the file."""
    often = Counter(places)
    return [
        place if often[place] == 1 else (header.name, header.name)
        for place, header in zip(places, headers, strict=True)
    ]


def laid_out(contents: Contents, layout: Layout | None) -> tuple[list[Header], list[str]]:
    """Headers in the layout that the format or the user says, and what is to be said about it."""
    notes = list(contents.notes)
    headers = list(contents.headers)
    if contents.fixed_layout:
        if layout == "oihw":
            headers = [replace(header, axes=None, merge=None) for header in headers]
    elif layout == "hwio":
        headers = [from_hwio(header) for header in headers]
        notes.append("arrays were taken as (h, w, in, out)")
    elif layout is None:
        note = note_of_hwio(headers)
        notes.extend([note] if note else [])
    return headers, notes
