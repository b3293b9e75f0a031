"""What the child process does with an HDF5 file through h5py: list its arrays, and give the values of one in pieces.

It runs in the child alone, loaded by `hdf5_worker`, and imports nothing of this package; `boxes` is shared with the
parent, which has to know what pieces will come.

**Source:** the HDF5 file format specification and reference manual, 1.14 and 2.0.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import h5py

PIECE: Final = 8 * 2**20
CHUNK_LIMIT: Final = 128 * 2**20
OBJECT_LIMIT: Final = 50_000
DEPTH_LIMIT: Final = 64
NAMES_LIMIT: Final = 10_000_000
TEXT_LIMIT: Final = 32_000_000
NAME_COST: Final = 64  # what a short text takes beside its letters
LISTS: Final = (b"layer_names", b"weight_names")
TEXTS: Final = (b"model_config", b"keras_version", b"backend")


class HostileError(Exception):
    """A file that is not gone through; the message says why."""


def boxes(shape: Sequence[int], chunks: Sequence[int] | None, item: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Cut an array into pieces of whole chunks, so that each is unpacked once; (start, stop) along each axis.

    A piece has at most `PIECE` bytes, unless one chunk has more.

    Example:
        >>> list(boxes((5, 4), (2, 4), 2**20))
        [((0, 2), (0, 4)), ((2, 4), (0, 4)), ((4, 5), (0, 4))]
    """
    if 0 in shape:
        return
    steps = [min(size, chunk) for size, chunk in zip(shape, chunks or [1] * len(shape), strict=True)]
    for axis in reversed(range(len(shape))):
        steps[axis] = min(shape[axis], steps[axis] * max(1, PIECE // (math.prod(steps) * item)))
        if steps[axis] < shape[axis]:
            break
    ranges = (
        [(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, steps, strict=True)
    )
    yield from product(*ranges)


def walk(file: h5py.File) -> dict[str, Any]:
    """List all arrays of a file and the texts that Keras leaves in it; links are named and never followed.

    Returns:
        "arrays": rows of name, shape, numpy's type, bytes in the file, the offset of its bytes if they lie plainly in
        one place, chunk shape if it has one; "links": rows of name and what it is; "texts": attributes by group.

    Raises:
        HostileError: there are too many objects, or an attribute that must list names does not.
    """
    import h5py

    found: dict[str, Any] = {"arrays": [], "links": [], "texts": {}}
    seen: dict[int, str] = {h5py.h5o.get_info(file.id).addr: ""}
    waiting: list[tuple[Any, str]] = [(file.id, "")]
    room = [TEXT_LIMIT]
    while waiting:
        group, path = waiting.pop()
        texts = _texts(group, path, room)
        if texts:
            found["texts"][path] = texts
        for link in _link_names(group, path, room):
            name = f"{path}/{_decoded(link)}".lstrip("/")
            reason, node = _resolve(group, link)
            reason = reason or _visit(node, name, seen, found["arrays"], waiting)
            if reason:
                found["links"].append([name, reason])
    return found


def _visit(
    node: Any,  # noqa: ANN401
    name: str,
    seen: dict[int, str],
    arrays: list[list[Any]],
    waiting: list[tuple[Any, str]],
) -> str:
    """Take an array or put a group on the list of those to go through; a sentence where it is neither."""
    import h5py

    address = h5py.h5o.get_info(node).addr
    if address in seen:
        return f"a second name of {seen[address][:80] or '/'!r}"
    if len(seen) > OBJECT_LIMIT:
        message = f"it holds more than {OBJECT_LIMIT} groups and arrays"
        raise HostileError(message)
    seen[address] = name
    if isinstance(node, h5py.h5d.DatasetID):
        return _describe(node, name, arrays)
    if isinstance(node, h5py.h5g.GroupID):
        if name.count("/") >= DEPTH_LIMIT:
            return "its groups are nested too deeply"
        waiting.append((node, name))
    return ""


def _link_names(group: Any, path: str, room: list[int]) -> list[bytes]:  # noqa: ANN401 - h5py has no types
    names: list[bytes] = []

    def take(name: bytes) -> bool | None:
        names.append(name)
        room[0] -= len(path) + len(name) + NAME_COST
        return True if len(names) > OBJECT_LIMIT or room[0] < 0 else None

    group.links.iterate(take)
    if len(names) > OBJECT_LIMIT or room[0] < 0:
        message = "it holds more names than any network has"
        raise HostileError(message)
    return names


def _resolve(group: Any, link: bytes) -> tuple[str, Any]:  # noqa: ANN401
    """What a hard link leads to; a sentence for every other link."""
    import h5py

    kind = group.links.get_info(link).type
    if kind == h5py.h5l.TYPE_HARD:
        return "", h5py.h5o.open(group, link)
    return ("a link within the file" if kind == h5py.h5l.TYPE_SOFT else "a link to another file"), None


def _describe(dataset: Any, name: str, arrays: list[list[Any]]) -> str:  # noqa: ANN401
    """Append a row for an array; a sentence instead where its values are not in this file."""
    import h5py

    plan = dataset.get_create_plist()
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL or plan.get_external_count():
        return "its values are in another file"
    shape = dataset.get_space().shape
    if shape is None:
        return "it has no shape"
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError, OverflowError):
        return "its type has no torch tensor"
    kind = "bfloat16" if dtype.str == "|V2" and _text(dataset, b"dtype", 16) == "bfloat16" else dtype.str
    stored_type = dataset.get_type()
    plain = layout == h5py.h5d.CONTIGUOUS and stored_type.equal(h5py.h5t.py_create(dtype, logical=True))
    offset = dataset.get_offset() if plain else None
    chunks = plan.get_chunk() if layout == h5py.h5d.CHUNKED else None
    arrays.append([name, shape, kind, dataset.get_storage_size(), offset, chunks])
    return ""


def _texts(group: Any, path: str, room: list[int]) -> dict[str, Any]:  # noqa: ANN401
    import h5py

    if not h5py.h5a.get_num_attrs(group):
        return {}
    found: dict[str, Any] = {}
    for attribute in LISTS:
        names = _names(group, attribute)
        if names is not None:
            found[attribute.decode()] = names
            room[0] -= sum(len(name) + NAME_COST for name in names)
    wanted = (b"name",) if path.rpartition("/")[2] == "vars" else () if path else TEXTS
    for attribute in wanted:
        text = _text(group, attribute, NAMES_LIMIT)
        if text is not None:
            found[attribute.decode()] = text
            room[0] -= len(text)
    if room[0] < 0:
        message = f"it holds more than {TEXT_LIMIT} letters of text"
        raise HostileError(message)
    return found


def _names(group: Any, attribute: bytes) -> list[str] | None:  # noqa: ANN401
    """An attribute that lists names; Keras splits a long one into attribute0, attribute1, ..."""
    import h5py

    if h5py.h5a.exists(group, attribute):
        return _attribute(group, attribute)
    names: list[str] = []
    number = 0
    while h5py.h5a.exists(group, b"%s%d" % (attribute, number)):
        names.extend(_attribute(group, b"%s%d" % (attribute, number)))
        number += 1
    return names if number else None


def _attribute(group: Any, attribute: bytes) -> list[str]:  # noqa: ANN401
    """A list of texts, its type and size checked before it is read: HDF5 2.0 crashes on some it cannot hold."""
    import h5py

    header = h5py.h5a.open(group, attribute)
    if header.shape == (0,):
        return []  # numpy gives an empty list a type of number
    is_text = isinstance(header.get_type(), h5py.h5t.TypeStringID)
    shape = tuple(header.shape or ())
    if not is_text or len(shape) != 1 or max(header.get_storage_size(), *shape) > NAMES_LIMIT:
        message = f"the attribute {attribute.decode()!r} is no list of names"
        raise HostileError(message)
    return [_decoded(value) for value in h5py.AttributeManager(h5py.Group(group))[attribute.decode()]]


def _text(node: Any, attribute: bytes, limit: int) -> str | None:  # noqa: ANN401
    """An attribute that is one text, or None."""
    import h5py

    if not h5py.h5a.exists(node, attribute):
        return None
    header = h5py.h5a.open(node, attribute)
    is_text = isinstance(header.get_type(), h5py.h5t.TypeStringID)
    if not is_text or header.shape != () or header.get_storage_size() > limit:
        return None
    owner = h5py.Group(node) if isinstance(node, h5py.h5g.GroupID) else h5py.Dataset(node)
    value = _decoded(h5py.AttributeManager(owner)[attribute.decode()])
    return value if len(value) <= NAMES_LIMIT else None


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def pieces(file: h5py.File, name: str, shape: Sequence[int], chunks: Sequence[int] | None) -> Iterator[bytes]:
    """The values of an array, box by box, little-endian.

    Raises:
        HostileError: the array is not what the list said of it.
    """
    import h5py

    node = file.id
    for part in name.encode("utf-8", "surrogateescape").split(b"/"):
        reason, node = _resolve(node, part)
        if node is None:
            raise HostileError(reason)
    row: list[list[Any]] = []
    if not isinstance(node, h5py.h5d.DatasetID) or _describe(node, name, row):
        message = "no array"
        raise HostileError(message)
    if list(row[0][1]) != list(shape) or list(row[0][5] or ()) != list(chunks or ()):
        message = "it changed since it was listed"
        raise HostileError(message)
    dataset = h5py.Dataset(node)
    for box in boxes(shape, chunks, dataset.dtype.itemsize):
        values = dataset[tuple(slice(start, stop) for start, stop in box)]
        if dataset.dtype.kind != "V":
            values = values.astype(dataset.dtype.newbyteorder("<"))
        yield values.tobytes()
