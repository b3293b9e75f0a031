"""Zip archives and numpy's arrays in them that lie."""

from __future__ import annotations

import struct
from typing import Final

from tests.hostile.case import VARIABLE, Content, Hostile, written
from tests.hostile.containers import DATA, torch_archive
from tests.hostile.opcodes import mapping, tensor, whole
from tests.hostile.zip_writer import DEFLATED, Member, archive, deflated_zeros

FILE: Final = "model.npz"
GOOD: Final = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"


def npy(header: str | bytes = GOOD, data: bytes = DATA, *, version: int = 1, length: int | None = None) -> bytes:
    """One array with any header."""
    text = header if isinstance(header, bytes) else header.encode("latin-1")
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def shaped(shape: str, descriptor: str = "'<f4'", fortran: str = "False") -> bytes:
    """An array whose header gives this shape, type and order, as written."""
    return npy(f"{{'descr': {descriptor}, 'fortran_order': {fortran}, 'shape': {shape}, }}")


HEADERS: Final[dict[str, bytes]] = {
    "2^60 elements": shaped("(1073741824, 1073741824)"),
    "a size that overflows 64 bits": shaped("(1099511627776, 1099511627776)"),
    "a negative size": shaped("(-2, -2)"),
    "a size that is a boolean": shaped("(True, 4)"),
    "a size that is a fraction": shaped("(2.0, 2)"),
    "a shape that is a list": shaped("[2, 2]"),
    "a shape that is text": shaped("'22'"),
    "a shape that is code": shaped(f"__import__('os').environ.__setitem__('{VARIABLE}', '1')"),
    "a shape that is a product": shaped("(2 ** 62,)"),
    "objects": shaped("(2, 2)", "'|O'"),
    "a record": shaped("(2, 2)", "[('a', '<f4')]"),
    "text of 2^31 bytes": shaped("(2, 2)", "'|S2147483647'"),
    "dates": shaped("(2,)", "'<M8[ns]'"),
    "an unknown type": shaped("(2, 2)", "'<q9'"),
    "a type that is a number": shaped("(2, 2)", "4"),
    "no type": npy("{'fortran_order': False, 'shape': (2, 2), }"),
    "a header that is a list": npy("['<f4', (2, 2)]"),
    "a header of brackets": npy("{" + "(" * 5000 + ")" * 5000 + "}", version=2),
    "a header of unary signs": npy("{'shape': " + "-" * 50_000 + "1}", version=2),
    "a header that is a set of sets": npy("{{}}"),
    "a header with no end": npy("{'descr': '<f4'"),
    "a header longer than the member": npy(length=60_000),
    "a header of 2^32 - 1 bytes": npy(version=2, length=2**32 - 1),
    "a header that is no UTF-8": npy(b"{'descr': '\xff\xfe', 'shape': (2, 2)}", version=3),
    "a version that is not known": npy(version=255),
    "no signature": b"\x00" * 80,
    "nothing in the member": b"",
    "a number of ten thousand digits": shaped(f"({'9' * 10_000},)"),
    "fewer bytes than its shape": npy(data=DATA[:7]),
    "more bytes than its shape": npy(data=DATA + b"more"),
}
HEADER: Final = r"header|no torch tensor|promises|no \.npy|type|shape|unpack"


def _bomb(size: int) -> bytes:
    head = npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}", b"")
    packed = deflated_zeros(size + len(head), head)
    return archive([Member("bomb.npy", head, DEFLATED, packed, size=len(head) + size, crc=0)])


def _understated() -> bytes:
    """A member that says it unpacks to a few bytes, and unpacks to four gigabytes."""
    head = npy()
    return archive([Member("a.npy", head, DEFLATED, deflated_zeros(2**32, head), size=len(head), crc=0)])


def _overlapping() -> bytes:
    return archive([Member("a.npy", npy()), Member("b.npy", b"", offset=0, size=96, packed_size=96)])


def _many(count: int) -> bytes:
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%08x" % number for number in range(count))
    start, size = len(local), len(directory)
    wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, size, start, 0)
    return local + directory + wide + locator + end


def _wide(size: int, offset: int) -> bytes:
    """An archive whose 64-bit end lies about its directory."""
    good = archive([Member("a.npy", npy())])
    wide = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(good) - 22, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    return good[:-22] + wide + locator + end


DAMAGE: Final = r"corrupt|truncated|zip|directory|share bytes|archive|member"
ARCHIVES: Final[dict[str, tuple[Content, str]]] = {
    "two members on the same bytes": (_overlapping(), DAMAGE),
    "two members at one place": (archive([Member("a.npy", npy()), Member("b.npy", npy(), offset=0)]), DAMAGE),
    "a member beyond the end": (archive([Member("a.npy", npy(), offset=10**6)]), DAMAGE),
    "a member in the directory": (archive([Member("a.npy", npy(), offset=110)]), DAMAGE),
    "a packed size of 2^32 - 2": (archive([Member("a.npy", npy(), packed_size=2**32 - 2)]), DAMAGE),
    "a directory of 4 GB": (archive([Member("a.npy", npy())], directory_size=2**32 - 2), DAMAGE),
    "a directory of 2^60 bytes": (_wide(2**60, 0), DAMAGE),
    "a directory at 2^60": (_wide(60, 2**60), DAMAGE),
    "a directory beyond the end": (archive([Member("a.npy", npy())], directory_offset=2**31), DAMAGE),
    "a directory in another archive's place": (archive([Member("a.npy", npy())], directory_offset=3), DAMAGE),
    "more entries than there are": (archive([Member("a.npy", npy())], entries=60_000), rf"{DAMAGE}|^$"),
    "no directory": (archive([Member("a.npy", npy())])[:150], DAMAGE),
    "an encrypted member": (archive([Member("a.npy", npy(), flags=1)]), r"encrypted"),
    "an unknown compression": (archive([Member("a.npy", npy(), method=99)]), rf"{DAMAGE}|compress"),
    "another name in the member's header": (archive([Member("a.npy", npy(), local_name="b.npy")]), DAMAGE),
    "a stream that is no deflate": (archive([Member("a.npy", npy(), DEFLATED, b"\xff" * 90)]), rf"{DAMAGE}|header"),
    "a stream that ends early": (
        archive([Member("a.npy", npy(data=bytes(4000)), DEFLATED, deflated_zeros(10, npy())[:20])]),
        rf"{DAMAGE}|header",
    ),
    "an archive of no members": (archive([]), r"no tensors"),
    "the same name twice": (archive([Member("a.npy", npy()), Member("a.npy", npy())]), r"two of its members"),
    "a member that is no array": (archive([Member("a.npy", npy()), Member("b.txt", b"hi")]), r"no \.npy array"),
    "an extra field that is cut": (archive([Member("a.npy", npy(), extra=b"\1\0\xff\xff")]), DAMAGE),
    "an extra field of 64 bits that is empty": (
        archive([Member("a.npy", npy(), size=2**32 - 1, extra=b"\1\0\0\0")]),
        DAMAGE,
    ),
    "an archive that unpacks to a hundred times its size": (lambda _: _bomb(3 * 2**30), r"would unpack"),
    "an archive in an archive": (
        archive([Member("inner.npz", archive([Member("a.npy", npy())]))]),
        r"no \.npy|neither|no tensors",
    ),
}

TORCH: Final[dict[str, tuple[Content, str]]] = {
    "a compressed torch archive": (
        archive(
            [Member("archive/data.pkl", whole(mapping({"w": tensor()})), DEFLATED), Member("archive/data/0", DATA)]
        ),
        r"compressed",
    ),
    "a torch archive without its storage": (
        archive([Member("archive/data.pkl", whole(mapping({"w": tensor()})))]),
        r"storage|corrupt|missing|record|no tensor|not there",
    ),
    "a torch archive with two pickles": (
        torch_archive(
            whole(mapping({"w": tensor()})), extra=(Member("other/data.pkl", whole(mapping({"w": tensor()}))),)
        ),
        r"instead of one",
    ),
    "a torch archive whose storage leads out of it": (
        torch_archive(whole(mapping({"w": tensor()})), root="../../archive"),
        "",
    ),
    "a torch archive of an unknown byte order": (
        archive(
            [
                Member("archive/data.pkl", whole(mapping({"w": tensor()}))),
                Member("archive/byteorder", b"middle"),
                Member("archive/data/0", DATA),
            ]
        ),
        r"byte ?order|endian|corrupt|middle",
    ),
    "a torch archive with two storages on the same bytes": (
        torch_archive(whole(mapping({"w": tensor()})), extra=(Member("archive/data/1", DATA, offset=0),)),
        r"share bytes|corrupt",
    ),
}


def cases() -> list[Hostile]:
    """All of them."""
    arrays = [
        Hostile(f"{name}, npz", written(FILE, archive([Member("a.npy", data)])), HEADER)
        for name, data in HEADERS.items()
    ]
    broken = [Hostile(f"{name}, npz", written(FILE, data), says) for name, (data, says) in ARCHIVES.items()]
    torch = [Hostile(name, written("model.pt", data), says) for name, (data, says) in TORCH.items()]
    others = [
        Hostile(
            "a million members",
            written(FILE, lambda _: _many(1_000_000)),
            r"directory|members|entries|two|corrupt|share",
        ),
        Hostile(
            "a member that leaves the folder",
            written(FILE, archive([Member("../../evil.npy", npy()), Member("/etc/evil.npy", npy())])),
            "",
        ),
        Hostile(
            "an array that unpacks to more than it says",
            written(FILE, lambda _: _understated()),
            r"corrupt|end|unpack|CRC",
            "read",
        ),
        Hostile(
            "a wrong checksum",
            written(FILE, archive([Member("a.npy", npy(), DEFLATED, crc=1)])),
            r"CRC|corrupt",
            "read",
        ),
    ]
    return [*arrays, *broken, *torch, *others]
