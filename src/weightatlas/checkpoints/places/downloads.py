"""Let a zoo fetch its weights without printing, and without minutes of retries where there is no network."""

from __future__ import annotations

import io
import logging
import socket
import urllib.request
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet_downloads() -> Iterator[None]:
    """Keep the zoos' announcements off both standard streams, and go to the cache at once when offline."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere), _offline_where_unreachable():
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _offline_where_unreachable() -> Iterator[None]:
    """Put the Hugging Face client in its own offline mode if its host has no address from here."""
    try:
        from huggingface_hub import constants
    except ImportError:  # torchvision alone needs no hub
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def reachable(url: str) -> bool:
    """Whether a URL's host has an address here, or a proxy stands between."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(url).hostname, 443)
    except OSError:
        return False
    return True
