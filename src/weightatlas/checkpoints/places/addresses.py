"""Addresses of remote objects: as messages may show them, and those that lie beside them."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

LONGEST: Final = 300


def shown(address: str) -> str:
    """An address without what is secret in it: user and password, query (signatures, tokens) and fragment.

    Example:
        >>> shown("https://me:secret@host/net.safetensors?signature=abc")
        'https://host/net.safetensors'
    """
    text = "::".join(_bare(part) for part in address.split("::"))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def child(address: str, name: str) -> str:
    """The address of a file in a web folder; the folder's query goes with it, for it may be what lets one in.

    Example:
        >>> child("https://host/run/?key=1", "step 1.pt")
        'https://host/run/step%201.pt?key=1'
    """
    parts = urlsplit(address)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}", fragment="").geturl()


def parent(address: str) -> str:
    """The web folder that a file lies in, with "/" at its end.

    Example:
        >>> parent("https://host/run/step1.pt?key=1")
        'https://host/run/?key=1'
    """
    parts = urlsplit(address)
    return parts._replace(path=f"{parts.path.rpartition('/')[0]}/", fragment="").geturl()


def _bare(part: str) -> str:
    scheme, mark, rest = part.partition("://")
    if not mark:
        return part
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
