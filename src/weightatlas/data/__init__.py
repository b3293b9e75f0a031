"""Images to train and measure on: the built-in scenes."""

from __future__ import annotations

from weightatlas.data.scenes import Scenes

__all__ = ["Scenes"]
